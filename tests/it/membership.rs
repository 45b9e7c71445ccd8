//! How nodes find together: founding, joining, coming back, and what strangers are told.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Door, LEADER_STAYS, Message, Place, Subscriber, Subscription, copy_dir, until};

/// Arguments under which a few hundred messages are enough for checkpoints and a purged log.
const SMALL_CHECKPOINTS: [&str; 4] = ["--checkpoint-bytes", "32KiB", "--checkpoint-interval", "500ms"];

/// Publishes until this node has purged its log up to an entry, and more.
async fn publish_until_purged(cluster: &Cluster, node: usize, topic: &str, entry: u64) -> Vec<Message> {
    let mut messages = Vec::new();
    let value = Value::from("x".repeat(4_000));
    until("a purged log", async || {
        for _ in 0..20 {
            messages.push(cluster.client.publish(cluster.url(node), topic, value.clone()).await);
        }
        let purged = cluster.client.metric(cluster.url(node), "repl_raft_purged_index").await;
        purged.filter(|purged| *purged > entry)
    })
    .await;
    messages
}

#[tokio::test]
async fn a_node_that_stood_alone_grows_to_three_and_survives_its_founder() {
    let mut cluster = Cluster::without_nodes(&[]);
    cluster.add(&[]).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let mut messages = client.publish_all(cluster.url(0), "orders", 0..20).await;
    let subscriber = Subscriber::live(&client, cluster.url(0), "/topics/orders/sse?after=earliest").await;

    for _ in 0..2 {
        cluster.join().await;
        messages.extend(client.publish_all(cluster.url(0), "orders", 20..30).await);
    }
    cluster.all_see("three voters", |view| view.voters() == 3).await;
    cluster.all_keep("orders", &messages).await;
    subscriber.has_seen(&messages).await;
    assert_eq!(subscriber.streams(), 1);

    cluster.nodes[0].kill();
    let survivor = cluster.leader().await;
    messages.push(client.publish(cluster.url(survivor), "orders", json!("without it")).await);
    cluster.nodes[0].start().await;
    cluster.all_keep("orders", &messages).await;
}

#[tokio::test]
async fn nodes_that_come_at_once_become_voters_one_after_the_other() {
    let mut cluster = Cluster::without_nodes(&[]);
    cluster.add(&[]).await;
    for _ in 0..4 {
        let node = cluster.prepare_next();
        cluster.nodes[node].spawn();
    }
    for node in &mut cluster.nodes[1..] {
        node.serves().await;
    }
    cluster.all_see("five voters", |view| view.voters() == 5).await;
    // The engine logs a change during another one as an error, and nobody could do anything about it.
    let log = cluster.nodes[0].log();
    assert!(!log.contains("already undergoing a configuration change"), "{log}");
}

#[tokio::test]
async fn the_sixth_node_reads_along_without_a_vote() {
    let mut cluster = Cluster::of(5).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let mut messages = client.publish_all(cluster.url(0), "orders", 0..10).await;
    let sixth = cluster.join().await;
    cluster.all_see("six nodes", |view| view.nodes.len() == 6).await;

    let url = cluster.url(sixth).to_owned();
    client.readiness(&url, 200).await;
    let subscriber = Subscriber::live(&client, &url, "/topics/orders/sse?after=earliest").await;
    messages.extend(client.publish_all(&url, "orders", 10..20).await);
    messages.extend(client.publish_all(cluster.url(2), "orders", 20..30).await);
    subscriber.has_seen(&messages).await;
    cluster.all_keep("orders", &messages).await;

    let id = cluster.nodes[sixth].started().node;
    cluster.nodes[sixth].kill();
    assert_eq!(cluster.nodes[sixth].start().await.node, id);
    let learners = [id];
    cluster
        .all_see("five voters and a learner", |view| {
            view.voters() == 5 && view.ids(|member| member.role == "learner") == learners
        })
        .await;
}

#[tokio::test]
async fn one_line_starts_a_node_whether_it_is_new_or_not() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let mut messages = client.publish_all(cluster.url(0), "orders", 0..5).await;
    let before: Vec<_> = cluster.nodes.iter().map(|node| node.started().clone()).collect();
    // The same lines again; then lines that a directory without a node would take as founding a cluster.
    for arguments in [None, Some(&[] as &[&str]), Some(&["--bootstrap"])] {
        for (node, before) in before.iter().enumerate() {
            assert_eq!(cluster.nodes[node].stop().await, Some(0));
            arguments.into_iter().for_each(|arguments| cluster.nodes[node].set_arguments(arguments));
            let now = cluster.nodes[node].start().await;
            assert_eq!((now.node, &now.cluster), (before.node, &before.cluster));
            messages.push(client.publish(cluster.url(node), "orders", json!(node)).await);
        }
    }
    cluster.all_keep("orders", &messages).await;
    cluster.all_see("three voters", |view| view.nodes.len() == 3 && view.voters() == 3).await;
}

#[tokio::test]
async fn all_nodes_tell_the_same_of_the_cluster() {
    let mut cluster = Cluster::of(3).await;
    let urls = cluster.urls();
    let (name, ids) = (cluster.nodes[0].started().cluster.clone(), cluster.ids());
    cluster
        .all_see("three nodes that are up", |view| {
            let places: Vec<&str> = view.nodes.iter().map(|member| member.client_url.as_str()).collect();
            view.cluster == name
                && view.ids(|member| member.role == "leader").len() == 1
                && view.ids(|member| member.state == "up") == ids
                && urls.iter().all(|url| places.contains(&url.as_str()))
        })
        .await;
    let follower = cluster.follower().await;
    let down = [cluster.nodes[follower].started().node];
    cluster.nodes[follower].kill();
    let leader = cluster.leader().await;
    let is_down = "the node that was killed is down";
    cluster.client.sees(cluster.url(leader), is_down, |view| view.ids(|member| member.state == "down") == down).await;
}

#[tokio::test]
async fn a_node_with_a_wrong_secret_or_none_is_refused_and_both_sides_say_why() {
    let mut cluster = Cluster::without_nodes(&[]);
    let secret = |name: &str, text: &str| {
        let path = cluster.path(name);
        fs::write(&path, text).expect("written");
        path.to_str().expect("a path of ASCII").to_owned()
    };
    let right = secret("right", "a secret that is long enough");
    let wrong = secret("wrong", "a secret that is not the same");
    cluster.add(&["--bootstrap", "--cluster-secret-file", &right]).await;
    let peer = cluster.nodes[0].started().peer.clone();

    let cases: [(&[&str], &str); 2] = [
        (&["--join", &peer], "the called node has a cluster secret, the caller has none"),
        (&["--join", &peer, "--cluster-secret-file", &wrong], "the caller's cluster secret is not the called node's"),
    ];
    for (arguments, reason) in cases {
        let stranger = cluster.prepare(arguments);
        cluster.nodes[stranger].spawn();
        cluster.nodes[stranger].says(reason).await;
        cluster.nodes[0].says(reason).await;
        assert_eq!(cluster.nodes[stranger].stop().await, Some(1));
        cluster.nodes[stranger].set_arguments(&["--join", &peer, "--cluster-secret-file", &right]);
        cluster.nodes[stranger].start().await;
    }
    cluster.all_see("three voters", |view| view.voters() == 3).await;
    let secret = fs::read_to_string(&right).expect("text");
    assert!(cluster.nodes.iter().all(|node| !node.log().contains(&secret)));
}

#[tokio::test]
async fn a_node_that_asks_at_the_wrong_place_goes_on_asking_and_says_why_once() {
    let mut cluster = Cluster::of(1).await;
    let clients = cluster.url(0).trim_start_matches("http://").to_owned();
    let lost = cluster.prepare(&["--join", &clients, "--log-level", "debug"]);
    cluster.nodes[lost].spawn();
    until("it has asked some times", async || {
        (cluster.nodes[lost].log().matches("no connection yet").count() > 3).then_some(())
    })
    .await;

    let log = cluster.nodes[lost].log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    let says_why = |line: &&str| line.contains("still trying") && line.contains("is this the peer address of a node?");
    assert!(warnings.len() == 1 && warnings.iter().all(says_why), "{warnings:?}");
    assert_eq!(cluster.nodes[lost].stop().await, Some(1));
}

#[tokio::test]
async fn a_node_of_one_cluster_does_not_start_where_it_is_told_to_join_another() {
    let mut clusters = [Cluster::of(1).await, Cluster::of(1).await];
    let [(own, _), (other, peer)] = clusters.each_ref().map(|cluster| {
        let started = cluster.nodes[0].started();
        (started.cluster.clone(), started.peer.clone())
    });
    let node = &mut clusters[0].nodes[0];
    assert_eq!(node.stop().await, Some(0));
    let data_dir = node.data_dir();
    let stored = || {
        let log = fs::read_dir(data_dir.join("log")).expect("a log").map(|segment| segment.expect("a segment").path());
        let files: BTreeSet<PathBuf> = log.chain([data_dir.join("node.json")]).collect();
        files.into_iter().map(|file| (fs::read(&file).expect("readable"), file)).collect::<Vec<_>>()
    };
    let before = stored();

    node.set_arguments(&["--join", &peer]);
    let (code, text) = node.fails().await;
    let named = [&own, &other, &peer].iter().all(|name| text.contains(name.as_str()));
    assert!(code == Some(2) && named && text.contains("choose another --data-dir"), "{text}");
    assert_eq!(stored(), before);

    // As after all nodes have stopped: nobody answers there.
    clusters[1].nodes[0].kill();
    assert_eq!(clusters[0].nodes[0].start().await.cluster, own);
}

#[tokio::test]
async fn peers_are_listened_for_beyond_loopback_only_with_a_secret() {
    let mut cluster = Cluster::without_nodes(&[]);
    let open = cluster.prepare(&["--peer-listen", "0.0.0.0:0", "--advertise-peer", "localhost"]);
    let (code, text) = cluster.nodes[open].fails().await;
    assert_eq!(code, Some(2));
    assert!(text.contains("--peer-listen") && text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_node_that_was_killed_catches_up() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let mut messages = Vec::new();
    for round in 0..3 {
        let leader = cluster.leader().await;
        messages.extend(client.publish_all(cluster.url(leader), "orders", 0..10).await);
        // The leader, too, after a follower.
        let dead = (leader + usize::from(round == 0)) % 3;
        cluster.nodes[dead].kill();
        let alive = cluster.leader().await;
        messages.extend(client.publish_all(cluster.url(alive), "orders", 10..20).await);
        cluster.nodes[dead].start().await;
        cluster.all_keep("orders", &messages).await;
    }
}

#[tokio::test]
async fn a_node_that_the_log_no_longer_reaches_is_healed_by_a_snapshot() {
    let mut cluster = Cluster::with(3, &SMALL_CHECKPOINTS).await;
    let client = cluster.client.clone();
    let leader = cluster.leader().await;
    let (away, url) = ((leader + 1) % 3, cluster.url(leader).to_owned());
    client.make_keeping(&url, "busy", 10).await;
    client.make(&url, "calm").await;
    let mut calm = client.publish_all(&url, "calm", 0..20).await;
    cluster.all_keep("calm", &calm).await;
    let last = client.metric(cluster.url(away), "repl_raft_last_log_index").await.expect("a number");
    cluster.nodes[away].kill();
    let topics = |topic: usize| format!("while-away-{topic}");
    for topic in 0..5 {
        client.make(&url, &topics(topic)).await;
    }
    calm.extend(client.publish_all(&url, "calm", 20..30).await);
    let busy = publish_until_purged(&cluster, leader, "busy", last + 1).await;
    // Whoever may lead by then.
    let other = (leader + 2) % 3;
    publish_until_purged(&cluster, other, "busy", last + 1).await;
    let kept = client.messages(cluster.url(other), "busy").await.expect("a page");
    assert_eq!(kept.len(), 10);

    let before = Subscription::new([cluster.url(away)], "/sse?topic=busy&topic=calm").after(&calm[19].id);
    let subscriber = Subscriber::start(&client, before);
    cluster.nodes[away].start().await;
    cluster.nodes[away].says("installed a snapshot").await;
    cluster.all_keep("busy", &kept).await;
    cluster.all_keep("calm", &calm).await;
    for topic in 0..5 {
        cluster.all_keep(&topics(topic), &[]).await;
    }
    // One who comes back with a cursor of before is told of the hole, and gets the rest in the one order.
    subscriber.has_seen(&[calm[20..].to_vec(), kept.clone()].concat()).await;
    let gap = subscriber.event("repl.gap").await.json();
    assert_eq!((&gap["reason"], &gap["topics"]), (&json!("retention"), &json!(["busy"])));
    assert!(busy.len() > 10);

    // What came as a snapshot is on its disk like the rest.
    cluster.nodes[away].kill();
    cluster.nodes[away].start().await;
    calm.push(client.publish(cluster.url(away), "calm", json!("again")).await);
    cluster.all_keep("busy", &kept).await;
    cluster.all_keep("calm", &calm).await;
}

#[tokio::test]
async fn a_node_serves_no_stream_before_it_has_what_was_committed_when_it_started() {
    let arguments = [&SMALL_CHECKPOINTS as &[&str], &LEADER_STAYS].concat();
    let mut cluster = Cluster::without_nodes(&arguments);
    let listen = Place::new();
    let door = Door::to(&listen.address).await;
    // The others come to the leader by the door, but the leader comes to them without it.
    cluster.add(&["--bootstrap", "--peer-listen", &listen.address, "--advertise-peer", &door.address]).await;
    for _ in 0..2 {
        cluster.join().await;
    }
    cluster.all_see("three voters", |view| view.voters() == 3).await;
    let client = cluster.client.clone();
    let (leader, behind) = (cluster.url(0).to_owned(), cluster.url(2).to_owned());
    client.make(&leader, "calm").await;
    client.make_keeping(&leader, "busy", 10).await;
    let mut calm = client.publish_all(&leader, "calm", 0..10).await;
    cluster.all_keep("calm", &calm).await;
    let last = client.metric(&behind, "repl_raft_last_log_index").await.expect("a number");
    cluster.nodes[2].kill();
    calm.extend(client.publish_all(&leader, "calm", 10..20).await);
    publish_until_purged(&cluster, 0, "busy", last + 1).await;
    let committed = client.metric(&leader, "repl_raft_committed_index").await.expect("a number");

    // It hears from the leader how much there is, but can't fetch it.
    door.shut();
    cluster.nodes[2].spawn();
    until("it knows what is committed", async || {
        client.metric(&behind, "repl_raft_committed_index").await.filter(|known| *known >= committed)
    })
    .await;
    let not_ready = client.get(&behind, "/readyz").await.expect(503);
    assert!(not_ready.text.contains("the node is starting"), "{not_ready:?}");
    let path = "/topics/calm/sse?after=earliest";
    let refused = client.get(&behind, path).await.expect(200);
    assert!(refused.text.contains("retry: ") && !refused.text.contains("data"), "{refused:?}");

    let subscriber = Subscriber::of(&client, &behind, path);
    subscriber.opened(2).await;
    door.open();
    subscriber.has_seen(&calm).await;
    client.readiness(&behind, 200).await;
    assert!(cluster.nodes[2].log().contains("installed a snapshot"));
}

#[tokio::test]
async fn a_node_that_comes_back_under_another_address_takes_part_from_there() {
    // The leader stays, and with it the connections that it has: an election would make new ones.
    let mut cluster = Cluster::with(3, &LEADER_STAYS).await;
    let client = cluster.client.clone();
    let leader = cluster.leader().await;
    let (moved, other) = ((leader + 1) % 3, (leader + 2) % 3);
    client.make(cluster.url(leader), "orders").await;
    let mut messages = client.publish_all(cluster.url(moved), "orders", 0..10).await;
    cluster.all_keep("orders", &messages).await;

    let before = cluster.nodes[moved].started().clone();
    cluster.nodes[moved].kill();
    messages.extend(client.publish_all(cluster.url(leader), "orders", 10..20).await);
    // Others are there now, and answer nobody.
    let taken = [before.peer.as_str(), before.url.trim_start_matches("http://")];
    let _taken = taken.map(|address| TcpListener::bind(address).expect("it is free"));
    cluster.nodes[moved].set_arguments(&["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"]);
    let now = cluster.nodes[moved].start().await;
    assert_eq!((now.node, &now.cluster), (before.node, &before.cluster));
    assert!(now.peer != before.peer && now.url != before.url, "{now:?}");

    let addresses = |view: &crate::cluster::View| {
        let member = view.nodes.iter().find(|member| member.id == now.node);
        member.is_some_and(|member| (&member.client_url, &member.peer_addr) == (&now.url, &now.peer))
    };
    cluster.all_see("where it is now", |view| view.voters() == 3 && addresses(view)).await;
    client.readiness(cluster.url(moved), 200).await;
    cluster.all_keep("orders", &messages).await;
    // It is needed: without the third node nothing is stored but by way of this one.
    cluster.nodes[other].kill();
    messages.push(client.publish(cluster.url(moved), "orders", json!("from there")).await);
    client.keeps(cluster.url(leader), "orders", &messages).await;
    assert_eq!(cluster.leader().await, leader);
}

#[tokio::test]
async fn a_node_whose_disk_was_lost_joins_under_a_new_id_and_the_old_one_goes() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let mut messages = client.publish_all(cluster.url(0), "orders", 0..10).await;
    for round in 0..2 {
        // The founder's own line would found another cluster.
        let lost = 1 + round;
        let old = cluster.nodes[lost].started().node;
        cluster.nodes[lost].kill();
        cluster.nodes[lost].wipe();
        let new = cluster.nodes[lost].start().await.node;
        assert!(new > old, "{new} after {old}");
        let voters = |view: &crate::cluster::View| view.ids(|member| member.role != "learner");
        cluster
            .all_see("the new one votes, the old one is gone", |view| {
                voters(view).contains(&new) && view.nodes.len() == 3 && view.voters() == 3
            })
            .await;
        messages.push(client.publish(cluster.url(lost), "orders", json!(new)).await);
        cluster.all_keep("orders", &messages).await;
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_lost_is_healed_by_others_and_missed_by_a_node_that_is_alone() {
    let mut cluster = Cluster::with(3, &SMALL_CHECKPOINTS).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let lost = cluster.follower().await;
    let calm = client.publish_all(cluster.url(0), "orders", 0..20).await;
    client.make_keeping(cluster.url(0), "busy", 10).await;
    let busy = publish_until_purged(&cluster, lost, "busy", 20).await;
    cluster.nodes[lost].kill();
    fs::remove_dir_all(cluster.nodes[lost].data_dir().join("state")).expect("there was a checkpoint");
    cluster.nodes[lost].start().await;
    cluster.nodes[lost].says("healed from another node's snapshot").await;
    cluster.all_keep("orders", &calm).await;
    cluster.all_keep("busy", &busy[busy.len() - 10..]).await;

    // Now nobody is there to ask.
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    fs::remove_dir_all(cluster.nodes[lost].data_dir().join("state")).expect("there was a checkpoint");
    let (code, text) = cluster.nodes[lost].fails().await;
    assert_eq!(code, Some(1));
    assert!(text.contains("the checkpoint in") && text.contains("start another node"), "{text}");
}

#[tokio::test]
async fn a_node_that_was_restored_from_an_older_copy_is_brought_up_to_date() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let mut messages = client.publish_all(cluster.url(0), "orders", 0..10).await;
    let restored = cluster.follower().await;
    cluster.all_keep("orders", &messages).await;
    cluster.nodes[restored].kill();
    let (data, copy) = (cluster.nodes[restored].data_dir(), cluster.path("copy"));
    copy_dir(&data, &copy);
    cluster.nodes[restored].start().await;
    messages.extend(client.publish_all(cluster.url(restored), "orders", 10..30).await);
    cluster.all_keep("orders", &messages).await;

    // What it acknowledged since is gone from it, and the leader knows better.
    cluster.nodes[restored].kill();
    fs::remove_dir_all(&data).expect("a directory");
    fs::rename(&copy, &data).expect("the copy takes its place");
    cluster.nodes[restored].start().await;
    messages.extend(client.publish_all(cluster.url(restored), "orders", 30..40).await);
    cluster.all_keep("orders", &messages).await;
    assert!(cluster.nodes.iter_mut().all(|node| node.is_running()));
}

#[tokio::test]
async fn nodes_join_by_snapshot_one_after_the_other() {
    let mut cluster = Cluster::with(1, &SMALL_CHECKPOINTS).await;
    let client = cluster.client.clone();
    client.make_keeping(cluster.url(0), "busy", 10).await;
    client.make(cluster.url(0), "calm").await;
    let mut calm = client.publish_all(cluster.url(0), "calm", 0..10).await;
    publish_until_purged(&cluster, 0, "busy", 20).await;
    for joined in 1..=2 {
        assert_eq!(cluster.join().await, joined);
        cluster.nodes[joined].says("installed a snapshot").await;
        // Newer checkpoints are taken, but the log still reaches back to the snapshot that was exported.
        calm.extend(client.publish_all(cluster.url(0), "calm", 0..3).await);
        let value = Value::from("x".repeat(4_000));
        for _ in 0..16 {
            client.publish(cluster.url(0), "busy", value.clone()).await;
        }
        let checkpoints = cluster.nodes[0].log().matches("purging the log").count();
        until("a newer checkpoint", async || {
            client.publish(cluster.url(0), "busy", value.clone()).await;
            (cluster.nodes[0].log().matches("purging the log").count() > checkpoints).then_some(())
        })
        .await;
    }
    cluster.all_see("three voters", |view| view.voters() == 3).await;
    cluster.all_keep("calm", &calm).await;
    let kept = client.messages(cluster.url(0), "busy").await.expect("a page");
    cluster.all_keep("busy", &kept).await;
}

//! What operators do to a cluster while it runs: `repl cluster`, and a node that has to go.

use serde_json::{Value, json};

use crate::cluster::{
    Cluster, LEADER_STAYS, Node, Place, Publisher, Seen, Subscriber, Subscription, View, copy_dir, until,
};

/// As a service manager sees that it must not start the node again.
const REMOVED: Option<i32> = Some(3);

fn id(cluster: &Cluster, node: usize) -> String {
    cluster.nodes[node].started().node.to_string()
}

/// Waits until an order is refused for this reason: before, nodes may not answer in time.
async fn is_refused(node: &Node, words: &[&str], problem: &str) {
    until(&format!("{words:?} is refused: {problem}"), async || {
        let (code, text) = node.order(words).await;
        assert_eq!(code, Some(1), "{words:?}: {text}");
        text.contains(&format!("({problem})")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn any_node_shows_the_cluster_and_has_another_one_lead() {
    let mut cluster = Cluster::with(3, &LEADER_STAYS).await;
    for to in [0, 1, 2, 2] {
        let by = cluster.follower().await;
        let text = cluster.nodes[by].ordered(&["transfer-leader", &id(&cluster, to)]).await;
        assert_eq!(text, format!("node {} leads\n", id(&cluster, to)));
        assert_eq!(cluster.leader().await, to);
    }
    // Unless it is said, it is another one; and whoever was asked knows it, whether it led before, leads now, or neither.
    for by in [0, 1, 2, 0, 1, 2, 0, 1, 2] {
        let before = cluster.leader().await;
        let text = cluster.nodes[by].ordered(&["transfer-leader"]).await;
        let leader = cluster.leader().await;
        assert_eq!((text, leader != before), (format!("node {} leads\n", id(&cluster, leader)), true));
    }

    let table = cluster.nodes[0].ordered(&["status"]).await;
    for node in &cluster.nodes {
        let started = node.started();
        let line = table.lines().find(|line| line.starts_with(&started.node.to_string())).expect("a line");
        assert!(line.contains(&started.url) && line.contains(&started.peer), "{line}");
    }
    let json = cluster.nodes[1].ordered(&["status", "--output", "json"]).await;
    let view: Value = serde_json::from_str(&json).expect("JSON");
    let own = json!(cluster.nodes[1].started().node);
    assert_eq!((&view["node"], view["nodes"].as_array().map(Vec::len)), (&own, Some(3)));
    is_refused(&cluster.nodes[0], &["transfer-leader", "9"], "node-not-found").await;
}

#[tokio::test]
async fn a_node_that_is_removed_stops_and_is_refused_until_it_comes_as_a_new_one() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let mut messages = client.publish_all(cluster.url(0), "orders", 0..10).await;
    let leader = cluster.leader().await;
    // One that follows, one that leads, and one that is down and hears of it only when it comes back.
    let mut alive: Vec<usize> = vec![0, 1, 2];
    for (gone, is_down) in [((leader + 1) % 3, false), (leader, true)] {
        let old = id(&cluster, gone);
        if is_down {
            cluster.nodes[gone].kill();
        }
        alive.retain(|node| *node != gone);
        let by = alive[0];
        if alive.len() == 1 {
            // Two voters can't do without each other, whichever of them led.
            let (code, text) = cluster.nodes[by].order(&["remove", &old]).await;
            let why = ["(no-leader)", "(quorum-at-risk)"];
            assert!(code == Some(1) && why.iter().any(|why| text.contains(why)), "{text}");
            cluster.nodes[gone].start().await;
        }
        cluster.nodes[by].ordered(&["remove", &old]).await;
        cluster.nodes[by].ordered(&["remove", &old]).await;
        let (code, text) = cluster.nodes[gone].ends().await;
        assert!(code == REMOVED && text.contains("was removed from its cluster"), "{text}");
        // Not even with all that it has stored.
        assert_eq!(cluster.nodes[gone].fails().await.0, REMOVED);
        messages.push(client.publish(cluster.url(by), "orders", json!(old)).await);
    }
    let last = alive[0];
    let only = id(&cluster, last);
    is_refused(&cluster.nodes[last], &["remove", &only], "last-voter").await;
    client.sees(cluster.url(last), "itself alone", |view| view.nodes.len() == 1).await;

    let peer = cluster.nodes[last].started().peer.clone();
    for gone in (0..3).filter(|node| *node != last) {
        cluster.nodes[gone].wipe();
        cluster.nodes[gone].set_arguments(&["--join", &peer]);
        assert!(cluster.nodes[gone].start().await.node > 3);
    }
    cluster.all_see("three voters", |view| view.voters() == 3 && view.nodes.len() == 3).await;
    cluster.all_keep("orders", &messages).await;
}

#[tokio::test]
async fn a_leader_that_is_removed_hands_over_first() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    let leader = cluster.leader().await;
    let by = (leader + 1) % 3;
    client.make(cluster.url(by), "orders").await;
    let mut messages = client.publish_all(cluster.url(by), "orders", 0..10).await;
    cluster.nodes[leader].ordered(&["remove", &id(&cluster, leader)]).await;
    assert_eq!(cluster.nodes[leader].ends().await.0, REMOVED);
    messages.extend(client.publish_all(cluster.url(by), "orders", 10..20).await);
    for node in [by, (leader + 2) % 3] {
        client.sees(cluster.url(node), "two voters", |view| view.voters() == 2 && view.nodes.len() == 2).await;
        client.keeps(cluster.url(node), "orders", &messages).await;
    }
}

#[tokio::test]
async fn what_would_leave_no_majority_is_refused_and_the_dead_are_replaced() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let mut messages = client.publish_all(cluster.url(0), "orders", 0..10).await;
    let leader = cluster.leader().await;
    let (dead, alive) = ((leader + 1) % 3, (leader + 2) % 3);
    let (dead_id, alive_id) = (id(&cluster, dead), id(&cluster, alive));
    cluster.nodes[dead].kill();
    is_refused(&cluster.nodes[leader], &["remove", &alive_id], "quorum-at-risk").await;
    is_refused(&cluster.nodes[alive], &["transfer-leader", &dead_id], "not-caught-up").await;
    is_refused(&cluster.nodes[alive], &["promote", "77"], "node-not-found").await;

    cluster.nodes[alive].ordered(&["remove", &dead_id]).await;
    let peer = cluster.nodes[leader].started().peer.clone();
    let new = cluster.add(&["--join", &peer]).await;
    assert!(cluster.nodes[new].started().node > 3);
    for node in [leader, alive, new] {
        client.sees(cluster.url(node), "three voters", |view| view.voters() == 3 && view.nodes.len() == 3).await;
        messages.push(client.publish(cluster.url(node), "orders", json!(node)).await);
    }
    for node in [leader, alive, new] {
        client.keeps(cluster.url(node), "orders", &messages).await;
    }
    assert_eq!(cluster.nodes[dead].fails().await.0, REMOVED);
}

#[tokio::test]
async fn a_learner_reads_along_until_it_is_given_a_vote() {
    let mut cluster = Cluster::of(1).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let how = cluster.nodes[0].ordered(&["add", "--learner"]).await;
    let line = how.lines().find_map(|line| line.trim().strip_prefix("repl ")).expect("a line to start it with");
    let learner = cluster.add(&line.split(' ').collect::<Vec<_>>()).await;
    let learner_id = id(&cluster, learner);
    let messages = client.publish_all(cluster.url(learner), "orders", 0..100).await;
    cluster.all_keep("orders", &messages).await;
    // By now another one would vote.
    let is_learner = |view: &View| view.nodes.len() == 2 && view.voters() == 1;
    cluster.all_see("a learner", is_learner).await;
    is_refused(&cluster.nodes[0], &["transfer-leader", &learner_id], "not-voter").await;
    assert_eq!(cluster.nodes[learner].stop().await, Some(0));
    cluster.nodes[learner].start().await;

    cluster.nodes[learner].ordered(&["promote", &learner_id]).await;
    cluster.all_see("two voters", |view| view.voters() == 2).await;
    // Its line still says that it is a learner, and moves it elsewhere.
    assert_eq!(cluster.nodes[learner].stop().await, Some(0));
    cluster.nodes[learner].set_arguments(&["--learner", "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"]);
    cluster.nodes[learner].start().await;
    let url = cluster.url(learner).to_owned();
    cluster
        .all_see("it moved", |view| view.voters() == 2 && view.nodes.iter().any(|node| node.client_url == url))
        .await;
}

#[tokio::test]
async fn a_copy_of_a_node_is_refused_as_long_as_the_other_runs() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let mut messages = client.publish_all(cluster.url(0), "orders", 0..10).await;
    let copied = cluster.follower().await;
    assert_eq!(cluster.nodes[copied].stop().await, Some(0));
    let twin = cluster.prepare(&[]);
    copy_dir(&cluster.nodes[copied].data_dir(), &cluster.nodes[twin].data_dir());
    let original = cluster.nodes[copied].start().await;

    let (code, text) = cluster.nodes[twin].fails().await;
    assert!(
        code == Some(1) && text.contains(&format!("another process runs as this node, at {}", original.peer)),
        "{text}"
    );
    messages.push(client.publish(cluster.url(copied), "orders", json!("still there")).await);

    // The copy takes the place of the original while that is away; then it is the original that comes too late.
    assert_eq!(cluster.nodes[copied].stop().await, Some(0));
    let now = cluster.nodes[twin].start().await;
    assert_eq!(now.node, original.node);
    let others: Vec<usize> = (0..3).filter(|node| *node != copied).collect();
    for node in &others {
        let is_there = |view: &View| view.nodes.iter().any(|member| member.peer_addr == now.peer);
        client.sees(cluster.url(*node), "the copy", is_there).await;
    }
    let (code, text) = cluster.nodes[copied].fails().await;
    assert!(code == Some(1) && text.contains(&format!("another process runs as this node, at {}", now.peer)), "{text}");
    messages.push(client.publish(cluster.url(twin), "orders", json!("in its place")).await);
    for node in others.into_iter().chain([twin]) {
        client.keeps(cluster.url(node), "orders", &messages).await;
    }
}

#[tokio::test]
async fn one_node_becomes_five_and_one_again_under_load() {
    let mut cluster = Cluster::without_nodes(&[]);
    cluster.add(&["--bootstrap"]).await;
    let client = cluster.client.clone();
    client.make_keeping(cluster.url(0), "orders", 1_000_000).await;
    let (founder, stays) = (cluster.url(0).to_owned(), Place::new());
    let both = [founder.clone(), format!("http://{}", stays.address)];
    let both = both.each_ref().map(String::as_str);
    let of_founder = Subscriber::start(&client, Subscription::new(both, "/topics/orders/sse?after=earliest"));
    let mut publishers: Vec<_> = (0..3).map(|_| Publisher::start(&client, cluster.urls(), "orders")).collect();

    let peer = cluster.nodes[0].started().peer.clone();
    cluster.add(&["--join", &peer, "--listen", &stays.address]).await;
    for size in [3, 5] {
        while cluster.nodes.len() < size {
            cluster.join().await;
        }
        cluster.all_see("all vote", |view| view.voters() == size).await;
        for publisher in &mut publishers {
            publisher.knows(cluster.urls());
            publisher.publishes(20).await;
        }
    }
    let of_last = Subscription::new([cluster.url(4), both[1]], "/sse?match=**&after=earliest");
    let of_last = Subscriber::start(&client, of_last);
    of_last.event("repl.ready").await;
    for gone in [4, 3, 2, 0] {
        cluster.nodes[1].ordered(&["remove", &id(&cluster, gone)]).await;
        assert_eq!(cluster.nodes[gone].ends().await.0, REMOVED);
        for publisher in &mut publishers {
            publisher.publishes(20).await;
        }
    }
    client.sees(cluster.url(1), "itself alone", |view| view.nodes.len() == 1 && view.voters() == 1).await;

    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.stop().await);
    }
    acknowledged.sort_by_key(|message| message.seq);
    client.keeps(cluster.url(1), "orders", &acknowledged).await;
    for subscriber in [of_founder, of_last] {
        subscriber.has_seen(&acknowledged).await;
        let opened = subscriber.seen().iter().filter(|seen| **seen == Seen::Opened).count();
        assert_eq!(opened, 2, "one reconnect, when its node had to go");
    }
}

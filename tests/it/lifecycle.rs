//! How a node starts, stops, dies and comes back.

use std::fs;
use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::cluster::{Client, Cluster, LEADER_STAYS, Message, Place, Publisher, Seen, Stalled, Subscriber, until};

/// Publishes until it is refused for the first time. Answers what was acknowledged.
fn publish_on_and_on(client: &Client, node: &str, topic: &str) -> JoinHandle<Vec<Message>> {
    let (client, node, topic) = (client.clone(), node.to_owned(), topic.to_owned());
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        loop {
            // With a key the node itself tries again, should it meet an election.
            let publication = client.publication(&node, &topic, &json!(acknowledged.len()));
            let publication = publication.header("Idempotency-Key", format!("{:032x}", fastrand::u128(..)));
            match client.try_send(publication).await {
                Ok(answer) if matches!(answer.status, 200 | 201) => {
                    acknowledged.push(serde_json::from_value(answer.json()).expect("a message"));
                }
                Ok(_) | Err(_) => return acknowledged,
            }
        }
    })
}

#[tokio::test]
async fn a_node_that_was_killed_goes_on_where_it_was() {
    for arguments in [&[] as &[&str], &["--bootstrap"]] {
        let mut cluster = Cluster::without_nodes(&[]);
        cluster.add(arguments).await;
        let client = cluster.client.clone();
        client.make(cluster.url(0), "orders").await;
        let before = cluster.nodes[0].started().clone();
        let mut messages = Vec::new();
        for round in 0..3 {
            messages.extend(client.publish_all(cluster.url(0), "orders", round * 10..round * 10 + 10).await);
            cluster.nodes[0].kill();
            let now = cluster.nodes[0].start().await;
            assert_eq!((now.node, &now.cluster, &now.url), (before.node, &before.cluster, &before.url));
        }
        cluster.all_keep("orders", &messages).await;
        let seqs: Vec<u64> = messages.iter().map(|message| message.seq).collect();
        assert_eq!(seqs, (1..=30).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_death_of_all_nodes_at_once() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    client.make_keeping(cluster.url(0), "orders", 1_000_000).await;
    let mut publishers: Vec<_> = (0..12).map(|_| Publisher::start(&client, cluster.urls(), "orders")).collect();
    for publisher in &mut publishers {
        publisher.publishes(20).await;
    }
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    cluster.nodes.iter_mut().for_each(|node| node.spawn());
    for node in &mut cluster.nodes {
        node.serves().await;
    }

    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.stop().await);
    }
    acknowledged.sort_by_key(|message| message.seq);
    cluster.all_keep("orders", &acknowledged).await;
}

#[tokio::test]
async fn a_directory_of_another_version_is_refused_and_left_as_it_is() {
    let mut cluster = Cluster::of(1).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let messages = client.publish_all(cluster.url(0), "orders", 0..10).await;
    let node = &mut cluster.nodes[0];
    assert_eq!(node.stop().await, Some(0));
    let identity = node.data_dir().join("node.json");
    let segments = fs::read_dir(node.data_dir().join("log")).expect("a directory");
    let segments = segments.map(|entry| entry.expect("an entry").path());
    let segment = segments.filter(|file| file.extension().is_some_and(|suffix| suffix == "seg")).max().expect("one");

    for (file, version) in [(identity, 77), (segment, 99)] {
        let before = fs::read(&file).expect("a file");
        let mut bytes = before.clone();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("json") => {
                let text = String::from_utf8(bytes).expect("UTF-8").replace("\"format\": 2", "\"format\": 77");
                bytes = text.into_bytes();
            }
            // Behind eight bytes that say what it is.
            _ => bytes[8..12].copy_from_slice(&99_u32.to_le_bytes()),
        }
        fs::write(&file, &bytes).expect("written");
        let (code, text) = node.fails().await;
        assert_eq!(code, Some(1), "{text}");
        let told = format!("{} has format version {version}", file.display());
        assert!(text.contains(&told), "{told}: {text}");
        assert_eq!(fs::read(&file).expect("a file"), bytes);
        fs::write(&file, before).expect("written");
    }
    node.start().await;
    cluster.all_keep("orders", &messages).await;
}

#[tokio::test]
async fn a_second_start_on_the_same_directory_says_so_and_ends() {
    let mut cluster = Cluster::of(1).await;
    let data_dir = cluster.nodes[0].data_dir().to_str().expect("a path of ASCII").to_owned();
    let second = cluster.prepare(&["--data-dir", &data_dir]);
    let (code, text) = cluster.nodes[second].fails().await;

    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("{data_dir} is in use by another process")), "{text}");
    assert!(text.contains("--data-dir") && !text.contains("stopped"), "it never ran: {text}");
    cluster.client.readiness(cluster.url(0), 200).await;
}

#[tokio::test]
async fn a_node_whose_disk_takes_no_more_ends_with_the_cause_and_keeps_what_it_acknowledged() {
    let mut cluster = Cluster::of(1).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    assert_eq!(cluster.nodes[0].stop().await, Some(0));
    cluster.nodes[0].limit(true);
    cluster.nodes[0].start().await;
    let url = cluster.url(0).to_owned();
    let mut acknowledged: Vec<Message> = Vec::new();
    loop {
        let publication = client.publication(&url, "orders", &json!("x".repeat(60_000)));
        match client.try_send(publication).await {
            Ok(answer) if answer.status == 201 => {
                acknowledged.push(serde_json::from_value(answer.json()).expect("a message"));
            }
            Ok(_) | Err(_) => break,
        }
    }
    assert!(acknowledged.len() > 10, "{} acknowledged", acknowledged.len());

    let directory = cluster.nodes[0].data_dir().display().to_string();
    let tells_why = |text: &str| {
        let (_, report) = text.rsplit_once("\nerror: ").expect("a report");
        report.contains(&directory) && report.contains("because: File too large")
    };
    let (code, text) = cluster.nodes[0].ends().await;
    assert!(code == Some(1) && tells_why(&text), "{text}");
    // It can't even start as long as there is no room.
    let (code, more) = cluster.nodes[0].fails().await;
    assert!(code == Some(1) && tells_why(&more[text.len()..]), "{more}");

    cluster.nodes[0].limit(false);
    cluster.nodes[0].start().await;
    let kept = client.messages(&url, "orders").await.expect("a page");
    assert!(kept.starts_with(&acknowledged), "of {} it keeps {}", acknowledged.len(), kept.len());
}

#[tokio::test]
async fn a_node_without_its_log_refuses_to_forget() {
    let mut cluster = Cluster::of(1).await;
    cluster.nodes[0].kill();
    fs::remove_dir_all(cluster.nodes[0].data_dir().join("log")).expect("there was a log");
    let (code, text) = cluster.nodes[0].fails().await;

    assert_eq!(code, Some(1));
    assert!(text.contains("has no log") && text.contains("empty data directory"), "{text}");
}

#[tokio::test]
async fn a_node_is_not_started_on_half_of_what_it_wrote() {
    let mut cluster = Cluster::of(1).await;
    cluster.client.create(cluster.url(0), "orders").await.expect(201);
    // Stopping leaves a checkpoint.
    assert_eq!(cluster.nodes[0].stop().await, Some(0));
    let dir = cluster.nodes[0].data_dir().to_owned();

    fs::rename(dir.join("node.json"), cluster.path("node.json")).expect("there was an identity");
    let (code, text) = cluster.nodes[0].fails().await;
    assert_eq!(code, Some(1));
    assert!(text.contains("node.json is gone"), "{text}");
    fs::rename(cluster.path("node.json"), dir.join("node.json")).expect("put back");

    // Unlike one that is missing, an empty directory is what a volume that was not mounted looks like.
    let (log, lost) = (dir.join("log"), cluster.path("lost"));
    fs::rename(&log, &lost).expect("there was a log");
    fs::create_dir(&log).expect("created");
    let (code, text) = cluster.nodes[0].fails().await;
    assert_eq!(code, Some(1));
    assert!(text.contains("has no log") && text.contains("empty data directory"), "{text}");

    fs::remove_dir(&log).expect("nothing was written there");
    fs::rename(lost, log).expect("put back");
    cluster.nodes[0].start().await;
    cluster.client.get(cluster.url(0), "/topics/orders").await.expect(200);
}

#[tokio::test]
async fn a_signal_stops_a_node_and_ends_its_streams_between_events() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut cluster = Cluster::of(1).await;
        let (client, node) = (cluster.client.clone(), cluster.url(0).to_owned());
        client.make(&node, "orders").await;
        let paths = ["/topics/orders/sse", "/sse?topic=orders", "/sse?match=**", "/sse?topic=quiet"];
        let mut subscribers = Vec::new();
        for path in paths {
            subscribers.push(Subscriber::live(&client, &node, path).await);
        }
        let stalled = Stalled::open(&node, "/topics/orders/sse").await;
        let publishers: Vec<_> = (0..4).map(|_| publish_on_and_on(&client, &node, "orders")).collect();
        subscribers[0].until("some messages", |seen| (seen.len() > 100).then_some(())).await;

        cluster.nodes[0].signal(signal);
        let (code, text) = cluster.nodes[0].ends().await;
        assert_eq!(code, Some(0), "{text}");
        drop(stalled);
        for subscriber in subscribers {
            let closed = |seen: &[Seen]| seen.iter().find(|seen| matches!(seen, Seen::Closed { .. })).cloned();
            let closed = subscriber.until("the end of the stream", closed).await;
            let between_events = matches!(closed, Seen::Closed { in_order: true, within_event: false, .. });
            assert!(between_events, "{closed:?}");
        }

        cluster.nodes[0].start().await;
        let kept = client.messages(&node, "orders").await.expect("a page");
        for publisher in publishers {
            // Topics keep a thousand: what is older may be gone by now.
            let acknowledged = publisher.await.expect("it ended");
            let due = acknowledged.iter().filter(|message| message.seq >= kept[0].seq);
            let lost: Vec<_> = due.filter(|message| !kept.contains(message)).collect();
            assert!(lost.is_empty(), "{lost:?}");
        }
    }
}

#[tokio::test]
async fn a_browser_that_comes_too_early_is_sent_back_and_served_later() {
    let mut cluster = Cluster::without_nodes(&[]);
    let (listen, founder) = (Place::new(), Place::new());
    let early = cluster.prepare(&["--listen", &listen.address, "--join", &founder.address]);
    cluster.nodes[early].spawn();
    let (client, url) = (cluster.client.clone(), format!("http://{}", listen.address));

    let not_ready = client.readiness(&url, 503).await;
    assert_eq!(not_ready.code().as_deref(), Some("not-ready"));
    client.get(&url, "/livez").await.expect(200);
    let refused = client.send(client.publication(&url, "orders", &json!(1))).await.expect(503);
    assert_eq!(refused.code().as_deref(), Some("not-ready"));
    for path in ["/sse?topic=orders", "/topics/orders/sse"] {
        let answer = client.get(&url, path).await.expect(200);
        assert!(answer.media_type.starts_with("text/event-stream"), "{answer:?}");
        assert!(answer.text.contains("retry: ") && !answer.text.contains("data"), "{answer:?}");
    }
    let subscriber = Subscriber::of(&client, &url, "/sse?topic=orders");
    subscriber.opened(3).await;

    cluster.add(&["--bootstrap", "--peer-listen", &founder.address]).await;
    cluster.nodes[early].serves().await;
    client.readiness(&url, 200).await;
    subscriber.event("repl.ready").await;
    client.make(&url, "orders").await;
    let message = client.publish(&url, "orders", json!("at last")).await;
    subscriber.has_seen(&[message]).await;
    assert!(!subscriber.seen().iter().any(|seen| matches!(seen, Seen::Refused { .. })));
}

#[tokio::test]
async fn without_a_majority_nothing_is_acknowledged_and_nothing_is_called_failed_that_may_happen() {
    // It leads for longer than a publish takes until it is given up.
    let mut cluster = Cluster::with(3, &[&["--publish-timeout", "1s"], &LEADER_STAYS[..]].concat()).await;
    let client = cluster.client.clone();
    let leader = cluster.leader().await;
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    let url = cluster.url(leader).to_owned();
    client.make(&url, "orders").await;
    cluster.all_keep("orders", &[]).await;
    let subscriber = Subscriber::live(&client, &url, "/topics/orders/sse").await;

    others.iter().for_each(|node| cluster.nodes[*node].signal(Signal::STOP));
    let publish = || client.publication(&url, "orders", &json!("paid")).header("Idempotency-Key", "order-1");
    let unknown = client.send(publish()).await.expect(504);
    assert_eq!((unknown.code().as_deref(), &unknown.json()["outcome"]), (Some("outcome-unknown"), &json!("unknown")));
    client.readiness(&url, 503).await;
    let refused = client.get(&url, "/sse?topic=orders").await.expect(200);
    assert!(!refused.text.contains("data"), "a new stream is sent elsewhere: {refused:?}");

    others.iter().for_each(|node| cluster.nodes[*node].signal(Signal::CONT));
    client.readiness(&url, 200).await;
    let answer = until("an acknowledgement", async || {
        Some(client.send(publish()).await).filter(|answer| matches!(answer.status, 200 | 201))
    });
    let stored: Message = serde_json::from_value(answer.await.json()).expect("a message");
    cluster.all_keep("orders", std::slice::from_ref(&stored)).await;
    subscriber.has_seen(&[stored]).await;
    assert_eq!(subscriber.streams(), 1, "who was there stays");
}

#[tokio::test]
async fn a_leader_without_a_majority_says_that_nobody_leads_and_stops_without_waiting_for_another() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    let leader = cluster.leader().await;
    let (url, id) = (cluster.url(leader).to_owned(), cluster.nodes[leader].started().node);
    for other in (0..3).filter(|node| *node != leader) {
        cluster.nodes[other].kill();
    }

    client.readiness(&url, 503).await;
    client
        .sees(&url, "no leader", |view| view.leader.is_none() && view.ids(|node| node.role == "leader").is_empty())
        .await;
    let view = client.sees(&url, "the others are down", |view| view.ids(|node| node.state == "down").len() == 2).await;
    assert_eq!(view.ids(|node| node.lag.is_some()), [id], "nobody knows what the others miss: {view:?}");
    let down = view.ids(|node| node.silent_ms.is_some_and(|silent| silent >= 3_000) && node.connections == 0);
    assert_eq!(down, view.ids(|node| node.id != id), "{view:?}");
    let says_who_is_missing = async || {
        let problem = client.readiness(&url, 503).await.json();
        (problem["missing"] == json!(down)).then_some(problem)
    };
    let problem = until("the missing are named", &says_who_is_missing).await;
    assert_eq!((&problem["voters"], &problem["answering"]), (&json!(3), &json!(1)), "{problem}");
    let said = problem["detail"].as_str().expect("a sentence");
    let missing = format!("1 of 3 voters answer, and 2 are needed; no answer from node {}, node {}.", down[0], down[1]);
    assert!(said.ends_with(&missing), "{said}");
    assert_eq!(cluster.nodes[leader].stop().await, Some(0));
    // Nor does it only say that it is starting.
    cluster.nodes[leader].spawn();
    until("the missing are named again", says_who_is_missing).await;
    let log = cluster.nodes[leader].log();
    assert!(log.contains("stopped") && !log.contains("waiting for another node to lead"), "{log}");
}

#[tokio::test]
async fn a_leader_that_stood_still_comes_back_as_a_follower() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    let old = cluster.leader().await;
    client.make(cluster.url(old), "orders").await;
    let subscriber = Subscriber::live(&client, cluster.url(old), "/topics/orders/sse").await;
    cluster.nodes[old].signal(Signal::STOP);
    let other = (old + 1) % 3;
    let old_id = cluster.nodes[old].started().node;
    client.sees(cluster.url(other), "another leader", |view| view.leader.is_some_and(|leader| leader != old_id)).await;
    let messages = client.publish_all(cluster.url(other), "orders", 0..20).await;
    cluster.nodes[old].signal(Signal::CONT);

    cluster.all_keep("orders", &messages).await;
    subscriber.has_seen(&messages).await;
    let message = client.publish(cluster.url(old), "orders", json!("by the old one")).await;
    cluster.all_keep("orders", &[messages, vec![message]].concat()).await;
}

#[tokio::test]
async fn writes_that_were_under_way_to_a_leader_that_stands_still_are_repeated_to_the_next() {
    // Nodes give a silent connection up after 15 s; nobody is to wait for that, nor for the end of his patience.
    let soon = Duration::from_secs(12);
    let mut cluster = Cluster::with(3, &["--publish-timeout", "60s"]).await;
    let client = cluster.client.clone();
    let leader = cluster.leader().await;
    let follower = cluster.url((leader + 1) % 3).to_owned();
    // By way of the leader, so that there is a connection.
    client.make(&follower, "orders").await;

    cluster.nodes[leader].signal(Signal::STOP);
    let publish = |number: u32| {
        let publication = client.publication(&follower, "orders", &json!(number));
        let client = client.clone();
        let publication = publication.header("Idempotency-Key", format!("number {number}"));
        tokio::spawn(async move { tokio::time::timeout(soon, client.send(publication)).await })
    };
    let answers: Vec<_> = (0..20).map(publish).collect();
    for answer in answers {
        let answer = answer.await.expect("no panic").expect("an answer soon");
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }
    cluster.nodes[leader].signal(Signal::CONT);
}

#[tokio::test]
async fn a_change_or_a_deletion_that_may_have_been_done_is_not_repeated() {
    // Both are on their way to the leader before another one is elected.
    let mut cluster = Cluster::with(3, &["--publish-timeout", "60s", "--election-timeout", "2s"]).await;
    let client = cluster.client.clone();
    let leader = cluster.leader().await;
    let follower = cluster.url((leader + 1) % 3).to_owned();
    // By way of the leader, so that there is a connection.
    client.make_keeping(&follower, "changed", 7).await;
    client.make(&follower, "deleted").await;

    cluster.nodes[leader].signal(Signal::STOP);
    let write = |method: Method, topic: &str| client.request(method, &format!("{follower}/topics/{topic}"));
    let change = write(Method::PATCH, "changed").json(&json!({ "retention": { "maxMessages": 8 } }));
    let (changed, deleted) = tokio::join!(client.send(change), client.send(write(Method::DELETE, "deleted")));
    for answer in [changed.expect(504), deleted.expect(504)] {
        assert_eq!(answer.json()["outcome"], "unknown");
    }
    cluster.nodes[leader].signal(Signal::CONT);

    // The next leader was not asked, and the old one has no majority for it any more.
    cluster.leader().await;
    client.make(&follower, "after").await;
    let kept = client.get(&follower, "/topics/changed").await.expect(200);
    assert_eq!(kept.json()["retention"]["maxMessages"], 7);
    client.get(&follower, "/topics/deleted").await.expect(200);
}

#[tokio::test]
async fn a_leader_that_is_stopped_hands_over_first() {
    let mut cluster = Cluster::with(3, &["--publish-timeout", "20s"]).await;
    let client = cluster.client.clone();
    let leader = cluster.leader().await;
    client.make(cluster.url(leader), "orders").await;
    let other = cluster.url((leader + 1) % 3).to_owned();
    let publisher = publish_on_and_on(&client, &other, "orders");
    let subscriber = Subscriber::live(&client, &other, "/topics/orders/sse").await;
    subscriber.until("some messages", |seen| (seen.len() > 20).then_some(())).await;

    assert_eq!(cluster.nodes[leader].stop().await, Some(0));
    let seen = subscriber.seen().len();
    subscriber.until("messages after the leader is gone", |now| (now.len() > seen + 20).then_some(())).await;
    assert!(!publisher.is_finished(), "no publish of another node failed meanwhile");
    publisher.abort();
    client.readiness(&other, 200).await;
}

//! Nodes that stop in order: their clients go elsewhere, and miss nothing.

use rustix::process::Signal;
use serde_json::json;

use crate::cluster::{Cluster, Publisher, Seen, Subscriber, Subscription};

/// Longer than any test: whoever waits for its end fails.
const FOR_EVER: [&str; 2] = ["--drain-window", "1h"];

fn closed_between_events(seen: &Seen) -> bool {
    match seen {
        Seen::Closed { in_order, within_event, .. } => *in_order && !within_event,
        Seen::Opened | Seen::Event(_) | Seen::Refused { .. } => true,
    }
}

#[tokio::test]
async fn a_node_that_is_told_to_stop_sends_its_streams_elsewhere_and_takes_writes_meanwhile() {
    for ordered in [false, true] {
        let mut cluster = Cluster::with(3, &FOR_EVER).await;
        let client = cluster.client.clone();
        let leader = cluster.leader().await;
        let other = (leader + 1) % 3;
        let mut nodes = cluster.urls();
        nodes.rotate_left(leader);
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        client.make(nodes[0], "orders").await;
        let paths = ["/topics/orders/sse", "/sse?topic=orders", "/sse?match=**", "/sse?topic=orders&topic=quiet"];
        let mut subscribers = Vec::new();
        for path in paths {
            let subscriber = Subscriber::start(&client, Subscription::new(nodes.iter().copied(), path));
            subscriber.event("repl.ready").await;
            subscribers.push(subscriber);
        }
        let mut messages = client.publish_all(nodes[0], "orders", 0..10).await;

        if ordered {
            let id = cluster.nodes[leader].started().node.to_string();
            cluster.nodes[other].ordered(&["drain", &id]).await;
        } else {
            cluster.nodes[leader].signal(Signal::TERM);
        }
        for subscriber in &subscribers {
            let mut told = subscriber.event("repl.move").await.json();
            let urls = told["nodes"].as_array_mut().expect("a list");
            urls.sort_by_key(|url| *url == nodes[2]);
            assert_eq!(told, json!({ "nodes": nodes[1..], "withinMs": 3_600_000 }));
        }
        client.readiness(nodes[0], 503).await;
        let id = cluster.nodes[leader].started().node;
        client.sees(nodes[0], "that it has handed over", |view| view.leader.is_some_and(|now| now != id)).await;
        let draining = |view: &crate::cluster::View| view.ids(|node| node.state == "draining") == [id];
        client.sees(nodes[1], "that it is about to stop", draining).await;
        let refused = client.get(nodes[0], "/sse?topic=orders").await.expect(200);
        assert!(!refused.text.contains("data"), "newcomers are sent elsewhere: {refused:?}");
        messages.push(client.publish(nodes[0], "orders", json!("meanwhile")).await);
        assert!(cluster.nodes[leader].is_running(), "it waits for them");

        for subscriber in &subscribers {
            subscriber.has_seen(&messages).await;
            subscriber.hop(1);
        }
        assert_eq!(cluster.nodes[leader].ends().await.0, Some(0));
        messages.push(client.publish(nodes[1], "orders", json!("afterwards")).await);
        for subscriber in &subscribers {
            subscriber.has_seen(&messages).await;
        }
    }
}

#[tokio::test]
async fn a_node_waits_for_nobody_if_nobody_has_to_go_or_there_is_nowhere_to_go() {
    let mut cluster = Cluster::with(1, &FOR_EVER).await;
    let client = cluster.client.clone();
    let subscriber = Subscriber::live(&client, cluster.url(0), "/sse?topic=orders").await;
    assert_eq!(cluster.nodes[0].stop().await, Some(0));
    let end = |seen: &[Seen]| seen.iter().find(|seen| matches!(seen, Seen::Closed { .. })).cloned();
    assert!(closed_between_events(&subscriber.until("the end of the stream", end).await));
    assert!(!subscriber.events().iter().any(|event| event.kind == "repl.move"));

    let mut cluster = Cluster::with(3, &FOR_EVER).await;
    for node in [0, 1, 2] {
        assert_eq!(cluster.nodes[node].stop().await, Some(0));
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_at_once() {
    let mut cluster = Cluster::with(3, &FOR_EVER).await;
    let node = cluster.follower().await;
    let subscriber = Subscriber::live(&cluster.client, cluster.url(node), "/sse?topic=orders").await;
    cluster.nodes[node].signal(Signal::TERM);
    subscriber.event("repl.move").await;
    cluster.nodes[node].signal(Signal::TERM);
    assert_eq!(cluster.nodes[node].ends().await.0, Some(128 + 15));
}

#[tokio::test]
async fn a_cluster_that_is_restarted_node_by_node_under_load_loses_nothing() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    client.make_keeping(cluster.url(0), "orders", 1_000_000).await;
    let urls = cluster.urls();
    let mut publishers: Vec<_> = (0..4).map(|_| Publisher::start(&client, urls.clone(), "orders")).collect();
    let subscribers: Vec<_> = (0..6)
        .map(|number| {
            let mut nodes: Vec<&str> = urls.iter().map(String::as_str).collect();
            nodes.rotate_left(number % 3);
            Subscriber::start(&client, Subscription::new(nodes, "/topics/orders/sse?after=earliest"))
        })
        .collect();
    for node in [0, 1, 2] {
        for publisher in &mut publishers {
            publisher.publishes(20).await;
        }
        assert_eq!(cluster.nodes[node].stop().await, Some(0));
        cluster.nodes[node].start().await;
        client.readiness(&urls[node], 200).await;
    }
    let mut acknowledged = Vec::new();
    for mut publisher in publishers {
        publisher.publishes(20).await;
        acknowledged.extend(publisher.stop().await);
    }
    acknowledged.sort_by_key(|message| message.seq);
    cluster.all_keep("orders", &acknowledged).await;
    for subscriber in &subscribers {
        subscriber.has_seen(&acknowledged).await;
        assert!(subscriber.seen().iter().all(closed_between_events));
        assert!(subscriber.events().iter().all(|event| event.kind != "repl.gap"));
    }
}

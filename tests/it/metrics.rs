//! What happens to a node shows in its metrics.

use std::io::Write;
use std::net::TcpStream;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::cluster::{Client, Cluster, Message, Stalled, until};

struct Node<'a> {
    client: &'a Client,
    url: &'a str,
}

impl Node<'_> {
    /// Waits until a metric is this number.
    async fn counts(&self, metric: &str, expected: u64) {
        let what = format!("{metric} is {expected}");
        until(&what, async || self.client.metric(self.url, metric).await.filter(|found| *found == expected)).await;
    }

    async fn metric(&self, metric: &str) -> u64 {
        self.client.metric(self.url, metric).await.unwrap_or_default()
    }
}

#[tokio::test]
async fn what_becomes_of_messages_and_streams_is_counted() {
    // A checkpoint brings fsyncs of its own.
    let cluster = Cluster::with(1, &["--checkpoint-interval", "1h"]).await;
    let (client, url) = (&cluster.client, cluster.url(0));
    let node = Node { client, url };
    client.make_keeping(url, "orders", 2).await;
    let commits = node.metric("repl_commit_duration_seconds_count").await;
    let fsyncs = node.metric("repl_log_fsync_duration_seconds_count").await;
    let mut stream = Stalled::open(url, "/topics/orders/sse").await;

    let messages: Vec<Message> = client.publish_all(url, "orders", 0..3).await;
    for status in [201, 200] {
        let once = client.publication(url, "orders", &json!("once")).header("idempotency-key", "once");
        client.send(once).await.expect(status);
    }
    node.counts(r#"repl_messages_published_total{result="stored"}"#, 4).await;
    node.counts(r#"repl_messages_published_total{result="repeated"}"#, 1).await;
    node.counts("repl_messages_evicted_total", 2).await;
    assert_eq!(node.metric("repl_commit_duration_seconds_count").await - commits, 5);
    let fsyncs = node.metric("repl_log_fsync_duration_seconds_count").await - fsyncs;
    assert!((1..=5).contains(&fsyncs), "{fsyncs} for five requests one after the other");

    stream.reads_up_to("the last message", |event| event.data.contains("once")).await;
    let deliveries = node.metric("repl_publish_to_deliver_seconds_count").await;
    assert!((1..=4).contains(&deliveries), "{deliveries} of four messages to one subscriber");

    for (message, result) in [(&messages[0], "gap"), (&messages[2], "whole")] {
        let after = message.id.clone();
        Stalled::open(url, &format!("/topics/orders/sse?after={after}")).await;
        node.counts(&format!(r#"repl_stream_resumes_total{{result="{result}"}}"#), 1).await;
    }
}

#[tokio::test]
async fn the_survivors_name_a_node_that_is_down() {
    let mut cluster = Cluster::of(3).await;
    let gone = cluster.follower().await;
    let id = cluster.nodes[gone].started().node;
    let client = cluster.client.clone();
    let survivors: Vec<String> = (0..3).filter(|node| *node != gone).map(|node| cluster.url(node).to_owned()).collect();
    let are = async |up: u64| {
        for url in &survivors {
            let node = Node { client: &client, url };
            node.counts(&format!(r#"repl_node_up{{node="{id}"}}"#), up).await;
            node.counts("repl_voters_up", 2 + up).await;
            assert_eq!(node.metric("repl_voters").await, 3);
        }
    };
    are(1).await;
    cluster.nodes[gone].kill();
    are(0).await;
}

#[tokio::test]
async fn a_stream_counts_as_slow_until_it_has_caught_up() {
    let cluster = Cluster::of(1).await;
    let (client, url) = (&cluster.client, cluster.url(0));
    let node = Node { client, url };
    client.make(url, "orders").await;
    let mut stalled = Stalled::open(url, "/topics/orders/sse").await;
    let large = Value::from("x".repeat(60_000));
    // At once: who takes nothing is closed after 25 seconds.
    join_all((0..100).map(|_| client.publish(url, "orders", large.clone()))).await;
    client.publish(url, "orders", json!("the last")).await;
    node.counts("repl_slow_subscribers", 0).await;
    stalled.reads_up_to("the last message", |event| event.data.contains("the last")).await;
    assert!(node.metric("repl_subscriptions_behind_total").await > 0);
    node.counts("repl_slow_subscribers", 0).await;
}

#[tokio::test]
async fn callers_that_are_no_nodes_are_counted() {
    let cluster = Cluster::of(1).await;
    let node = Node { client: &cluster.client, url: cluster.url(0) };
    let address = cluster.nodes[0].started().peer.clone();
    let mut stranger = TcpStream::connect(address).expect("it listens");
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a moment to say it");
    node.counts(r#"repl_peer_callers_turned_away_total{reason="refused"}"#, 1).await;
}

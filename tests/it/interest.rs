//! Who doesn't read a topic here doesn't pay for who reads it elsewhere.

use futures_util::future::join_all;

use crate::cluster::{Cluster, Subscriber};

#[tokio::test]
async fn a_message_costs_a_node_without_subscribers_of_its_topic_no_more_than_log_and_apply() {
    const MESSAGES: u64 = 200;
    const READERS: usize = 50;
    let cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    let urls = cluster.urls();
    for topic in ["busy", "quiet"] {
        client.make(&urls[0], topic).await;
    }
    let open = (0..READERS).map(|_| Subscriber::live(&client, &urls[0], "/topics/busy/sse"));
    let readers = join_all(open).await;
    // Somebody is there on the second node, too, and reads something else.
    let elsewhere = Subscriber::live(&client, &urls[1], "/topics/quiet/sse").await;

    let messages = client.publish_all(&urls[2], "busy", 0..MESSAGES).await;
    for reader in &readers {
        reader.has_seen(&messages).await;
    }
    cluster.all_keep("busy", &messages).await;
    let metric = async |node: usize, name: &str| client.metric(&urls[node], name).await.expect("a number");
    assert_eq!(metric(0, "repl_fanout_frames_total").await, MESSAGES, "encoded once, however many read it");
    for node in [1, 2] {
        for name in ["repl_fanout_frames_total", "repl_fanout_batches_total", "repl_fanout_kept_bytes"] {
            assert_eq!(metric(node, name).await, 0, "{name} of a node without readers");
        }
    }
    let message = client.publish(&urls[0], "quiet", 1.into()).await;
    elsewhere.has_seen(&[message]).await;
    assert_eq!(metric(1, "repl_fanout_frames_total").await, 1);
}

//! The disk of one node takes no more. Needs root, for a small disk of its own.

use std::slice;

use serde_json::json;

use crate::cluster::{Client, Cluster, View, until};
use crate::ext4::Ext4;

/// Enough for a node and a few megabytes of log.
const DISK_BYTES: u64 = 64 << 20;

/// Waits until a node says that it is not ready for lack of room. While it hands over it may lack a leader first.
async fn lacks_room(client: &Client, node: &str) {
    until("it says that there is no room", async || {
        let answer = client.readiness(node, 503).await;
        assert_eq!(answer.code().as_deref(), Some("not-ready"), "{answer:?}");
        answer.text.contains("no room").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_others_write_on_while_a_disk_is_full_and_its_node_comes_back_by_itself() {
    let Some(disk) = Ext4::new(DISK_BYTES) else { return };
    let arguments = ["--checkpoint-interval", "1s"];
    let mut cluster = Cluster::over(3, &arguments, None, slice::from_ref(&disk)).await;
    let client = cluster.client.clone();
    client.make(cluster.url(1), "orders").await;
    let mut messages = client.publish_all(cluster.url(1), "orders", 0..10).await;
    let id = |cluster: &Cluster, node: usize| cluster.nodes[node].started().node;
    // Once it leads, once it follows.
    for leader in [0, 1] {
        let to = id(&cluster, leader).to_string();
        cluster.nodes[2].ordered(&["transfer-leader", &to]).await;
        assert_eq!(cluster.leader().await, leader);
        disk.fill();
        for number in 0..100 {
            messages.push(client.publish(cluster.url(2), "orders", json!(vec![number; 1_000])).await);
        }
        let full = id(&cluster, 0);
        client.sees(cluster.url(2), "another node leads", |view: &View| view.leader.is_some_and(|id| id != full)).await;
        lacks_room(&client, cluster.url(0)).await;
        let publication = client.publication(cluster.url(0), "orders", &json!("nobody takes it"));
        let refused = client.send(publication).await;
        assert_eq!(refused.code(), Some("no-leader".to_owned()), "{refused:?}");
        assert!(cluster.nodes[0].is_running());

        disk.free();
        client.readiness(cluster.url(0), 200).await;
        messages.push(client.publish(cluster.url(0), "orders", json!("there is room")).await);
        cluster.all_keep("orders", &messages).await;
        cluster.nodes[0].ordered(&["verify"]).await;
    }
    // One message finds room where the log ends, and the checkpoint of a node that stops what was set aside for it.
    disk.fill();
    messages.push(client.publish(cluster.url(2), "orders", json!("last")).await);
    cluster.all_keep("orders", &messages).await;
    assert_eq!(cluster.nodes[0].stop().await, Some(0));
    disk.free();
    cluster.nodes[0].start().await;
    cluster.all_keep("orders", &messages).await;
}

#[tokio::test]
async fn a_checkpoint_waits_for_room_while_the_log_has_some() {
    let Some(disk) = Ext4::new(DISK_BYTES) else { return };
    // What makes a checkpoint due takes the log a megabyte, and the store eight.
    let arguments = ["--checkpoint-interval", "1h", "--checkpoint-bytes", "1MiB"];
    let mut cluster = Cluster::over(3, &arguments, None, slice::from_ref(&disk)).await;
    let client = cluster.client.clone();
    client.make(cluster.url(1), "orders").await;
    let to = cluster.nodes[0].started().node;
    cluster.nodes[2].ordered(&["transfer-leader", &to.to_string()]).await;
    disk.fill_but(6 << 20);
    let mut messages = Vec::new();
    for number in 0..100 {
        messages.push(client.publish(cluster.url(2), "orders", json!(vec![number; 10_000])).await);
    }
    cluster.nodes[0].says("can't write a checkpoint").await;
    client.sees(cluster.url(2), "another node leads", |view: &View| view.leader.is_some_and(|id| id != to)).await;
    lacks_room(&client, cluster.url(0)).await;
    messages.push(client.publish(cluster.url(2), "orders", json!("the log has room")).await);
    cluster.all_keep("orders", &messages).await;

    disk.free();
    client.readiness(cluster.url(0), 200).await;
    cluster.nodes[0].kill();
    cluster.nodes[0].start().await;
    cluster.all_keep("orders", &messages).await;
    cluster.nodes[0].ordered(&["verify"]).await;
}

//! An fsync fails: what is on the disk then, nobody knows.

use serde_json::json;

use crate::cluster::{Cluster, Fsync, LEADER_STAYS};

/// Publishes while the fsync of one node fails. Answers what the node said on its way out.
async fn fails(cluster: &mut Cluster, node: usize, fsync: &Fsync) -> String {
    let client = cluster.client.clone();
    fsync.fail();
    let url = cluster.url(node).to_owned();
    // Nobody is told that it is done; more than that, nobody knows.
    let answer = client.try_send(client.publication(&url, "orders", &json!("in vain"))).await;
    let (code, log) = cluster.nodes[node].ends().await;
    assert_eq!(code, Some(1), "{log}");
    if cluster.nodes.len() == 1 {
        assert!(answer.is_err() || answer.is_ok_and(|answer| matches!(answer.status, 503 | 504)));
    }
    fsync.mend();
    log
}

/// A cluster with a topic, whose first node has an fsync that can fail. `None` where there can be none.
async fn cluster_of(nodes: usize) -> Option<(Cluster, Fsync)> {
    let mut cluster = Cluster::with(nodes, &LEADER_STAYS).await;
    let fsync = Fsync::new(&cluster.path(""))?;
    cluster.client.make(cluster.url(0), "orders").await;
    cluster.nodes[0].set_fsync(fsync.clone());
    assert_eq!(cluster.nodes[0].stop().await, Some(0));
    cluster.nodes[0].start().await;
    Some((cluster, fsync))
}

#[tokio::test]
async fn a_node_whose_fsync_fails_stops_and_keeps_all_that_it_acknowledged() {
    let Some((mut cluster, fsync)) = cluster_of(1).await else { return };
    let client = cluster.client.clone();
    let messages = client.publish_all(cluster.url(0), "orders", 0..10).await;
    let log = fails(&mut cluster, 0, &fsync).await;
    assert!(log.contains("can't sync") && log.contains(".seg") && log.contains("Input/output error"), "{log}");

    cluster.nodes[0].start().await;
    let kept = client.messages(cluster.url(0), "orders").await.expect("a page");
    assert_eq!(kept.get(..10), Some(&messages[..]), "what came after may be there, or not");
}

#[tokio::test]
async fn the_others_write_on_when_the_fsync_of_their_leader_fails() {
    let Some((mut cluster, fsync)) = cluster_of(3).await else { return };
    let client = cluster.client.clone();
    let id = cluster.nodes[0].started().node.to_string();
    cluster.nodes[1].ordered(&["transfer-leader", &id]).await;
    assert_eq!(cluster.leader().await, 0);
    let mut messages = client.publish_all(cluster.url(1), "orders", 0..10).await;
    fails(&mut cluster, 0, &fsync).await;
    messages.extend(client.publish_all(cluster.url(1), "orders", 10..20).await);

    cluster.nodes[0].start().await;
    let kept = client.messages(cluster.url(1), "orders").await.expect("a page");
    assert!(messages.iter().all(|message| kept.contains(message)));
    cluster.all_keep("orders", &kept).await;
    cluster.nodes[0].ordered(&["verify"]).await;
}

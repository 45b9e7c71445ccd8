//! Whether all nodes hold the same, and where they differ.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use repl::domain::LogIndex;
use repl::storage::{Log, LogOptions};
use reqwest::Method;
use serde_json::json;

use crate::cluster::{Cluster, until};

#[tokio::test]
async fn all_nodes_hold_the_same_while_writes_go_on_and_after_all_have_restarted_or_been_replaced() {
    let mut cluster = Cluster::with(3, &["--checkpoint-bytes", "16KiB", "--key-max-age", "1s"]).await;
    let client = cluster.client.clone();
    client.make_keeping(cluster.url(0), "short", 3).await;
    client.make(cluster.url(0), "orders").await;
    client.make(cluster.url(0), "gone").await;
    let publishing = tokio::spawn({
        let (client, node) = (client.clone(), cluster.url(0).to_owned());
        async move {
            for number in 0..300 {
                let topic = ["short", "orders"][number % 2];
                client.publish(&node, topic, json!({ "number": number, "padding": "x".repeat(500) })).await;
            }
        }
    });
    while !publishing.is_finished() {
        let text = cluster.nodes[1].ordered(&["verify"]).await;
        assert!(text.starts_with("all nodes hold the same at entry "), "{text}");
    }
    publishing.await.expect("all was published");
    let deletion = client.request(Method::DELETE, &format!("{}/topics/gone", cluster.url(0)));
    let deleted = client.settled(deletion).await;
    assert!(matches!(deleted.status, 204 | 404), "{deleted:?}");
    // From a checkpoint and the log, from a snapshot, and by way of the log alone.
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    cluster.nodes[2].wipe();
    cluster.nodes[1].start().await;
    cluster.nodes[2].start().await;
    cluster.all_see("three voters", |view| view.voters() == 3 && view.nodes.len() == 3).await;
    for node in &cluster.nodes {
        let text = node.ordered(&["verify"]).await;
        let digests: Vec<_> = text.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
        assert!(digests.len() == 3 && digests.iter().all(|digest| *digest == digests[0]), "{text}");
    }

    cluster.nodes[1].kill();
    until("it is told that one node is missing", async || {
        let (code, text) = cluster.nodes[0].order(&["verify"]).await;
        assert_eq!(code, Some(1), "{text}");
        text.contains("not all nodes could be compared").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_that_one_node_has_otherwise_is_found() {
    // What is forged is in the log, and not in a checkpoint.
    let mut cluster = Cluster::with(3, &["--checkpoint-interval", "1h"]).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    client.make(cluster.url(0), "billing").await;
    client.publish(cluster.url(0), "orders", json!("one")).await;
    client.publish(cluster.url(0), "billing", json!("two")).await;
    client.publish(cluster.url(0), "billing", json!("three")).await;
    let odd = cluster.follower().await;
    cluster.nodes[0].ordered(&["verify"]).await;
    cluster.nodes[odd].kill();
    forge(&cluster.nodes[odd].data_dir().join("log"), b"\"three\"", b"\"seven\"");
    cluster.nodes[odd].start().await;
    for node in &cluster.nodes {
        let id = cluster.nodes[odd].started().node;
        let found = format!("and {id} don't hold the same");
        let place = "first in topic \"billing\", at position 3";
        until("it is found, and where", async || {
            let (code, text) = node.order(&["verify"]).await;
            assert_eq!(code, Some(1), "{text}");
            (text.contains(&found) && text.contains(place)).then_some(())
        })
        .await;
    }
}

/// Replaces something in the entries of a log, as no disk does: with checksums that are right.
fn forge(dir: &Path, from: &[u8], to: &[u8]) {
    let log = Log::open(dir, LogOptions::default()).expect("a log");
    let state = log.state();
    assert_eq!(state.purged, None, "the whole log is there");
    let mut entries = log.read(state.first, LogIndex::new(u64::MAX), None).expect("readable");
    drop(log);
    let mut forged = 0;
    for (_, payload) in &mut entries {
        let Some(at) = payload.windows(from.len()).position(|window| window == from) else { continue };
        let mut bytes = payload.to_vec();
        bytes[at..at + from.len()].copy_from_slice(to);
        *payload = bytes.into();
        forged += 1;
    }
    assert_eq!(forged, 1);
    fs::remove_dir_all(dir).expect("removed");
    let log = Log::open(dir, LogOptions::default()).expect("a new log");
    let (done, written) = mpsc::channel();
    log.append(entries, |result| result.expect("written"));
    log.save_vote(state.vote.expect("it has voted"), move |result| done.send(result).expect("somebody waits"));
    written.recv().expect("it ends").expect("written");
}

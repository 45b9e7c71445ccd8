//! Every file of a node's data directory, damaged in every way: the node heals, or refuses to start and names what is
//! damaged. It never serves anything else than what was written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cluster::{Cluster, Message, copy_dir};

/// Checkpoints, segments that are purged, and a peer list: every kind of file is there.
const ARGUMENTS: [&str; 4] = ["--checkpoint-bytes", "16KiB", "--checkpoint-interval", "500ms"];

/// What a disk, or somebody, does to a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    BitAtStart,
    BitInMiddle,
    BitAtEnd,
    CutInHalf,
    ZerosInSecondHalf,
    Emptied,
}

impl Damage {
    const ALL: [Self; 6] =
        [Self::BitAtStart, Self::BitInMiddle, Self::BitAtEnd, Self::CutInHalf, Self::ZerosInSecondHalf, Self::Emptied];

    pub(crate) fn strike(self, file: &Path) {
        let mut bytes = fs::read(file).expect("a file");
        // The room that a file has for more is not part of what it says.
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
        let middle = last / 2;
        match self {
            Self::BitAtStart => bytes[0] ^= 1,
            Self::BitInMiddle => bytes[middle] ^= 1,
            Self::BitAtEnd => bytes[last] ^= 1,
            Self::CutInHalf => bytes.truncate(middle),
            Self::ZerosInSecondHalf => bytes[middle..].fill(0),
            Self::Emptied => bytes.clear(),
        }
        fs::write(file, bytes).expect("written");
    }
}

/// One file of each kind, by its path without numbers: of the segments the oldest and the newest. What was set aside is
/// the node's no more.
pub(crate) fn kinds(dir: &Path) -> BTreeMap<String, PathBuf> {
    let mut files = Vec::new();
    collect(dir, &mut files);
    files.sort();
    let mut kinds = BTreeMap::new();
    for file in files.into_iter().filter(|file| fs::metadata(file).expect("a file").len() > 0) {
        let name = file.strip_prefix(dir).expect("within").to_str().expect("ASCII").to_owned();
        if name.starts_with("state-damaged-") {
            continue;
        }
        // sled numbers its snapshots in hexadecimal.
        let name = name.split_once("/snap.").map_or(name.clone(), |(dir, _)| format!("{dir}/snap"));
        let kind: String = name.chars().filter(|character| !character.is_ascii_digit()).collect();
        let first = kinds.contains_key(&kind);
        kinds.insert(if first { format!("{kind}, the newest") } else { kind }, file);
    }
    kinds
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        match fs::symlink_metadata(&path).expect("an entry").file_type() {
            kind if kind.is_dir() => collect(&path, files),
            kind if kind.is_file() => files.push(path),
            _ => {}
        }
    }
}

/// Damages one file after the other of a node that is down, starts it, and puts back what was there before if it refuses.
/// Answers what became of each.
async fn damage_all(cluster: &mut Cluster, node: usize, messages: &mut Vec<Message>) -> BTreeMap<String, &'static str> {
    let client = cluster.client.clone();
    let (data_dir, whole) = (cluster.nodes[node].data_dir(), cluster.path("whole"));
    let others: Vec<usize> = (0..cluster.nodes.len()).filter(|other| *other != node).collect();
    let wanted = kinds(&data_dir).into_keys().flat_map(|kind| Damage::ALL.map(|damage| (kind.clone(), damage)));
    let mut ends = BTreeMap::new();
    for (kind, damage) in wanted {
        let by = others.first().copied().unwrap_or(node);
        for value in 0..5 {
            messages.push(client.publish(cluster.url(by), "orders", json!([value, "x".repeat(1_000)])).await);
        }
        client.keeps(cluster.url(node), "orders", messages).await;
        cluster.nodes[node].kill();
        copy_dir(&data_dir, &whole);
        let Some(file) = kinds(&data_dir).remove(&kind) else {
            // A store that was healed has no snapshot of sled's for a while.
            cluster.nodes[node].start().await;
            continue;
        };
        damage.strike(&file);
        let said = cluster.nodes[node].log().len();
        let end = if cluster.nodes[node].comes_up().await {
            "goes on"
        } else {
            let log = cluster.nodes[node].log();
            let (_, report) = log[said..].rsplit_once("error: ").expect("a report");
            assert!(report.contains(data_dir.to_str().expect("ASCII")), "{damage:?} of {kind} names no file: {report}");
            fs::remove_dir_all(&data_dir).expect("removed");
            fs::rename(&whole, &data_dir).expect("put back");
            cluster.nodes[node].start().await;
            "refuses"
        };
        let _ = fs::remove_dir_all(&whole);
        ends.insert(format!("{damage:?} of {kind}"), end);
        client.keeps(cluster.url(node), "orders", messages).await;
    }
    ends
}

#[tokio::test]
async fn a_node_of_three_with_any_file_damaged_heals_or_refuses_and_nothing_is_lost() {
    let mut cluster = Cluster::with(3, &ARGUMENTS).await;
    let client = cluster.client.clone();
    client.make_keeping(cluster.url(0), "orders", 100_000).await;
    let mut messages = Vec::new();
    for number in 0..100 {
        messages.push(client.publish(cluster.url(0), "orders", json!([number, "x".repeat(1_000)])).await);
    }
    let node = cluster.follower().await;
    let ends = damage_all(&mut cluster, node, &mut messages).await;
    assert!(ends.len() >= 30 && ends.values().any(|end| *end == "refuses"), "{ends:#?}");
    cluster.all_keep("orders", &messages).await;
    cluster.nodes[0].ordered(&["verify"]).await;
}

#[tokio::test]
async fn a_node_alone_with_any_file_damaged_refuses_or_has_all_that_it_acknowledged() {
    let mut cluster = Cluster::with(1, &ARGUMENTS).await;
    let client = cluster.client.clone();
    client.make_keeping(cluster.url(0), "orders", 100_000).await;
    let mut messages = client.publish_all(cluster.url(0), "orders", 0..100).await;
    let ends = damage_all(&mut cluster, 0, &mut messages).await;
    let segments: Vec<_> = ends.iter().filter(|(what, _)| what.contains(".seg")).collect();
    assert!(segments.len() >= 6 && segments.iter().all(|(_, end)| **end == "refuses"), "{ends:#?}");
    cluster.nodes[0].ordered(&["verify"]).await;
}

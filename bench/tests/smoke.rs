//! Every mode, for a moment: that it works and counts right, not how fast.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy allows these in tests, but doesn't take the helpers of a test crate for tests"
)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the program on the server that was built with it.
fn bench(arguments: &str) -> Output {
    let bench = Path::new(env!("CARGO_BIN_EXE_repl-bench"));
    let repl = bench.with_file_name("repl");
    assert!(repl.is_file(), "no server at {}: test the whole workspace, or build it first", repl.display());
    Command::new(bench).args(arguments.split(' ')).output().expect("it starts")
}

/// The rows of its report.
fn rows(arguments: &str) -> Vec<Value> {
    let Output { status, stdout, stderr } = bench(&format!("{arguments} --json"));
    assert!(status.success(), "{arguments}: {}", String::from_utf8_lossy(&stderr));
    let report: Value = serde_json::from_slice(&stdout).expect("JSON");
    assert!(report["machine"]["cores"].as_u64() > Some(0), "{report}");
    assert_eq!(report["repl"], env!("CARGO_PKG_VERSION"));
    report["rows"].as_array().expect("rows").clone()
}

fn count(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or_else(|| panic!("no {name} in {row}"))
}

fn are_positive(row: &Value, names: &[&str]) {
    for name in names {
        assert!(row[name].as_f64() > Some(0.0), "{name} in {row}");
    }
}

#[test]
fn every_publish_is_counted_once_on_one_node_and_on_three() {
    // With keys, so that an election on a busy machine is no failure.
    let rows = rows("publish --nodes 1,3 --publishers 1,8 --topics 3 --keys --seconds 0.5 --warm-up 0.1");
    let loads: Vec<_> = rows.iter().map(|row| (count(row, "nodes"), count(row, "publishers"))).collect();
    assert_eq!(loads, [(1, 1), (1, 8), (3, 1), (3, 8)]);
    for row in &rows {
        assert!(count(row, "acknowledged") > 0, "{row}");
        assert_eq!(count(row, "stored"), count(row, "acknowledged"), "{row}");
        are_positive(row, &["acks_per_second", "messages_per_fsync", "entries_per_fsync"]);
        are_positive(&row["ack"], &["p50_us"]);
    }
}

#[test]
fn a_batch_counts_as_its_messages() {
    // One publisher, or else the node may put two batches into one entry.
    let rows = rows("publish --nodes 1 --publishers 1 --batch 16 --seconds 0.3 --warm-up 0.1");
    for row in &rows {
        assert!(count(row, "acknowledged") > 0, "{row}");
        assert_eq!(count(row, "stored"), count(row, "acknowledged"), "{row}");
        let batches = u32::try_from(count(row, "acknowledged") / 16).expect("a few");
        assert_eq!(count(row, "acknowledged"), u64::from(batches) * 16, "{row}");
        assert_eq!(row["entries"].as_f64(), Some(f64::from(batches)), "a batch is one entry: {row}");
    }
}

#[test]
fn every_subscriber_gets_every_message_once_and_in_order() {
    let rows = rows("fanout --subscribers 3,70 --publishers 4 --in-flight 16 --seconds 0.5 --warm-up 0.1");
    assert_eq!(rows.iter().map(|row| count(row, "subscribers")).collect::<Vec<_>>(), [3, 70]);
    for row in &rows {
        assert!(count(row, "published") > 0, "{row}");
        for fault in ["missing", "repeated", "out_of_order", "damaged"] {
            assert_eq!(count(&row["faults"], fault), 0, "{row}");
        }
        are_positive(row, &["deliveries_per_second", "frames_per_batch", "bytes_per_delivery"]);
        are_positive(&row["delivery"], &["samples"]);
    }
}

#[test]
fn idle_subscribers_take_memory() {
    let rows = rows("idle --subscribers 300 --seconds 0.1");
    for row in &rows {
        are_positive(row, &["pss_kib_per_subscriber"]);
        assert!(count(row, "pss_kib") > count(row, "pss_kib_before"), "{row}");
    }
}

#[test]
fn people_get_a_table() {
    let Output { status, stdout, .. } = bench("idle --subscribers 10,20 --seconds 0.1");
    let table = String::from_utf8(stdout).expect("UTF-8");
    assert!(status.success());
    assert!(table.starts_with("idle, 20"), "{table}");
    assert_eq!(table.lines().filter(|line| line.contains("subscribers  KiB each")).count(), 1, "{table}");
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let Output { status, stderr, .. } = bench("publish --repl /nowhere/repl");
    assert_eq!(status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stderr).contains("no server at /nowhere/repl"));
    let Output { status, stderr, .. } = bench("publish --repl /bin/false");
    assert_eq!(status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stderr).contains("a node ended"));
}

//! Every mode, for a moment: that it works and counts right, not how fast.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy allows these in tests, but doesn't take the helpers of a test crate for tests"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

/// Runs the program on the server that was built with it.
fn bench(arguments: &str) -> Output {
    let bench = Path::new(env!("CARGO_BIN_EXE_repl-bench"));
    let repl = bench.with_file_name("repl");
    assert!(repl.is_file(), "no server at {}: test the whole workspace, or build it first", repl.display());
    Command::new(bench).args(arguments.split(' ')).output().expect("it starts")
}

/// The rows of its report. Systems that are not installed have none.
fn rows(arguments: &str) -> Vec<Value> {
    let Output { status, stdout, stderr } = bench(&format!("{arguments} --json"));
    assert!(status.success(), "{arguments}: {}", String::from_utf8_lossy(&stderr));
    let report: Value = serde_json::from_slice(&stdout).expect("JSON");
    assert!(report["machine"]["cores"].as_u64() > Some(0), "{report}");
    for (system, reason) in report["skipped"].as_object().expect("reasons") {
        println!("{system} is left out: {reason}");
    }
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

/// That no stream missed anything, got it twice, or in another order than the others.
fn is_complete(row: &Value) {
    for fault in ["missing", "repeated", "out_of_order", "damaged"] {
        assert_eq!(count(&row["faults"], fault), 0, "{row}");
    }
    assert_eq!((count(row, "orders"), count(row, "broken")), (1, 0), "{row}");
}

#[test]
fn every_publish_is_counted_once_on_one_node_and_on_three() {
    // With keys, so that an election on a busy machine is no failure.
    let rows = rows("publish --systems repl,repl-3 --publishers 1,8 --topics 3 --keys --seconds 0.3 --warm-up 0.1");
    let loads: Vec<_> = rows.iter().map(|row| (row["system"].as_str(), count(row, "publishers"))).collect();
    assert_eq!(loads, [(Some("repl"), 1), (Some("repl-3"), 1), (Some("repl"), 8), (Some("repl-3"), 8)]);
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
    let rows = rows("publish --systems repl --publishers 1 --batch 16 --seconds 0.3 --warm-up 0.1");
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
        assert!(count(row, "acknowledged") > 0, "{row}");
        is_complete(row);
        are_positive(row, &["deliveries_per_second", "frames_per_batch", "bytes_per_delivery"]);
        are_positive(&row["delivery"], &["samples"]);
    }
}

#[test]
fn a_given_rate_is_kept_and_latencies_are_counted_from_it() {
    let rows = rows("latency --subscribers 20 --rate 200 --seconds 0.5 --warm-up 0.1");
    for row in &rows {
        is_complete(row);
        // 0.6 s at 200 a second. One more may be due before the load is told to end, none before its time.
        assert!((1..=200).contains(&count(row, "acknowledged")), "{row}");
        are_positive(row, &["server_us_per_delivery"]);
        are_positive(&row["delivery"], &["p50_us"]);
        are_positive(&row["ack"], &["p99_us"]);
    }
}

#[test]
fn who_comes_back_reads_all_that_was_missed() {
    let rows = rows("resume --subscribers 40 --behind 700 --seconds 0.1");
    for row in &rows {
        assert_eq!(row["faults"], json!({"missing": 0, "repeated": 0, "out_of_order": 0, "damaged": 0}), "{row}");
        are_positive(row, &["caught_up_seconds", "messages_per_second"]);
        are_positive(&row["calm_ack"], &["p50_us"]);
        assert_eq!(count(&row["each"], "samples"), 40, "{row}");
    }
}

#[test]
fn publishes_and_deliveries_have_a_cost_whatever_there_is() {
    let rows = rows(
        "topics --topics 1,30 --history 700 --keys 600 --publishers 4 --subscribers 5 --in-flight 8 --seconds 0.2 \
         --warm-up 0.1",
    );
    let growing: Vec<_> = rows.iter().map(|row| (row["growing"].as_str(), count(row, "count"))).collect();
    assert_eq!(growing, [(Some("topics"), 1), (Some("topics"), 30), (Some("history"), 700), (Some("keys"), 600)]);
    for row in &rows {
        are_positive(row, &["server_us_per_publish"]);
        assert_eq!((count(row, "refused"), count(row, "unknown")), (0, 0), "{row}");
    }
}

#[test]
fn a_cluster_goes_on_after_each_death_of_its_leader() {
    let rows = rows("failover --rounds 2");
    for row in &rows {
        assert_eq!((count(row, "rounds"), count(row, "acknowledged")), (2, 2), "{row}");
        assert!((2..=count(row, "sent")).contains(&count(row, "stored")), "{row}");
        are_positive(&row["down"], &["p50_us", "max_us"]);
    }
}

#[test]
fn other_systems_are_put_under_the_same_load() {
    let load = "--publishers 4 --in-flight 16 --seconds 0.3 --warm-up 0.1";
    for row in rows(&format!("fanout --systems nchan,node,node-redis,node-repl,axum,nats --subscribers 20 {load}")) {
        assert!(count(&row, "acknowledged") > 0, "{row}");
        // What they promise is theirs; that the load reads their streams right shows in that most of it is there.
        assert_eq!(count(&row["faults"], "damaged"), 0, "{row}");
    }
    let load = "--publishers 4 --seconds 0.3 --warm-up 0.1";
    for row in rows(&format!("publish --systems jetstream-sync,jetstream,redis-streams,etcd {load}")) {
        // On a busy machine one of them may change its leader meanwhile, and refuse what it may have stored.
        let acknowledged = count(&row, "acknowledged");
        let answered = acknowledged + count(&row, "refused") + count(&row, "unknown");
        assert!(answered > 0, "{row}");
        assert!((acknowledged..=answered).contains(&count(&row, "stored")), "{row}");
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
fn people_get_a_table_and_a_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let page = dir.path().join("page.html");
    let Output { status, stdout, .. } =
        bench(&format!("idle --subscribers 10,20 --seconds 0.1 --report {}", page.display()));
    let table = String::from_utf8(stdout).expect("UTF-8");
    assert!(status.success());
    assert!(table.starts_with("idle, 20"), "{table}");
    assert_eq!(table.lines().filter(|line| line.contains("subscribers  KiB each")).count(), 1, "{table}");
    let page = fs::read_to_string(page).expect("a page");
    assert!(page.contains("<th>KiB each (PSS)</th>") && page.contains("<svg "), "{page}");
    assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http"), "nothing from elsewhere: {page}");
}

#[test]
fn all_targets_are_judged_and_written_into_a_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let page = dir.path().join("performance.md");
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    fs::copy(template, &page).expect("a page with marks");
    let Output { status, stdout, stderr } = bench(&format!(
        "targets --systems repl,repl-3 --divide 20000 --seconds 0.1 --repeat 2 --battery-seconds 0.1 --rounds 1 --json --report {}",
        page.display()
    ));
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let found: Value = serde_json::from_slice(&stdout).expect("JSON");
    let targets = found["targets"].as_array().expect("targets");
    let text = |target: &Value, field: &str| target[field].as_str().expect("a text").to_owned();
    // Nothing but `repl` was measured, so what needs another system is open.
    let (open, own): (Vec<_>, Vec<_>) = targets.iter().partition(|target| {
        ["nchan", "node", "etcd", "jetstream", "redis-streams"].iter().any(|name| text(target, "what").ends_with(name))
    });
    assert!(!open.is_empty() && open.iter().all(|target| target["met"].is_null()), "{open:?}");
    assert!(own.iter().any(|target| target["met"].is_boolean() && text(target, "measured") != "–"), "{own:?}");
    let page = fs::read_to_string(&page).expect("a page");
    assert!(page.contains("| saturated fan-out to 1, deliveries / CPU-s |"), "{page}");
    let plot = fs::read_to_string(dir.path().join("performance/deliveries.svg")).expect("a plot");
    // Whether a tenth of a second holds processor time that can be counted is up to the machine.
    assert!(plot.contains("Deliveries per second of server CPU"), "{plot}");
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let Output { status, stderr, .. } = bench("publish --repl /nowhere/repl");
    assert_eq!(status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stderr).contains("no server at /nowhere/repl"));
    let Output { status, stderr, .. } = bench("publish --repl /bin/false");
    assert_eq!(status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stderr).contains("false ended"));
}

#[test]
fn what_is_not_installed_is_left_out_with_a_reason() {
    let arguments = "fanout --systems nats --peers /nowhere --subscribers 1 --json";
    let bench = Command::new(env!("CARGO_BIN_EXE_repl-bench")).args(arguments.split(' ')).env("PATH", "").output();
    let Output { status, stdout, stderr } = bench.expect("it starts");
    assert!(status.success());
    let report: Value = serde_json::from_slice(&stdout).expect("JSON");
    assert_eq!(report["rows"], json!([]));
    assert_eq!(report["skipped"], json!({"nats": "no nats-server here: bench/peers/install"}));
    assert!(String::from_utf8_lossy(&stderr).contains("nats is left out: no nats-server"));
}

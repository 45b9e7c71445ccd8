//! The disk takes no more.

use std::time::Duration;

use repl::storage::{Change, Store};
use tempfile::TempDir;

use super::ext4::Ext4;
use super::log::LogWorkload;
use super::workload::{Fsync, Running, Workload};

/// Lets files grow to 30 or 60 KiB, depending on the shell; a write beyond fails instead of killing the process.
const LIMITED: [&str; 3] = ["sh", "-c", r#"trap "" XFSZ; ulimit -f 60; exec "$0" "$@""#];

#[test]
fn a_log_whose_write_fails_stops_and_keeps_all_that_it_acknowledged() {
    let dir = TempDir::new().expect("a directory");
    let mut workload = LogWorkload::default();
    let acknowledged = Running::start::<LogWorkload>(dir.path(), 1, Fsync::Done, &LIMITED).end();
    assert!(acknowledged.is_some());
    workload.verify(dir.path(), 1, acknowledged).expect("all there");
    // Without the limit it goes on.
    let mut running = Running::start::<LogWorkload>(dir.path(), 2, Fsync::Done, &[]);
    running.wait_for(200);
    let acknowledged = running.kill();
    assert!(acknowledged >= Some(200));
    workload.verify(dir.path(), 2, acknowledged).expect("all there");
}

#[test]
fn a_log_on_a_full_disk_opens_again_without_free_space_and_goes_on_when_there_is_some() {
    let Some(disk) = Ext4::new(8 << 20) else { return };
    let dir = disk.path().join("log");
    let mut workload = LogWorkload::default();
    let mut running = Running::start::<LogWorkload>(&dir, 1, Fsync::Done, &[]);
    running.wait_for(100);
    disk.fill();
    let acknowledged = running.go_on_for(Duration::from_millis(500));
    running.kill();
    workload.verify(&dir, 1, acknowledged).expect("all there");

    // It waits for room, and ends not.
    let mut running = Running::start::<LogWorkload>(&dir, 2, Fsync::Done, &[]);
    running.go_on_for(Duration::from_millis(500));
    disk.free();
    running.wait_for(200);
    let acknowledged = running.kill();
    workload.verify(&dir, 2, acknowledged).expect("all there");
}

#[test]
fn a_commit_finds_the_room_that_was_set_aside_for_it_however_full_the_disk_gets() {
    let Some(disk) = Ext4::new(64 << 20) else { return };
    let rows = |byte: u8| (0..1_000_u32).map(move |key| (key.to_be_bytes().to_vec(), vec![byte; 2_000]));
    let changes = |byte| rows(byte).map(|(key, value)| Change::Put { key, value });
    let store = Store::open(&disk.path().join("store")).expect("opens");
    store.commit(changes(1)).expect("there is room");
    disk.fill();
    assert!(!store.reserve(16 << 20).expect("it can be asked"), "the disk is full");
    disk.free();
    for _ in 0..3 {
        assert!(store.reserve(16 << 20).expect("it can be asked"), "the same room each time");
    }
    disk.fill();
    store.commit(changes(2)).expect("the room was kept");
    drop(store);
    // To open it, sled writes an index.
    disk.free();
    let store = Store::open(&disk.path().join("store")).expect("opens");
    assert_eq!(store.all().collect::<Result<Vec<_>, _>>().expect("whole"), rows(2).collect::<Vec<_>>());
}

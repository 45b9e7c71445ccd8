//! The log at its boundary.
//!
//! Random histories, crashes and damage at every byte are in `tests/durability/`.

mod opening;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

fn index(index: u64) -> LogIndex {
    LogIndex::new(index)
}

fn entries(range: std::ops::Range<u64>, bytes: usize) -> Vec<(LogIndex, Bytes)> {
    range.map(|i| (index(i), payload(i, bytes))).collect()
}

fn payload(index: u64, bytes: usize) -> Bytes {
    let mut payload = index.to_string().into_bytes();
    payload.resize(bytes, b'.');
    payload.into()
}

/// Queues something and waits for its `done`.
fn outcome(queue: impl FnOnce(Box<dyn FnOnce(io::Result<()>) + Send>)) -> io::Result<()> {
    let (tell, told) = mpsc::channel();
    queue(Box::new(move |outcome| tell.send(outcome).expect("the test waits")));
    told.recv_timeout(DEADLINE).expect("`done` is called")
}

fn append(log: &Log, range: std::ops::Range<u64>, bytes: usize) {
    outcome(|done| log.append(entries(range, bytes), done)).expect("durable");
}

fn read_all(log: &Log) -> Vec<(LogIndex, Bytes)> {
    log.read(index(0), index(u64::MAX), None).expect("readable")
}

fn small() -> LogOptions {
    LogOptions { segment_bytes: 4096, cache_bytes: 1024, ..LogOptions::default() }
}

/// The segments in a directory, in order.
fn segments(dir: &TempDir) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

fn length(path: &PathBuf) -> u64 {
    fs::metadata(path).expect("a file").len()
}

/// A directory with several segments of entries 0 to 99, none purged.
fn hundred_entries() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), small()).expect("a new log");
    for i in 0..100 {
        append(&log, i..i + 1, 256);
    }
    dir
}

fn wait_until(mut condition: impl FnMut() -> bool) -> io::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::yield_now();
    }
    Ok(())
}

/// Lets fsyncs through by number.
struct Gate {
    permitted: AtomicU64,
    arrived: AtomicU64,
}

impl Gate {
    const fn open() -> Self {
        Self { permitted: AtomicU64::new(u64::MAX), arrived: AtomicU64::new(0) }
    }

    fn permit(&self, fsyncs: u64) {
        self.permitted.store(fsyncs, Ordering::SeqCst);
    }

    fn pass(&self) -> io::Result<()> {
        let number = self.arrived.fetch_add(1, Ordering::SeqCst) + 1;
        wait_until(|| self.permitted.load(Ordering::SeqCst) >= number)
    }

    fn wait_for_arrival(&self, number: u64) {
        wait_until(|| self.arrived.load(Ordering::SeqCst) >= number).expect("another fsync");
    }
}

#[test]
fn entries_are_readable_before_they_are_durable_and_done_comes_after() {
    static GATE: Gate = Gate::open();
    let options = LogOptions { sync: |_| GATE.pass(), ..small() };
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), options).expect("a new log");
    GATE.permit(0);
    let (tell, told) = mpsc::channel();
    log.append(entries(0..20, 256), move |_| tell.send(()).expect("the test waits"));
    GATE.wait_for_arrival(1);
    assert_eq!(read_all(&log), entries(0..20, 256));
    assert_eq!(log.metrics().cached_bytes, 20 * 256, "what is not durable stays in memory");
    assert!(told.try_recv().is_err(), "nothing is durable yet");
    GATE.permit(u64::MAX);
    told.recv_timeout(DEADLINE).expect("durable");
    assert_eq!(log.metrics().cached_bytes, 1024);
    assert_eq!(read_all(&log), entries(0..20, 256), "partly from disk");
}

#[test]
fn what_is_not_durable_stays_in_memory_while_what_is_leaves() {
    static GATE: Gate = Gate::open();
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), LogOptions { sync: |_| GATE.pass(), ..small() }).expect("a new log");
    GATE.permit(0);
    log.append(entries(0..20, 256), |_| {});
    GATE.wait_for_arrival(1);
    log.append(entries(20..40, 256), |_| {});
    GATE.permit(1);
    GATE.wait_for_arrival(2);
    assert_eq!(log.metrics().cached_bytes, 20 * 256);
    assert_eq!(read_all(&log), entries(0..40, 256));
    GATE.permit(u64::MAX);
}

#[test]
fn a_segment_is_synced_before_the_next_one_begins() {
    static GATE: Gate = Gate::open();
    let options = LogOptions { segment_bytes: 512 * 1024, sync: |_| GATE.pass(), ..small() };
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), options).expect("a new log");
    GATE.permit(0);
    let before = segments(&dir);
    // More than one write takes: the first has no sync of its own, and fills the segment.
    log.append(entries(0..2_048, 1_024), |_| {});
    GATE.wait_for_arrival(1);
    assert_eq!(segments(&dir), before);
    GATE.permit(u64::MAX);
}

#[test]
fn what_is_queued_during_an_fsync_shares_the_next_one() {
    static GATE: Gate = Gate::open();
    let options = LogOptions { sync: |_| GATE.pass(), ..LogOptions::default() };
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), options).expect("a new log");
    GATE.permit(0);
    let (tell, told) = mpsc::channel();
    for i in 0..100 {
        let tell = tell.clone();
        log.append(entries(i..i + 1, 256), move |_| tell.send(i).expect("the test waits"));
        if i == 0 {
            GATE.wait_for_arrival(1);
        }
    }
    log.save_vote(Bytes::from_static(b"vote"), move |_| tell.send(100).expect("the test waits"));
    GATE.permit(u64::MAX);
    assert_eq!(told.iter().collect::<Vec<_>>(), (0..=100).collect::<Vec<_>>(), "told in order");
    let metrics = log.metrics();
    assert_eq!((metrics.entries, metrics.fsyncs.count(), metrics.queued_records), (100, 2, 0));
}

#[test]
fn an_append_larger_than_a_write_costs_one_fsync() {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), LogOptions::default()).expect("a new log");
    append(&log, 0..100, 64 * 1024);
    assert_eq!(log.metrics().fsyncs.count(), 1);
}

#[test]
fn the_committed_id_alone_costs_no_fsync_and_comes_back() {
    static SYNCS: AtomicU64 = AtomicU64::new(0);
    let sync = |_: &File| {
        SYNCS.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), LogOptions { sync, ..small() }).expect("a new log");
    for id in ["1", "2", "3"] {
        log.save_committed(id.into());
    }
    drop(log);
    assert_eq!(SYNCS.load(Ordering::SeqCst), 0);
    let log = Log::open(dir.path(), small()).expect("reopens");
    assert_eq!(log.state().committed, Some("3".into()));
}

#[test]
fn after_a_failed_fsync_everyone_is_told_and_nothing_is_tried_again() {
    static GATE: Gate = Gate::open();
    let options = LogOptions {
        sync: |_| {
            GATE.pass()?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        },
        ..small()
    };
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), options).expect("a new log");
    let (tell, told) = mpsc::channel();
    GATE.permit(0);
    for i in 0..3 {
        let tell = tell.clone();
        log.append(entries(i..i + 1, 16), move |outcome| tell.send(outcome).expect("the test waits"));
        GATE.wait_for_arrival(1);
    }
    GATE.permit(u64::MAX);
    for _ in 0..3 {
        let error = told.recv_timeout(DEADLINE).expect("told").expect_err("not durable");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    assert!(log.failed().borrow().is_some());
    let later = outcome(|done| log.save_vote(Bytes::from_static(b"vote"), done));
    assert_eq!(later.expect_err("stopped").kind(), io::ErrorKind::StorageFull);
    drop(log);
    assert_eq!(GATE.arrived.load(Ordering::SeqCst), 1);
}

#[test]
fn a_done_that_panics_stops_the_log_and_everyone_is_told() {
    static GATE: Gate = Gate::open();
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), LogOptions { sync: |_| GATE.pass(), ..small() }).expect("a new log");
    GATE.permit(0);
    log.append(entries(0..1, 16), |_| {});
    GATE.wait_for_arrival(1);
    log.save_vote(Bytes::from_static(b"vote"), |_| panic!("a bug of the caller"));
    let together = outcome(|done| {
        log.save_vote(Bytes::from_static(b"vote"), done);
        GATE.permit(u64::MAX);
    });
    together.expect_err("stopped");
    assert!(log.failed().borrow().is_some());
    outcome(|done| log.save_vote(Bytes::from_static(b"vote"), done)).expect_err("stopped");
}

#[test]
fn what_would_leave_a_hole_is_refused_and_changes_nothing() {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), small()).expect("a new log");
    append(&log, 0..10, 16);
    outcome(|done| log.purge(index(4), Bytes::from_static(b"mark"), done)).expect("durable");
    let before = (log.state(), read_all(&log));

    let refused = |outcome: io::Result<()>| {
        assert_eq!(outcome.expect_err("refused").kind(), io::ErrorKind::InvalidInput);
        assert_eq!((log.state(), read_all(&log)), before);
    };
    refused(outcome(|done| log.append(entries(11..12, 16), done)));
    refused(outcome(|done| log.append(entries(9..11, 16), done)));
    refused(outcome(|done| log.append([entries(10..11, 16), entries(12..13, 16)].concat(), done)));
    refused(outcome(|done| log.truncate_from(index(4), done)));
    let giant = vec![0; Record::BODY_BYTES_MAX].into();
    refused(outcome(|done| log.append(vec![(index(10), giant)], done)));

    append(&log, 10..11, 16);
    assert_eq!(read_all(&log), entries(5..11, 16));
}

#[test]
fn a_read_stops_at_its_limit_but_never_before_the_first_entry() {
    let dir = hundred_entries();
    let log = Log::open(dir.path(), small()).expect("reopens");
    let check = |from, to, max_bytes, expected: std::ops::Range<u64>| {
        let found = log.read(index(from), index(to), max_bytes).expect("readable");
        assert_eq!(found, entries(expected, 256), "{from}..{to} within {max_bytes:?}");
    };
    check(3, 7, None, 3..7);
    check(3, 7, Some(0), 3..4);
    check(3, 7, Some(512), 3..5);
    check(94, 98, Some(4 * 256), 94..98);
    check(98, 200, None, 98..100);
    check(100, 200, None, 100..100);
    check(7, 3, None, 7..7);
}

#[test]
fn purged_segments_are_deleted_so_the_disk_stays_bounded() {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), small()).expect("a new log");
    for i in 0..500 {
        append(&log, i..i + 1, 256);
        if i % 10 == 9 {
            outcome(|done| log.purge(index(i - 5), Bytes::from_static(b"mark"), done)).expect("durable");
            // Deletion follows the `done` of the purge and precedes that of whatever comes next.
            outcome(|done| log.append(Vec::new(), done)).expect("durable");
            let on_disk: u64 = segments(&dir).iter().map(length).sum();
            assert!(log.metrics().disk_bytes <= on_disk);
            assert!(log.metrics().segments <= 3 && on_disk < 4 * 4096, "{on_disk} bytes");
        }
    }
    let disk_bytes = log.metrics().disk_bytes;
    drop(log);
    assert_eq!(segments(&dir).iter().map(length).sum::<u64>(), disk_bytes, "no room is left behind");
    let log = Log::open(dir.path(), small()).expect("reopens");
    assert_eq!(read_all(&log), entries(495..500, 256));
    assert_eq!(log.state().purged, Some((index(494), Bytes::from_static(b"mark"))));
}

#[test]
fn a_log_purged_beyond_its_end_continues_behind_the_purge() {
    let dir = hundred_entries();
    let log = Log::open(dir.path(), small()).expect("reopens");
    outcome(|done| log.purge(index(1000), Bytes::from_static(b"mark"), done)).expect("durable");
    assert_eq!((read_all(&log), log.state().last()), (Vec::new(), None));
    append(&log, 1001..1003, 16);
    drop(log);
    assert_eq!(segments(&dir).len(), 1, "the others were purged");
    let log = Log::open(dir.path(), small()).expect("reopens");
    assert_eq!(read_all(&log), entries(1001..1003, 16));
}

#[test]
fn a_truncation_that_deleted_segments_reach_over_is_recovered() {
    let dir = hundred_entries();
    let log = Log::open(dir.path(), small()).expect("reopens");
    outcome(|done| log.truncate_from(index(10), done)).expect("durable");
    append(&log, 10..12, 200);
    outcome(|done| log.purge(index(9), Bytes::from_static(b"mark"), done)).expect("durable");
    drop(log);
    assert!(segments(&dir).len() < 3, "what was taken back is deleted too");
    let log = Log::open(dir.path(), small()).expect("reopens");
    assert_eq!(read_all(&log), entries(10..12, 200));
}

#[test]
fn the_last_handle_may_go_away_within_a_done() {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), small()).expect("a new log");
    let last = log.clone();
    let (tell, told) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    log.append(entries(0..1, 16), move |_| {
        gone.recv_timeout(DEADLINE).expect("the test goes on");
        drop(last);
        tell.send(()).expect("the test waits");
    });
    drop(log);
    go.send(()).expect("`done` waits");
    told.recv_timeout(DEADLINE).expect("not stuck");
}

#[test]
fn an_entry_that_rots_on_disk_is_an_error_not_another_entry() {
    let dir = hundred_entries();
    let log = Log::open(dir.path(), small()).expect("reopens");
    let file = fs::OpenOptions::new().write(true).open(&segments(&dir)[0]).expect("a segment");
    file.write_all_at(b"x", 1000).expect("written");
    let error = log.read(index(0), index(10), None).expect_err("damaged");
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidData);
}

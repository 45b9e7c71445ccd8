//! The log at its boundary: what callers see, and which files open.
//!
//! Random histories, crashes and damage at every byte are in `tests/durability/`.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::end_mark::EndMark;
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
            let on_disk: u64 = segments(&dir).iter().map(|path| fs::metadata(path).expect("a file").len()).sum();
            assert_eq!(log.metrics().disk_bytes, on_disk);
            assert!(log.metrics().segments <= 3 && on_disk < 4 * 4096, "{on_disk} bytes");
        }
    }
    drop(log);
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

/// Checks what opening `dir` says, and that it has left the files as they were.
fn check_refusal(dir: &TempDir, expected: &str) {
    let contents = || segments(dir).iter().map(|path| fs::read(path).expect("a segment")).collect::<Vec<_>>();
    let before = contents();
    let error = Log::open(dir.path(), small()).expect_err("refused").to_string();
    let error = error.replace(&format!("{}/", dir.path().display()), "");
    assert!(error.starts_with(expected), "{error}");
    assert!(contents() == before, "nothing was changed");
}

fn patch(path: &PathBuf, offset: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("a segment");
    file.write_all_at(bytes, offset).expect("written");
}

#[test]
fn a_missing_segment_is_named() {
    let dir = hundred_entries();
    fs::remove_file(&segments(&dir)[2]).expect("deleted");
    check_refusal(&dir, "0000000000000003.seg is missing");

    let dir = hundred_entries();
    fs::remove_file(&segments(&dir)[0]).expect("deleted");
    check_refusal(&dir, "0000000000000001.seg is missing");
}

#[test]
fn a_segment_of_another_version_is_refused() {
    let dir = hundred_entries();
    patch(&segments(&dir)[1], 8, &[2]);
    check_refusal(&dir, "0000000000000002.seg has format version 2, this build reads version 1");
}

#[test]
fn a_file_that_is_no_segment_of_this_place_is_refused() {
    let dir = hundred_entries();
    patch(&segments(&dir)[1], 0, b"x");
    check_refusal(&dir, "0000000000000002.seg is damaged at byte 0: it does not begin with an intact header");

    let dir = hundred_entries();
    fs::copy(&segments(&dir)[0], &segments(&dir)[1]).expect("copied");
    check_refusal(&dir, "0000000000000002.seg is damaged at byte 0: it is another segment under this one's name");
}

#[test]
fn a_shortened_segment_is_refused_even_at_the_end_of_a_record() {
    let dir = hundred_entries();
    let path = &segments(&dir)[1];
    let record = Record::ENTRY_OVERHEAD_BYTES as u64 + 256;
    let length = fs::metadata(path).expect("a file").len() - record;
    fs::OpenOptions::new().write(true).open(path).expect("a segment").set_len(length).expect("cut");
    check_refusal(&dir, &format!("0000000000000002.seg is damaged at byte {length}: it has not the length"));
}

#[test]
fn a_segment_that_lost_a_part_of_its_beginning_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), LogOptions { segment_bytes: 1, ..small() }).expect("a new log");
    outcome(|done| log.save_vote(Bytes::from_static(b"vote"), done)).expect("durable");
    outcome(|done| log.purge(index(9), Bytes::from_static(b"mark"), done)).expect("durable");
    append(&log, 10..11, 256);
    drop(log);
    let path = &segments(&dir)[0];
    let whole = fs::read(path).expect("the only segment, as the others were purged");
    let entry = Record::ENTRY_OVERHEAD_BYTES + 256;
    for length in 0..whole.len() - entry {
        fs::write(path, &whole[..length]).expect("written");
        check_refusal(&dir, "0000000000000004.seg is damaged at byte ");
    }
}

#[test]
fn an_unfinished_segment_is_ignored() {
    let dir = hundred_entries();
    let next = segments(&dir).len() + 1;
    fs::write(dir.path().join(format!("{next:016}.new")), b"half of a hea").expect("written");
    let log = Log::open(dir.path(), small()).expect("reopens");
    for i in 100..150 {
        append(&log, i..i + 1, 256);
    }
    assert_eq!(read_all(&log), entries(0..150, 256));
}

/// A log of one segment whose last write held the entries 10 to 14, and the offset of entry 11. The mark of its end lags
/// behind that write, as a power cut may leave it.
fn one_group() -> (TempDir, u64) {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), LogOptions::default()).expect("a new log");
    append(&log, 0..10, 256);
    let offset = without_mark(&dir, || {
        append(&log, 10..15, 256);
        let record = Record::ENTRY_OVERHEAD_BYTES as u64 + 256;
        let end = log.metrics().disk_bytes;
        drop(log);
        end - 4 * record
    });
    (dir, offset)
}

/// Takes back what a write has noted in the mark of the log's end.
fn without_mark<T>(dir: &TempDir, write: impl FnOnce() -> T) -> T {
    let path = EndMark::path(dir.path());
    let mark = fs::read(&path).expect("there is one");
    let written = write();
    fs::write(path, mark).expect("written");
    written
}

#[test]
fn of_a_torn_write_all_behind_the_tear_is_cut_off_even_if_it_is_intact() {
    let (dir, tear) = one_group();
    patch(&segments(&dir)[0], tear, &[0; 256]);
    let log = Log::open(dir.path(), small()).expect("reopens");
    assert_eq!(read_all(&log), entries(0..11, 256));
    // As long as what was cut off: what stood behind that must not come back.
    append(&log, 11..12, 256);
    drop(log);
    let log = Log::open(dir.path(), small()).expect("reopens");
    assert_eq!(read_all(&log), entries(0..12, 256));
}

#[test]
fn zeros_behind_the_last_write_are_cut_off() {
    let (dir, _) = one_group();
    let path = &segments(&dir)[0];
    let length = fs::metadata(path).expect("a file").len();
    fs::OpenOptions::new().write(true).open(path).expect("a segment").set_len(length + 5000).expect("longer");
    let log = Log::open(dir.path(), small()).expect("reopens");
    assert_eq!((read_all(&log), log.metrics().disk_bytes), (entries(0..15, 256), length));
}

#[test]
fn the_same_tear_is_damage_once_a_later_write_proves_that_it_was_on_disk() {
    let (dir, tear) = one_group();
    let log = Log::open(dir.path(), LogOptions::default()).expect("reopens");
    append(&log, 15..16, 256);
    drop(log);
    patch(&segments(&dir)[0], tear, &[0; 256]);
    check_refusal(&dir, &format!("0000000000000001.seg is damaged at byte {tear}: no intact record begins here"));
}

#[test]
fn bytes_of_a_message_that_look_like_a_later_record_prove_nothing() {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), LogOptions::default()).expect("a new log");
    append(&log, 0..10, 256);
    let end = log.metrics().disk_bytes;
    // What a publisher could send who knows the format and the offset, but not the segment's salt.
    let mut forged = Vec::new();
    Record::Vote(Bytes::from_static(b"forged")).encode(0, end + 1, &mut forged);
    without_mark(&dir, || {
        outcome(|done| log.append(vec![(index(10), forged.into())], done)).expect("durable");
        drop(log);
    });
    patch(&segments(&dir)[0], end, &[0; 4]);
    let log = Log::open(dir.path(), LogOptions::default()).expect("a torn write, not damage");
    assert_eq!((read_all(&log), log.state().vote), (entries(0..10, 256), None));
}

#[test]
fn what_opening_found_is_synced_before_it_is_reported() {
    static SYNCS: AtomicU64 = AtomicU64::new(0);
    let dir = hundred_entries();
    let sync = |file: &File| {
        SYNCS.fetch_add(1, Ordering::SeqCst);
        file.sync_data()
    };
    let log = Log::open(dir.path(), LogOptions { sync, ..small() }).expect("reopens");
    assert_eq!(SYNCS.load(Ordering::SeqCst), 1);
    assert_eq!(read_all(&log), entries(0..100, 256));
}

#[test]
fn the_loss_of_the_newest_segment_is_noticed() {
    let dir = hundred_entries();
    let newest = segments(&dir).pop().expect("a segment");
    fs::remove_file(&newest).expect("removed");
    let error = Log::open(dir.path(), small()).expect_err("a segment is missing");
    assert!(matches!(&error, LogError::Missing { file } if *file == newest), "{error}");
}

#[test]
fn a_tear_is_damage_where_the_mark_says_that_it_was_on_disk() {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), LogOptions::default()).expect("a new log");
    append(&log, 0..10, 256);
    drop(log);
    let path = &segments(&dir)[0];
    let whole = fs::read(path).expect("a segment");
    for length in [whole.len() / 2, whole.len() - 1] {
        fs::write(path, &whole[..length]).expect("written");
        check_refusal(&dir, "0000000000000001.seg is damaged at byte ");
    }
    patch(path, whole.len() as u64 - 1, &[0]);
    check_refusal(&dir, "0000000000000001.seg is damaged at byte ");
    fs::write(path, whole).expect("written");
    assert_eq!(read_all(&Log::open(dir.path(), small()).expect("reopens")), entries(0..10, 256));
}

#[test]
fn the_loss_of_the_mark_is_noticed() {
    let dir = hundred_entries();
    let mark = EndMark::path(dir.path());
    fs::remove_file(&mark).expect("removed");
    let error = Log::open(dir.path(), small()).expect_err("the mark is missing");
    assert!(matches!(&error, LogError::Missing { file } if *file == mark), "{error}");
    // But it is not there yet when a crash meets a log that has just been made.
    let dir = TempDir::new().expect("a directory");
    drop(Log::open(dir.path(), small()).expect("a new log"));
    fs::remove_file(EndMark::path(dir.path())).expect("removed");
    append(&Log::open(dir.path(), small()).expect("reopens"), 0..1, 256);
}

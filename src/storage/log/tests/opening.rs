//! Which files open, and as what.

use super::super::end_mark::EndMark;
use super::*;

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
fn writes_go_to_where_the_file_has_been_written_to_already() {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), LogOptions::default()).expect("a new log");
    let path = &segments(&dir)[0];
    append(&log, 0..1, 256);
    let with_room = length(path);
    for i in 1..10 {
        append(&log, i..i + 1, 256);
        assert_eq!(length(path), with_room, "syncing it would sync its length, too");
    }
    append(&log, 10..1_500, 256);
    assert_eq!(length(path), log.metrics().disk_bytes, "for a large write none is worth while");
    append(&log, 1_500..1_501, 256);
    assert!(length(path) > log.metrics().disk_bytes);
    drop(log);
    let log = Log::open(dir.path(), LogOptions::default()).expect("reopens");
    assert_eq!((read_all(&log), length(path)), (entries(0..1_501, 256), log.metrics().disk_bytes));
}

#[test]
fn room_that_a_crash_leaves_is_no_damage_and_neither_is_a_torn_write_in_it() {
    let crashed = |torn: &[u8]| {
        let (live, dir) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
        let log = Log::open(live.path(), LogOptions::default()).expect("a new log");
        append(&log, 0..10, 256);
        for file in fs::read_dir(live.path()).expect("a directory").map(|entry| entry.expect("an entry")) {
            fs::copy(file.path(), dir.path().join(file.file_name())).expect("copied");
        }
        let (path, end) = (&segments(&dir)[0], log.metrics().disk_bytes);
        assert!(length(path) > end);
        patch(path, end + 300, torn);
        let log = Log::open(dir.path(), small()).expect("reopens");
        assert_eq!((read_all(&log), length(path)), (entries(0..10, 256), end));
        append(&log, 10..12, 256);
        drop(log);
        assert_eq!(read_all(&Log::open(dir.path(), small()).expect("reopens")), entries(0..12, 256));
    };
    crashed(b"");
    crashed(b"a part of the next write");
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

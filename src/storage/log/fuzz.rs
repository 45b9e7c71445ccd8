//! Segments as a disk may give them back.

use std::fs;
use std::sync::mpsc;

use super::record::Frame;
use super::*;
use crate::fuzz::{Target, in_memory};

/// A directory with a log of a few records of each kind, and the only segment of it.
fn log() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = in_memory();
    let log = Log::open(dir.path(), LogOptions::default()).expect("a log");
    let (done, is_done) = mpsc::channel();
    let tell = || {
        let done = done.clone();
        move |outcome: io::Result<()>| done.send(outcome.is_ok()).expect("the test waits")
    };
    let entry = |index: u64| (LogIndex::new(index), Bytes::from(format!("entry {index}")));
    log.append((1..9).map(entry).collect(), tell());
    log.save_vote(Bytes::from_static(b"a vote"), tell());
    log.truncate_from(LogIndex::new(8), tell());
    log.purge(LogIndex::new(2), Bytes::from_static(b"a mark"), tell());
    log.append(vec![entry(8)], tell());
    assert!((0..5).all(|_| is_done.recv().expect("it is told")));
    drop(log);
    let segment = segment::path(dir.path(), 1);
    (dir, segment)
}

#[test]
fn fuzz_segments() {
    let (dir, segment) = log();
    let end_mark = fs::read(end_mark::EndMark::path(dir.path())).expect("an end mark");
    let corpus = vec![fs::read(&segment).expect("a segment")];
    let options = LogOptions { cache_bytes: 4_096, ..LogOptions::default() };
    Target { cost: 20, allocated_max: (1 << 20, 64), ..Target::new("segments of the log", corpus) }.run(|input| {
        fs::write(&segment, input).expect("written");
        fs::write(end_mark::EndMark::path(dir.path()), &end_mark).expect("written");
        let _ = recovery::recover(dir.path(), &options);
    });
}

#[test]
fn fuzz_records() {
    let (_dir, segment) = log();
    let bytes = fs::read(&segment).expect("a segment");
    let corpus = (0..bytes.len()).step_by(7).filter_map(|at| Some(bytes.get(at..)?.to_vec())).collect();
    Target::new("records of the log", corpus).run(|input| {
        // With a checksum that fits, or nothing behind it would ever be read.
        let mut record = input.to_vec();
        if let Some((crc, [length @ .., _, _, _, _, _, _, _, _, _])) = record.split_first_chunk_mut::<4>()
            && let Some(length) = length.first_chunk::<4>()
        {
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let end = length.saturating_add(record::FRAME_BYTES);
            if let Some(covered) = input.get(4..end) {
                *crc = crc32c::crc32c(covered).to_le_bytes();
            }
        }
        let _ = Frame::find(&record, 0).and_then(|frame| frame.read());
        let _ = Frame::find(input, 0);
    });
}

//! Files lose their end, or a bit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use fastrand::Rng;
use repl::storage::{Log, LogOptions};
use tempfile::TempDir;

use super::history::{Model, Step};
use crate::directory_in_memory;

/// A log whose steps became durable one by one.
struct Recorded {
    /// Holds every segment there ever was: a crash may come before a deletion.
    dir: TempDir,
    /// What the log held after each record.
    states: Vec<Model>,
    /// When the newest segment had this length, the state of this number was acknowledged. Begins with its beginning.
    acknowledged: Vec<(usize, usize)>,
}

/// Segments this small make histories of some kilobytes roll, and each byte of them can be tried.
fn options() -> LogOptions {
    LogOptions { segment_bytes: 3_000, cache_bytes: 0, sync: |_| Ok(()) }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

fn newest(dir: &Path) -> PathBuf {
    segments(dir).pop().expect("a log has a segment")
}

/// Where the newest segment ends, by the mark of it. Behind that there is room.
fn marked_end(dir: &Path) -> usize {
    let mark = fs::read_to_string(dir.join("end")).expect("a mark");
    let newest = mark.lines().max().expect("it has two lines");
    let bytes = newest.split(' ').nth(1).expect("a number of bytes");
    usize::from_str_radix(bytes, 16).expect("hexadecimal")
}

impl Recorded {
    fn new(seed: u64) -> Self {
        let dir = directory_in_memory();
        let live = dir.path().join("live");
        let log = Log::open(&live, options()).expect("a new log");
        let mut recorded = Self { dir, states: vec![Model::default()], acknowledged: Vec::new() };
        let mut rng = Rng::with_seed(seed);
        while recorded.states.len() < 50 {
            let acknowledged = recorded.states.len() - 1;
            recorded.step(&log, &mut rng);
            let newest = newest(&live);
            let segment = recorded.dir.path().join(newest.file_name().expect("a file"));
            if !segment.exists() {
                fs::hard_link(newest, &segment).expect("linked");
                // As a power cut may leave the mark of the log's end: not written since.
                fs::copy(live.join("end"), recorded.dir.path().join("end")).expect("copied");
                recorded.acknowledged = vec![(0, acknowledged)];
            }
            recorded.acknowledged.push((marked_end(&live), recorded.states.len() - 1));
        }
        drop(log);
        recorded
    }

    /// Does a step that can be waited for, and those before it that can't.
    fn step(&mut self, log: &Log, rng: &mut Rng) {
        loop {
            let mut model = self.states.last().expect("one to begin with").clone();
            let step = model.random_step(rng);
            for part in step.clone().parts() {
                model.apply(&part);
                self.states.push(model.clone());
            }
            let waits = !matches!(step, Step::Committed(_));
            let (tell, told) = mpsc::channel();
            step.queue(log, move |outcome| tell.send(outcome.is_ok()).expect("the test waits"));
            if waits {
                assert!(told.recv().expect("told"));
                return;
            }
        }
    }

    /// Opens the log with other content in one segment, and puts the old content back.
    fn open_with(&self, path: &Path, content: &[u8]) -> Result<Model, String> {
        let mark = self.dir.path().join("end");
        let originals = [path, &mark].map(|file| (file, fs::read(file).expect("a file")));
        fs::write(path, content).expect("written");
        let outcome =
            Log::open(self.dir.path(), options()).map(|log| Model::of(&log)).map_err(|error| error.to_string());
        for (file, original) in originals {
            fs::write(file, original).expect("written");
        }
        outcome
    }

    /// As a kill leaves the mark of the log's end: written after the last fsync.
    fn with_mark(self) -> Self {
        fs::copy(self.dir.path().join("live/end"), self.dir.path().join("end")).expect("copied");
        self
    }

    /// What was acknowledged last when the newest segment had `length` bytes.
    fn acknowledged_at(&self, length: usize) -> (usize, usize) {
        *self.acknowledged.iter().rev().find(|(end, _)| *end <= length).expect("begins at 0")
    }
}

#[test]
fn every_prefix_of_the_newest_segment_holds_what_was_acknowledged_when_it_was_that_long() {
    for seed in 0..4 {
        let recorded = Recorded::new(seed);
        let path = newest(recorded.dir.path());
        let whole = fs::read(&path).expect("a segment");
        for length in 0..=whole.len() {
            let (end, state) = recorded.acknowledged_at(length);
            for room in [0, 100] {
                let content = [&whole[..length], &vec![0; room]].concat();
                match recorded.open_with(&path, &content) {
                    Ok(found) => {
                        assert!(
                            recorded.states[state..].contains(&found),
                            "seed {seed}, {length} bytes and room for {room}: not what was written"
                        );
                    }
                    // A segment is never seen without its beginning, so that a part of it is damage.
                    Err(error) => assert_eq!(end, 0, "seed {seed}, {length} bytes and room for {room}: {error}"),
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_reported_or_was_in_the_last_write() {
    for seed in 0..2 {
        let recorded = Recorded::new(seed);
        let mut rng = Rng::with_seed(seed);
        let newest = newest(recorded.dir.path());
        // Nothing tells damage to the last write from a write that was torn.
        let whole = fs::read(&newest).expect("a segment").len();
        let (last_write, state) = recorded.acknowledged_at(whole - 1);
        for path in segments(recorded.dir.path()) {
            let whole = fs::read(&path).expect("a segment");
            for place in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[place] ^= 1 << rng.u32(..8);
                let Ok(found) = recorded.open_with(&path, &flipped) else { continue };
                assert!(path == newest, "seed {seed}: byte {place} of {} went unnoticed", path.display());
                assert!(place >= last_write, "seed {seed}: byte {place} of the newest segment went unnoticed");
                assert!(recorded.states[state..].contains(&found), "seed {seed}, byte {place}: not what was written");
            }
        }
    }
}

#[test]
fn with_a_mark_of_its_end_no_part_of_a_log_goes_missing_unnoticed() {
    for seed in 0..2 {
        let recorded = Recorded::new(seed).with_mark();
        let path = newest(recorded.dir.path());
        let whole = fs::read(&path).expect("a segment");
        let (end, _) = *recorded.acknowledged.last().expect("begins at 0");
        for length in 0..end {
            let outcome = recorded.open_with(&path, &whole[..length]);
            assert!(outcome.is_err(), "seed {seed}: {length} of {end} bytes went unnoticed");
        }
        let mut rng = Rng::with_seed(seed);
        for place in 0..end {
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << rng.u32(..8);
            assert!(recorded.open_with(&path, &flipped).is_err(), "seed {seed}: byte {place} went unnoticed");
        }
    }
}

//! Where the log was known to be on disk last, in a file of its own.
//!
//! ```text
//! segment number │ its length │ crc32c        (hexadecimal, one line)
//! ```
//!
//! A segment can't tell that its own end is gone, nor that it is not the newest; this file can. It is written after each
//! fsync of the log, and synced itself only for a new segment: so it never runs ahead of the log, lags behind it after a
//! power cut by some seconds, and after the death of a process by one write at the most.
//!
//! There are two lines, written in turn and in place: whatever a crash does to one of them, the other is whole, and a full
//! disk has room for them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::LogError;
use crate::storage::durable::write_atomically;

/// Of one line.
const LINE_BYTES: usize = 16 + 1 + 16 + 1 + 8 + 1;

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The number of a segment.
    pub(super) segment: u64,
    /// How much of it.
    pub(super) bytes: u64,
}

impl Place {
    fn line(self) -> String {
        let place = format!("{:016x} {:016x}", self.segment, self.bytes);
        let crc = crc32c::crc32c(place.as_bytes());
        format!("{place} {crc:08x}\n")
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = str::from_utf8(line).ok()?.split(' ').map(|field| u64::from_str_radix(field, 16));
        let place = Self { segment: fields.next()?.ok()?, bytes: fields.next()?.ok()? };
        (place.line().as_bytes() == line).then_some(place)
    }
}

/// The file, open.
#[derive(Debug)]
pub(super) struct EndMark {
    file: File,
    path: PathBuf,
    /// The number of the line that is overwritten next: 0 or 1.
    next: usize,
}

impl EndMark {
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join("end")
    }

    /// Opens the file, and tells what it says; `None` if there is none.
    pub(super) fn open(dir: &Path) -> Result<Option<(Self, Place)>, LogError> {
        let path = Self::path(dir);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::io("open", &path)(error)),
        };
        let bytes = fs::read(&path).map_err(LogError::io("read", &path))?;
        let lines = bytes.chunks(LINE_BYTES).take(2).enumerate();
        let places = lines.filter_map(|(number, line)| Some((Place::parse(line)?, number)));
        let Some((place, number)) = places.max() else {
            return Err(LogError::Damaged { file: path, offset: 0, what: "no line of it names a place in the log" });
        };
        Ok(Some((Self { file, path, next: 1 - number }, place)))
    }

    /// Makes the file, durably.
    pub(super) fn create(dir: &Path, place: Place) -> Result<Self, LogError> {
        let path = Self::path(dir);
        let write = |out: &mut File| -> io::Result<()> { write!(out, "{0}{0}", place.line()) };
        write_atomically(&path, write).map_err(LogError::io("write", &path))?;
        let file = OpenOptions::new().write(true).open(&path).map_err(LogError::io("open", &path))?;
        Ok(Self { file, path, next: 0 })
    }

    /// Notes that the log is on disk up to here.
    pub(super) fn note(&mut self, place: Place) -> Result<(), LogError> {
        let at = self.next * LINE_BYTES;
        self.file.write_all_at(place.line().as_bytes(), at as u64).map_err(LogError::io("write", &self.path))?;
        self.next = 1 - self.next;
        Ok(())
    }

    /// The same, durably.
    pub(super) fn note_durably(&mut self, place: Place) -> Result<(), LogError> {
        self.note(place)?;
        self.file.sync_data().map_err(LogError::io("sync", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u64, bytes: u64) -> Place {
        Place { segment, bytes }
    }

    fn noted(dir: &Path) -> Option<Place> {
        EndMark::open(dir).expect("one line is whole").map(|(_, place)| place)
    }

    #[test]
    fn the_last_place_counts_and_the_one_before_if_that_is_damaged() {
        let dir = tempfile::tempdir().expect("a directory");
        let (dir, path) = (dir.path(), EndMark::path(dir.path()));
        assert_eq!(noted(dir), None);
        drop(EndMark::create(dir, place(1, 64)).expect("created"));
        for next in [place(1, 100), place(1, 200), place(2, 64), place(2, 300)] {
            let (mut mark, before) = EndMark::open(dir).expect("readable").expect("there");
            mark.note(next).expect("noted");
            assert_eq!(noted(dir), Some(next));
            let whole = fs::read(&path).expect("a file");
            for at in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[at] ^= 1;
                fs::write(&path, flipped).expect("written");
                let found = noted(dir);
                assert!(found == Some(before) || found == Some(next), "byte {at}: {found:?}");
            }
            fs::write(&path, whole).expect("written");
        }
        for damaged in ["", "7\n", "no line\nat all\n"] {
            fs::write(&path, damaged).expect("written");
            let error = EndMark::open(dir).expect_err("damaged").to_string();
            assert!(error.contains("end is damaged"), "{error}");
        }
    }
}

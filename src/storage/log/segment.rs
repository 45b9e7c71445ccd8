//! Segment files.
//!
//! ```text
//! magic │ version u32 │ number u64 │ previous u64 │ first u64 │ next u64 │ body u64 │ salt u32 │ crc32c u32
//! records that restate purge mark, vote and committed log id
//! body: the records since
//! ```
//!
//! Segments are numbered without gaps. Each begins with all that recovery needs of those before it, so that they can
//! be deleted. A segment gets its name only once this beginning is on disk: whatever bears the name and doesn't begin
//! like this is damaged.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::LogError;
use super::image::LogState;
use super::record::{Frame, Record};
use crate::domain::LogIndex;

/// Of the segments that this build writes, and the only one it reads.
pub(super) const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"repl-log";
const SUFFIX: &str = ".seg";
/// Of a segment that is being made. Left behind by a crash, it means nothing.
const UNFINISHED_EXTENSION: &str = "new";

/// Where the record of an entry stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location {
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// Of the whole record.
    pub(super) bytes: usize,
}

/// One open file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) salt: u32,
}

/// The fixed beginning of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    /// The length of the segment before it, 0 if it is the first. A shorter one has lost something.
    pub(super) previous_bytes: u64,
    /// [`LogState::first`] and [`LogState::next`] where this segment begins.
    pub(super) first: LogIndex,
    pub(super) next: LogIndex,
    /// Where the body begins. What stands before was on disk before the segment had its name.
    pub(super) body: u64,
    pub(super) salt: u32,
}

impl Header {
    pub(super) const BYTES: usize = 8 + 4 + 5 * 8 + 4 + 4;

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        for field in [self.number, self.previous_bytes, self.first.get(), self.next.get(), self.body] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// The version is looked at first: another one may lay out the rest in its own way.
    fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let mut rest = bytes;
        if take(&mut rest)? != MAGIC {
            return Err(BadHeader::Damaged);
        }
        let version = u32::from_le_bytes(take(&mut rest)?);
        if version != FORMAT_VERSION {
            return Err(BadHeader::Version(version));
        }
        let header = Self {
            number: u64::from_le_bytes(take(&mut rest)?),
            previous_bytes: u64::from_le_bytes(take(&mut rest)?),
            first: LogIndex::new(u64::from_le_bytes(take(&mut rest)?)),
            next: LogIndex::new(u64::from_le_bytes(take(&mut rest)?)),
            body: u64::from_le_bytes(take(&mut rest)?),
            salt: u32::from_le_bytes(take(&mut rest)?),
        };
        let covered = bytes.get(..Self::BYTES - 4).ok_or(BadHeader::Damaged)?;
        let crc = u32::from_le_bytes(take(&mut rest)?);
        if crc32c::crc32c(covered) == crc { Ok(header) } else { Err(BadHeader::Damaged) }
    }
}

enum BadHeader {
    Damaged,
    Version(u32),
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], BadHeader> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(BadHeader::Damaged)?;
    *bytes = rest;
    Ok(*taken)
}

impl Segment {
    /// Makes a segment that begins in `state`, durably, and says where its body begins. Nothing is to be acknowledged from
    /// it before the [`EndMark`](super::end_mark::EndMark) names it.
    pub(super) fn create(
        dir: &Path,
        number: u64,
        previous_bytes: u64,
        state: &LogState,
    ) -> Result<(Self, u64), LogError> {
        let salt = fastrand::u32(..);
        let mut restated = Vec::new();
        for record in state.restate() {
            record.encode(salt, 0, &mut restated);
        }
        let body = (Header::BYTES + restated.len()) as u64;
        let header = Header { number, previous_bytes, first: state.first, next: state.next, body, salt };

        let path = path(dir, number);
        let unfinished = path.with_extension(UNFINISHED_EXTENSION);
        // One that a crash left behind is overwritten.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unfinished)
            .map_err(LogError::io("create", &unfinished))?;
        file.write_all_at(&[header.encode(), restated].concat(), 0).map_err(LogError::io("write", &unfinished))?;
        file.sync_all().map_err(LogError::io("sync", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(LogError::io("name", &path))?;
        sync_dir(dir)?;
        Ok((Self { number, path, file, salt }, body))
    }

    /// Opens a segment and reads all of it.
    pub(super) fn load(dir: &Path, number: u64) -> Result<(Self, Header, Vec<u8>), LogError> {
        let path = path(dir, number);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(LogError::io("open", &path))?;
        let bytes = fs::read(&path).map_err(LogError::io("read", &path))?;
        let header = match Header::decode(&bytes) {
            Ok(header) if header.number == number => header,
            Ok(_) => return Err(damaged(&path, 0, "it is another segment under this one's name")),
            Err(BadHeader::Damaged) => return Err(damaged(&path, 0, "it does not begin with an intact header")),
            Err(BadHeader::Version(found)) => return Err(LogError::Version { file: path, found }),
        };
        Ok((Self { number, path, file, salt: header.salt }, header, bytes))
    }

    /// Reads the payload of the entry `index`, whose record is at `location`.
    pub(super) fn read(&self, index: LogIndex, location: Location) -> Result<Bytes, LogError> {
        let mut bytes = vec![0; location.bytes];
        self.file.read_exact_at(&mut bytes, location.offset).map_err(LogError::io("read", &self.path))?;
        match Frame::find(&bytes, self.salt).and_then(|frame| frame.read()) {
            Some(Record::Entry { index: found, payload }) if found == index => Ok(payload),
            _ => Err(self.damaged(location.offset, "not the entry that was written here")),
        }
    }

    pub(super) fn damaged(&self, offset: u64, what: &'static str) -> LogError {
        damaged(&self.path, offset, what)
    }
}

fn damaged(path: &Path, offset: u64, what: &'static str) -> LogError {
    LogError::Damaged { file: path.to_path_buf(), offset, what }
}

/// The file of a segment.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}{SUFFIX}"))
}

/// The numbers of the segments in a directory, in order. Files with other names are none of ours.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, LogError> {
    let listed = |error| LogError::io("list", dir)(error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(listed)? {
        let name = entry.map_err(listed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
        numbers.extend(number.filter(|number| path(dir, *number).file_name() == Some(&name)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Deletes a segment. The deletion is on disk before the next one begins, so that no crash leaves a gap.
pub(super) fn delete(dir: &Path, number: u64) -> Result<(), LogError> {
    let path = path(dir, number);
    fs::remove_file(&path).map_err(LogError::io("delete", &path))?;
    sync_dir(dir)
}

/// Makes durable which names a directory holds. `fdatasync` would not do: it may leave a directory's changes out.
pub(super) fn sync_dir(dir: &Path) -> Result<(), LogError> {
    let sync = || -> io::Result<()> { File::open(dir)?.sync_all() };
    sync().map_err(LogError::io("sync", dir))
}

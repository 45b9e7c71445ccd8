//! Opening a log: what do the segments amount to, and are they whole?

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use super::LogOptions;
use super::end_mark::{EndMark, Place};
use super::error::LogError;
use super::image::{Image, LogState};
use super::record::Frame;
use super::segment::{self, Header, Location, Segment};
use super::tail::Tail;

/// A log as it was found.
pub(super) struct Recovered {
    pub(super) tail: Tail,
    pub(super) written: Image<Location>,
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
    /// Their length.
    pub(super) disk_bytes: u64,
    /// The length of the last of them, all of it on disk.
    pub(super) end: u64,
    /// The number of the first of them.
    begins_at: u64,
}

/// Reads the log in `dir`, or begins one there. Everything that is reported as found is durable afterwards.
pub(super) fn recover(dir: &Path, options: &LogOptions) -> Result<(Recovered, EndMark), LogError> {
    fs::create_dir_all(dir).map_err(LogError::io("create", dir))?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        segment::sync_dir(parent)?;
    }
    let numbers = segment::list(dir)?;
    let mark = EndMark::open(dir)?;
    let noted = mark.as_ref().map(|(_, noted)| *noted);
    let found = match (numbers.last(), noted) {
        (Some(&last), _) => read(dir, options, &numbers, last, noted)?,
        (None, None) => begin(dir)?,
        (None, Some(noted)) => return Err(LogError::Missing { file: segment::path(dir, noted.segment) }),
    };
    let segment = *found.segments.keys().next_back().expect("a log has a segment");
    let end = Place { segment, bytes: found.end };
    let mark = match mark {
        Some((mut mark, _)) => {
            mark.note(end)?;
            mark
        }
        None => EndMark::create(dir, end)?,
    };
    Ok((found, mark))
}

/// The first segment of a new log.
fn begin(dir: &Path) -> Result<Recovered, LogError> {
    let state = LogState::default();
    let (segment, end) = Segment::create(dir, 1, 0, &state)?;
    Ok(Recovered {
        tail: Tail::new(state.clone()),
        written: Image::new(state),
        segments: BTreeMap::from([(1, Arc::new(segment))]),
        disk_bytes: end,
        end,
        begins_at: 1,
    })
}

/// Reads the segments of these numbers. `noted` is how far they were known to be on disk.
fn read(
    dir: &Path,
    options: &LogOptions,
    numbers: &[u64],
    last: u64,
    noted: Option<Place>,
) -> Result<Recovered, LogError> {
    if let Some(noted) = noted.filter(|noted| noted.segment > last) {
        return Err(LogError::Missing { file: segment::path(dir, noted.segment) });
    }
    let mut log: Option<Recovered> = None;
    for &number in numbers {
        let (segment, header, bytes) = Segment::load(dir, number)?;
        let mut so_far = match log.take() {
            None => Recovered::from_header(&header),
            Some(so_far) => so_far.followed_by(dir, &segment, &header)?,
        };
        let scan = so_far.replay(&segment, &header, &bytes, options.cache_bytes)?;
        let acceptable = scan.is_whole(&bytes) || (number == last && scan.is_torn(&segment, &bytes));
        if !acceptable {
            return Err(segment.damaged(scan.end as u64, "no intact record begins here"));
        }
        if number == last {
            match noted {
                Some(noted) if noted > (Place { segment: number, bytes: scan.end as u64 }) => {
                    return Err(segment.damaged(scan.end as u64, "what had been on disk behind this is not intact"));
                }
                // A crash left the first segment without it, before anything was written.
                None if number > 1 || bytes.len() > scan.body => {
                    return Err(LogError::Missing { file: EndMark::path(dir) });
                }
                Some(_) | None => {}
            }
            so_far.refuse_missing_entries(dir)?;
            segment::sync_dir(dir)?;
            secure(&segment, &bytes, &scan, options)?;
        }
        so_far.end = scan.end as u64;
        so_far.disk_bytes += so_far.end;
        so_far.segments.insert(number, Arc::new(segment));
        log = Some(so_far);
    }
    Ok(log.expect("there is at least one segment"))
}

/// How far the records of a segment are intact.
struct Scan {
    /// Where the last intact record ends.
    end: usize,
    /// Up to where the segment is known to have been on disk.
    confirmed: usize,
    /// Where its body begins.
    body: usize,
}

impl Scan {
    fn is_whole(&self, bytes: &[u8]) -> bool {
        self.end == bytes.len() && self.end >= self.body
    }

    /// Whether what follows the last intact record may be what a crash left of a write that was never acknowledged: no
    /// record behind it tells that it had been on disk. Within one write the disk may keep any part and lose any
    /// other, so intact records may well follow; they were not acknowledged either.
    fn is_torn(&self, segment: &Segment, bytes: &[u8]) -> bool {
        let proof = self.end as u64 + 1;
        let rest = bytes.get(self.end..).unwrap_or_default();
        self.end >= self.body
            && !(0..rest.len()).any(|start| {
                let candidate = rest.get(start..).unwrap_or_default();
                Frame::find_confirming(candidate, segment.salt, proof)
                    // Nothing can confirm itself.
                    .is_some_and(|frame| frame.confirmed <= (self.end + start) as u64)
            })
    }
}

impl Recovered {
    fn from_header(header: &Header) -> Self {
        let state = LogState { first: header.first, next: header.next, ..LogState::default() };
        Self {
            tail: Tail::new(state.clone()),
            written: Image::new(state),
            segments: BTreeMap::new(),
            disk_bytes: 0,
            end: 0,
            begins_at: header.number,
        }
    }

    /// Checks that `next` is the continuation of the segments read so far.
    fn followed_by(self, dir: &Path, next: &Segment, header: &Header) -> Result<Self, LogError> {
        let (number, last) = self.segments.last_key_value().expect("a segment was read");
        if next.number != number + 1 {
            return Err(LogError::Missing { file: segment::path(dir, number + 1) });
        }
        if header.previous_bytes != self.end {
            return Err(last.damaged(self.end, "it has not the length that the next segment names"));
        }
        Ok(self)
    }

    /// Takes in the intact records of a segment.
    fn replay(&mut self, segment: &Segment, header: &Header, bytes: &[u8], cache_bytes: u64) -> Result<Scan, LogError> {
        let body = usize::try_from(header.body).map_err(|_| segment.damaged(0, "a body beyond its end"))?;
        let mut scan = Scan { end: Header::BYTES, confirmed: body, body };
        while let Some(frame) = bytes.get(scan.end..).and_then(|rest| Frame::find(rest, segment.salt)) {
            let offset = scan.end as u64;
            let record = frame.read().ok_or_else(|| segment.damaged(offset, "a record of no known form"))?;
            if let Some(what) = self.written.state.refusal(&record) {
                return Err(segment.damaged(offset, what));
            }
            let location = Location { segment: segment.number, offset, bytes: frame.bytes };
            self.written.apply(&record, |_| location);
            self.tail.remember(&record, 0);
            self.tail.evict(0, cache_bytes);
            scan.end += frame.bytes;
            scan.confirmed = scan.confirmed.max(usize::try_from(frame.confirmed).unwrap_or(scan.end));
        }
        Ok(scan)
    }

    /// Entries are purged before their segments are deleted, so what is not purged must be there.
    fn refuse_missing_entries(&self, dir: &Path) -> Result<(), LogError> {
        if self.written.known_from() <= self.written.state.first {
            return Ok(());
        }
        Err(LogError::Missing { file: segment::path(dir, self.begins_at.saturating_sub(1)) })
    }
}

/// Cuts off a torn write, and room that a crash has left, and makes durable what will be reported as found. The last write may never have reached the
/// disk, even though it can be read: after a kill it may still wait in the page cache, and after a failed fsync the
/// kernel may hold its pages for clean. So it is written once more before it is synced.
fn secure(segment: &Segment, bytes: &[u8], scan: &Scan, options: &LogOptions) -> Result<(), LogError> {
    let behind = bytes.get(scan.end..).unwrap_or_default();
    if !behind.is_empty() {
        if let Some(last) = behind.iter().rposition(|byte| *byte != 0) {
            warn!(
                "cut off {} bytes of a write that was never acknowledged, at byte {} of {}",
                last + 1,
                scan.end,
                segment.path.display()
            );
        }
        segment.file.set_len(scan.end as u64).map_err(LogError::io("cut", &segment.path))?;
    }
    let unconfirmed = bytes.get(scan.confirmed..scan.end).unwrap_or_default();
    segment.file.write_all_at(unconfirmed, scan.confirmed as u64).map_err(LogError::io("write", &segment.path))?;
    (options.sync)(&segment.file).map_err(LogError::io("sync", &segment.path))
}

//! The thread that writes.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::LogOptions;
use super::end_mark::{EndMark, Place};
use super::error::LogError;
use super::record::Record;
use super::segment::{self, Location, Segment};
use super::shared::{Batch, Done, Shared, Written};

/// Owns the end of the newest segment.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) dir: PathBuf,
    pub(super) options: LogOptions,
    pub(super) segment: Arc<Segment>,
    /// Where the records of the segment end.
    pub(super) end: u64,
    /// How much of it is on disk.
    pub(super) confirmed: u64,
    /// The length of its file: what lies behind the end is room, and zeros.
    pub(super) room: u64,
    /// Says so to whoever opens the log next.
    pub(super) mark: EndMark,
    /// Kept between writes.
    pub(super) buffer: Vec<u8>,
    /// Those who wait for the write under way.
    pub(super) waiting: VecDeque<Done>,
}

/// What room is made of. It is small, for who waits for the sync that takes it to the disk waits for all of it.
static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

/// A larger write is not worth room for the next one: that would be written twice, too.
const ROOM_FOR_BYTES_MAX: usize = ZEROS.len() / 4;

impl Writer {
    /// Of one write, unless a single record is longer. Disks reach their throughput below it (measured: 256 KiB), and
    /// who waits for the first record of a write waits for all of it.
    const BATCH_BYTES_MAX: usize = 1024 * 1024;

    /// Runs until the log is closed or fails. What was queued meanwhile leaves together, so the slower the disk, the
    /// larger the groups: no timer is needed.
    pub(super) fn run(mut self) {
        while let Some(Batch { records, waiting }) = self.shared.next_batch(Self::BATCH_BYTES_MAX) {
            self.waiting = waiting;
            let outcome = self.write_when_there_is_room(&records).and_then(|()| {
                while let Some(done) = self.waiting.pop_front() {
                    done(Ok(()));
                }
                self.delete_purged()
            });
            if let Err(error) = outcome {
                return self.fail(error.into());
            }
        }
        if let Err(error) = self.give_room_back() {
            self.fail(error.into());
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.shared.fail(error, std::mem::take(&mut self.waiting));
    }

    /// A full disk is like one that is slow: nobody is told that it is done, and the same bytes go to the same place later.
    fn write_when_there_is_room(&mut self, records: &[Record]) -> Result<(), LogError> {
        loop {
            let written = self.write(records);
            let lacks_room = written.as_ref().err().filter(|error| error.is_lack_of_room());
            if !self.shared.waits_for_room(lacks_room) {
                return written;
            }
        }
    }

    fn write(&mut self, records: &[Record]) -> Result<(), LogError> {
        if self.end >= self.options.segment_bytes {
            self.roll()?;
        }
        self.buffer.clear();
        let mut locations = Vec::with_capacity(records.len());
        for record in records {
            let start = self.buffer.len();
            record.encode(self.segment.salt, self.confirmed, &mut self.buffer);
            locations.push(Location {
                segment: self.segment.number,
                offset: self.end + start as u64,
                bytes: self.buffer.len() - start,
            });
        }
        self.segment.file.write_all_at(&self.buffer, self.end).map_err(LogError::io("write", &self.segment.path))?;
        self.end += self.buffer.len() as u64;
        self.make_room();
        self.buffer.shrink_to(Self::BATCH_BYTES_MAX);
        let fsync = if self.waiting.is_empty() { None } else { self.sync()? };
        self.shared.note(&Written { records, locations: &locations, fsync });
        Ok(())
    }

    /// Sees to it that the next writes go where the file has been written to already. They leave its length and its blocks as
    /// they are, so that a sync has nothing but the records to write (measured on ext4: 130 µs for one of 6 kB instead of
    /// 250, with three fifths of the CPU time). Zeros are no record: opening the log takes them for its end.
    fn make_room(&mut self) {
        if self.end <= self.room {
            return;
        }
        self.room = self.end;
        let wanted = self.options.segment_bytes.saturating_sub(self.end);
        let zeros = ZEROS.get(..usize::try_from(wanted).unwrap_or(usize::MAX)).unwrap_or(&ZEROS);
        if zeros.is_empty() || self.buffer.len() > ROOM_FOR_BYTES_MAX {
            return;
        }
        self.room += zeros.len() as u64;
        // If there is less room than wanted, the next writes go without; whatever else is wrong, they will tell.
        let _ = self.segment.file.write_all_at(zeros, self.end);
    }

    /// The segment ends with its last record, durably.
    fn give_room_back(&mut self) -> Result<(), LogError> {
        if self.room > self.end {
            self.segment.file.set_len(self.end).map_err(LogError::io("cut", &self.segment.path))?;
            self.room = self.end;
            self.segment.file.sync_all().map_err(LogError::io("sync", &self.segment.path))?;
        }
        Ok(())
    }

    /// How long it took; None if there was nothing to sync. Never tried again after an error.
    fn sync(&mut self) -> Result<Option<Duration>, LogError> {
        if self.confirmed == self.end {
            return Ok(None);
        }
        let start = Instant::now();
        (self.options.sync)(&self.segment.file).map_err(LogError::io("sync", &self.segment.path))?;
        self.confirmed = self.end;
        let took = start.elapsed();
        match self.mark.note(Place { segment: self.segment.number, bytes: self.end }) {
            // An old mark is true all the same, and what is on disk now must not be written again.
            Err(error) if !error.is_lack_of_room() => Err(error),
            Ok(()) | Err(_) => Ok(Some(took)),
        }
    }

    /// Continues in a new segment. The old one is on disk before, so that only the newest can have a torn end.
    fn roll(&mut self) -> Result<(), LogError> {
        if let Some(took) = self.sync()? {
            self.shared.note(&Written { records: &[], locations: &[], fsync: Some(took) });
        }
        self.give_room_back()?;
        let state = self.shared.written_state();
        let (segment, body) = Segment::create(&self.dir, self.segment.number + 1, self.end, &state)?;
        self.mark.note_durably(Place { segment: segment.number, bytes: body })?;
        self.segment = Arc::new(segment);
        self.end = body;
        self.confirmed = body;
        self.room = body;
        self.shared.add_segment(Arc::clone(&self.segment), body);
        Ok(())
    }

    /// Deletes the segments that hold purged entries only, once the mark that says so is on disk.
    fn delete_purged(&mut self) -> Result<(), LogError> {
        while self.confirmed == self.end
            && let Some(segment) = self.shared.purged_segment()
        {
            let bytes = segment.file.metadata().map_err(LogError::io("inspect", &segment.path))?.len();
            segment::delete(&self.dir, segment.number)?;
            self.shared.remove_segment(segment.number, bytes);
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fail(io::Error::other("the log's writer panicked"));
        }
    }
}

/// Syncs the data of a file and what is needed to read it back, such as its length.
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

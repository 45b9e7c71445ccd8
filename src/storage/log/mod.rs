//! The fsynced log: entries, vote and committed log id of a node, in one ordered stream of records.
//!
//! Callers queue records and read entries; one thread writes. Everything queued while a write is under way leaves in
//! the next one, with one `fdatasync`, and then everyone who waits for a part of it is told: group commit without a
//! timer. Entries can be read as soon as they are queued.
//!
//! ```text
//! append, save_vote, …  ──►  Tail (newest entries, in memory)
//!                              │ queue
//!                              ▼
//!                            Writer  ──►  Segment 7 │ 8 │ 9      one write, one fdatasync, then all `done`s
//! ```
//!
//! What it is *not*: it doesn't know what an entry or a vote says, doesn't decide what may be purged, and doesn't lock
//! its directory; its opener sees to it that there is only one.
//!
//! Invariants:
//!
//! - What is told as done is on disk, and so is everything queued before it. Votes and entries never change places.
//! - Entries are consecutive. There is no hole, in memory or on disk.
//! - Behind the end of the newest segment there may be zeros, as [room](Writer) for what comes next, and nothing else.
//! - A segment is complete on disk before the next one begins, and is deleted, oldest first, only after the purge mark
//!   that covers it is on disk.
//! - After an error of a write or an fsync nothing more is written; all who wait and all who come later are told. Only a
//!   write for which there is no room is tried again, until there is: to those who wait the disk is slow.
//! - Opening repairs one thing: a last write that was torn and that nobody was told about is cut off. Anything else
//!   that isn't as it was written refuses to open, and names file and offset. Nothing is skipped.
//!
//! What tells a torn write from damage is the next record, and a [mark](end_mark) of how far the log was on disk. After
//! a power cut that mark may be some seconds old: then damage within the last write before the cut can't be told from a
//! torn one, and is cut off although it may have been acknowledged.
//!
//! Bounds: a write takes about 1 MiB ([`Writer`]), the cache [`LogOptions::cache_bytes`] and what isn't durable yet.
//! The queue has none of its own: consensus has a bounded number of appends under way.

mod end_mark;
mod error;
#[cfg(test)]
mod fuzz;
mod image;
mod metrics;
mod record;
mod recovery;
mod segment;
mod shared;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use tokio::sync::watch;

pub use error::{LogError, LogFailure};
pub use image::LogState;
pub use metrics::LogMetrics;

use crate::domain::LogIndex;
use record::Record;
use shared::Shared;
use writer::Writer;

/// How a log uses disk and memory.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// A segment that is this long is followed by a new one. A write may carry it about 1 MiB further, or one record.
    pub segment_bytes: u64,
    /// Payloads of the newest entries that are kept in memory; what isn't durable yet is kept in any case.
    pub cache_bytes: u64,
    /// Makes a segment's content durable. Only tests have a reason to replace it: they prove with it that they would
    /// notice a missing fsync, and that its failure is noticed.
    #[doc(hidden)]
    pub sync: fn(&File) -> io::Result<()>,
}

impl Default for LogOptions {
    /// 32 MiB each. Recovery holds one segment in memory at a time.
    fn default() -> Self {
        Self { segment_bytes: 32 * 1024 * 1024, cache_bytes: 32 * 1024 * 1024, sync: writer::sync_data }
    }
}

/// A handle to an open log. Cheap to clone; dropping the last one waits until what is queued has been written.
///
/// Every `done` is called once, on any thread, and in order with the others of its log: with `Ok` when what it was
/// queued with, and all before that, is durable; with an error when the log has [failed](Self::failed), or at once
/// when what it was queued with can't be taken and has had no effect. It must not block: the log waits for it.
#[derive(Clone)]
pub struct Log {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl Log {
    /// Opens the log in a directory, or begins one there. All that it [holds](Self::state) is durable.
    ///
    /// # Errors
    /// The file system refuses, or the log is not as it was written.
    pub fn open(dir: &Path, options: LogOptions) -> Result<Self, LogError> {
        let (found, mark) = recovery::recover(dir, &options)?;
        let end = found.end;
        let segment = found.segments.values().next_back().map(Arc::clone).expect("a log has a segment");
        let shared = Arc::new(Shared::new(found, options.cache_bytes));
        let writer = Writer {
            shared: Arc::clone(&shared),
            dir: dir.to_path_buf(),
            options,
            segment,
            end,
            confirmed: end,
            room: end,
            mark,
            buffer: Vec::new(),
            waiting: VecDeque::new(),
        };
        let writer = thread::Builder::new().name("repl-log".into()).spawn(move || writer.run());
        let writer = Some(writer.map_err(LogError::io("start the writer of", dir))?);
        Ok(Self { handle: Arc::new(Handle { shared, writer }) })
    }

    /// Appends entries, which can be read when this returns. Their indexes are consecutive and follow the last one; an
    /// empty log that was never purged may begin at any.
    pub fn append(&self, entries: Vec<(LogIndex, Bytes)>, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        let records = entries.into_iter().map(|(index, payload)| Record::Entry { index, payload }).collect();
        self.handle.shared.enqueue(records, Some(Box::new(done)));
    }

    /// Replaces the vote.
    pub fn save_vote(&self, vote: Bytes, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        self.handle.shared.enqueue(vec![Record::Vote(vote)], Some(Box::new(done)));
    }

    /// Replaces the committed log id. It is written with whatever is queued next, or when the log closes: it may be lost,
    /// but never comes back newer than the entries it speaks of.
    pub fn save_committed(&self, committed: Bytes) {
        self.handle.shared.enqueue(vec![Record::Committed(committed)], None);
    }

    /// Takes back the entries from an index on. Purged entries can't be taken back.
    pub fn truncate_from(&self, from: LogIndex, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        self.handle.shared.enqueue(vec![Record::Truncate { from }], Some(Box::new(done)));
    }

    /// Gives up the entries up to an index. `mark` describes the last of them and comes back in [`LogState::purged`].
    /// Segments that hold nothing else are deleted soon after. If the index lies beyond the last entry, the log
    /// continues behind it; if it was purged before, nothing changes.
    pub fn purge(&self, upto: LogIndex, mark: Bytes, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        self.handle.shared.enqueue(vec![Record::Purge { upto, mark }], Some(Box::new(done)));
    }

    /// Reads those entries of a range that exist: from memory if they are among the newest, else from disk, which
    /// blocks. At most `max_bytes` of payload, but at least one entry.
    ///
    /// # Errors
    /// The disk doesn't give back what was written to it.
    pub fn read(
        &self,
        from: LogIndex,
        to_exclusive: LogIndex,
        max_bytes: Option<u64>,
    ) -> Result<Vec<(LogIndex, Bytes)>, LogError> {
        self.handle.shared.read(from, to_exclusive, max_bytes)
    }

    /// As [`Self::read`], but only from memory, so that it doesn't block. `None` if an entry of them is not there.
    #[must_use]
    pub fn read_cached(
        &self,
        from: LogIndex,
        to_exclusive: LogIndex,
        max_bytes: Option<u64>,
    ) -> Option<Vec<(LogIndex, Bytes)>> {
        self.handle.shared.read_cached(from, to_exclusive, max_bytes)
    }

    /// Where the log stands, with everything queued.
    #[must_use]
    pub fn state(&self) -> LogState {
        self.handle.shared.log_state()
    }

    /// The newest entry that stands in none of the newest `segments` segments: what can be purged if about so many
    /// times [`LogOptions::segment_bytes`] are to be kept.
    #[must_use]
    pub fn last_before(&self, segments: u64) -> Option<LogIndex> {
        self.handle.shared.last_before(segments)
    }

    /// Becomes `Some` when a write or an fsync has failed. The node must stop then.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<LogFailure>> {
        self.handle.shared.failed()
    }

    /// Is `Some` while the disk has no room for what is to be written, and says what could not be. The log tries until there
    /// is; what waits is not durable, and not lost.
    #[must_use]
    pub fn full(&self) -> watch::Receiver<Option<String>> {
        self.handle.shared.full()
    }

    /// Waits for room no longer: if there is none, the log [fails](Self::failed).
    pub fn give_up(&self) {
        self.handle.shared.give_up();
    }

    /// What has been counted.
    #[must_use]
    pub fn metrics(&self) -> LogMetrics {
        self.handle.shared.metrics()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
        // A `done` may hold the last handle; then this is the writer's own thread, which ends by itself.
        if let Some(writer) = self.writer.take().filter(|writer| writer.thread().id() != thread::current().id()) {
            // Its panic has been reported by `failed`.
            let _ = writer.join();
        }
    }
}

//! openraft's log traits over [`storage::Log`](crate::storage::Log): log ids to indexes, entries to bytes.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::oneshot;

use super::types::{LogId, RaftEntry, TypeConfig, Vote};
use super::{codec, entry};
use crate::domain::LogIndex;
use crate::storage::Log;

/// In bytes. What one append request or one step of applying reads at the most; a single larger entry still goes alone.
const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The log as openraft sees it. Every clone is a handle to the same log.
#[derive(Clone, Debug)]
pub(super) struct LogStorage {
    log: Log,
}

impl LogStorage {
    pub(super) fn new(log: Log) -> Self {
        Self { log }
    }

    /// As [`Self::read`], but fails if the first entry isn't there any more. openraft doesn't look: sent or applied in
    /// the place of another one, an entry would end up under a wrong index.
    async fn read_from(&self, from: u64, to_exclusive: u64, max_bytes: Option<u64>) -> io::Result<Vec<RaftEntry>> {
        let entries = self.read(from, to_exclusive, max_bytes).await?;
        if entries.first().is_some_and(|first| first.log_id.index != from) {
            return Err(io::Error::other(format!("entry {from} has been purged while it was needed")));
        }
        Ok(entries)
    }

    async fn read(&self, from: u64, to_exclusive: u64, max_bytes: Option<u64>) -> io::Result<Vec<RaftEntry>> {
        let (from, to_exclusive) = (LogIndex::new(from), LogIndex::new(to_exclusive));
        let records = match self.log.read_cached(from, to_exclusive, max_bytes) {
            Some(records) => records,
            // One read for each entry: 4 MiB of small ones take a disk, and a processor, tens of milliseconds.
            None => {
                let log = self.log.clone();
                let read = tokio::task::spawn_blocking(move || log.read(from, to_exclusive, max_bytes));
                read.await.map_err(io::Error::other)?.map_err(io::Error::other)?
            }
        };
        records.iter().map(|(index, bytes)| entry::decode(index.get(), bytes)).collect()
    }
}

/// Queues a change of the log and waits until it is on disk.
async fn flushed(queue: impl FnOnce(Box<dyn FnOnce(io::Result<()>) + Send>)) -> io::Result<()> {
    let (done, wait) = oneshot::channel();
    queue(Box::new(move |result| {
        let _ = done.send(result);
    }));
    wait.await.unwrap_or_else(|_| Err(io::Error::other("the log has stopped")))
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(from) => from + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(to) => to + 1,
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStorage {
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<RaftEntry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let storage = self.clone();
        // Piece by piece: a node that has been down has gigabytes to apply.
        let pieces = stream::unfold(from, move |from| {
            let storage = storage.clone();
            async move {
                if from >= to {
                    return None;
                }
                match storage.read_from(from, to, Some(READ_BYTES_MAX)).await {
                    Ok(entries) if entries.is_empty() => None,
                    Ok(entries) => {
                        let next = from + u64::try_from(entries.len()).expect("fewer entries than indexes");
                        Some((stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()), next))
                    }
                    Err(error) => Some((stream::iter(vec![Err(error)]), to)),
                }
            }
        });
        Box::pin(pieces.flatten())
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        let (from, to) = bounds(&range);
        self.read(from, to, None).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        self.read_from(start, end, Some(READ_BYTES_MAX)).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.log.state().vote.map(|bytes| codec::decode(&bytes).map_err(io::Error::other)).transpose()
    }
}

impl RaftLogStorage<TypeConfig> for LogStorage {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.log.state();
        let last_purged_log_id = state
            .purged
            .as_ref()
            .map(|(_, mark)| codec::decode::<LogId>(mark).map_err(io::Error::other))
            .transpose()?;
        let last_log_id = match state.last() {
            Some(last) => self.read(last.get(), last.get() + 1, None).await?.first().map(|entry| entry.log_id),
            None => None,
        };
        Ok(LogState { last_purged_log_id, last_log_id: last_log_id.or(last_purged_log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = codec::encode(vote);
        flushed(|done| self.log.save_vote(vote, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.log.save_committed(codec::encode(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.log.state().committed.map(|bytes| codec::decode(&bytes).map_err(io::Error::other)).transpose()
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records: Vec<(LogIndex, Bytes)> =
            entries.into_iter().map(|entry| (LogIndex::new(entry.log_id.index), entry::encode(&entry))).collect();
        self.log.append(records, move |result| callback.io_completed(result));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = LogIndex::new(last.map_or(0, |last| last.index + 1));
        flushed(|done| self.log.truncate_from(from, done)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mark = codec::encode(&upto);
        flushed(|done| self.log.purge(LogIndex::new(upto.index), mark, done)).await
    }
}

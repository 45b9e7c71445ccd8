//! What callers and the writer share.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tracing::error;

use super::error::{LogError, LogFailure};
use super::image::{Image, LogState};
use super::metrics::LogMetrics;
use super::record::Record;
use super::recovery::Recovered;
use super::segment::{Location, Segment};
use super::tail::Tail;
use crate::domain::LogIndex;

/// Told once whether what was queued before it is durable.
pub(super) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The meeting place of callers and writer. Its lock is held for memory only, never for I/O or a callback.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Something was queued, or the last handle is gone.
    wake: Condvar,
    failed: watch::Sender<Option<LogFailure>>,
    full: watch::Sender<Option<String>>,
    cache_bytes: u64,
}

struct State {
    /// The log with everything queued.
    tail: Tail,
    /// The log with everything written.
    written: Image<Location>,
    segments: BTreeMap<u64, Arc<Segment>>,
    queue: VecDeque<Work>,
    /// How many in the queue are to be told.
    awaited: usize,
    /// Records ever queued. The number of a record in this count is its ticket.
    queued: u64,
    /// Records ever written.
    taken: u64,
    closing: bool,
    /// What can't be written for lack of room will not be.
    gives_up: bool,
    metrics: LogMetrics,
}

/// How often a full disk is tried again.
const ROOM_LOOK_EVERY: Duration = Duration::from_millis(250);

enum Work {
    Write(Record),
    Tell(Done),
}

/// What leaves in one write.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    /// To be told once the records are durable. Nobody to tell means that no fsync is needed yet.
    pub(super) waiting: VecDeque<Done>,
}

/// What came of a batch.
pub(super) struct Written<'a> {
    pub(super) records: &'a [Record],
    /// Where each record stands.
    pub(super) locations: &'a [Location],
    /// How long the fsync took, if there was one.
    pub(super) fsync: Option<Duration>,
}

/// Where to read an entry.
enum Source {
    Memory(Bytes),
    Disk(Arc<Segment>, Location),
}

impl Shared {
    pub(super) fn new(found: Recovered, cache_bytes: u64) -> Self {
        let metrics = LogMetrics { disk_bytes: found.disk_bytes, ..LogMetrics::default() };
        Self {
            state: Mutex::new(State {
                tail: found.tail,
                written: found.written,
                segments: found.segments,
                queue: VecDeque::new(),
                awaited: 0,
                queued: 0,
                taken: 0,
                closing: false,
                gives_up: false,
                metrics,
            }),
            wake: Condvar::new(),
            failed: watch::Sender::new(None),
            full: watch::Sender::new(None),
            cache_bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the log's lock")
    }

    /// Makes the records visible to readers and queues them for the writer. `done` is told in any case. Without one the
    /// writer is not woken: the records leave with the next that somebody waits for, or at the end.
    pub(super) fn enqueue(&self, records: Vec<Record>, done: Option<Done>) {
        let is_awaited = done.is_some();
        let refused = {
            let mut state = self.lock();
            let refused = self.failed.borrow().as_ref().map(LogFailure::to_io).or_else(|| state.refusal(&records));
            match refused {
                Some(error) => Some((error, done)),
                None => {
                    for record in records {
                        state.queued += 1;
                        let ticket = state.queued;
                        state.tail.remember(&record, ticket);
                        state.queue.push_back(Work::Write(record));
                    }
                    state.awaited += usize::from(is_awaited);
                    state.queue.extend(done.map(Work::Tell));
                    None
                }
            }
        };
        match refused {
            None if is_awaited => self.wake.notify_one(),
            None => {}
            Some((error, Some(done))) => done(Err(error)),
            Some((_, None)) => {}
        }
    }

    pub(super) fn log_state(&self) -> LogState {
        self.lock().tail.state.clone()
    }

    pub(super) fn failed(&self) -> watch::Receiver<Option<LogFailure>> {
        self.failed.subscribe()
    }

    pub(super) fn full(&self) -> watch::Receiver<Option<String>> {
        self.full.subscribe()
    }

    /// Takes note of whether there is room. If there isn't, waits until trying again makes sense, and answers `true`; but
    /// not once the log is about to end.
    pub(super) fn waits_for_room(&self, lack: Option<&LogError>) -> bool {
        let known = self.full.borrow().is_some();
        match lack {
            None if known => drop(self.full.send_replace(None)),
            Some(error) if !known => drop(self.full.send_replace(Some(error.to_string()))),
            None | Some(_) => {}
        }
        let ends = |state: &State| state.closing || state.gives_up;
        lack.is_some() && {
            let still_waits = |state: &mut State| !ends(state);
            let waited = self.wake.wait_timeout_while(self.lock(), ROOM_LOOK_EVERY, still_waits);
            let (state, _) = waited.expect("nothing panics while it holds the log's lock");
            !ends(&state)
        }
    }

    /// From now on a full disk is an error like any other.
    pub(super) fn give_up(&self) {
        self.lock().gives_up = true;
        self.wake.notify_one();
    }

    pub(super) fn metrics(&self) -> LogMetrics {
        let state = self.lock();
        LogMetrics {
            segments: state.segments.len() as u64,
            cached_bytes: state.tail.cached_bytes(),
            queued_records: state.queued - state.taken,
            ..state.metrics.clone()
        }
    }

    /// The entries of a range that exist, read outside the lock.
    pub(super) fn read(
        &self,
        from: LogIndex,
        to_exclusive: LogIndex,
        max_bytes: Option<u64>,
    ) -> Result<Vec<(LogIndex, Bytes)>, LogError> {
        let plan = self.lock().plan(from, to_exclusive, max_bytes.unwrap_or(u64::MAX));
        plan.into_iter()
            .map(|(index, source)| match source {
                Source::Memory(payload) => Ok((index, payload)),
                Source::Disk(segment, location) => Ok((index, segment.read(index, location)?)),
            })
            .collect()
    }

    /// As [`Self::read`], if all of it is in memory.
    pub(super) fn read_cached(
        &self,
        from: LogIndex,
        to_exclusive: LogIndex,
        max_bytes: Option<u64>,
    ) -> Option<Vec<(LogIndex, Bytes)>> {
        let plan = self.lock().plan(from, to_exclusive, max_bytes.unwrap_or(u64::MAX));
        plan.into_iter()
            .map(|(index, source)| match source {
                Source::Memory(payload) => Some((index, payload)),
                Source::Disk(..) => None,
            })
            .collect()
    }

    /// The last handle is gone: the writer ends when the queue is empty.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    /// Waits for something to write that somebody waits for. None: there is nothing, and never will be.
    pub(super) fn next_batch(&self, bytes_max: usize) -> Option<Batch> {
        let waits = |state: &mut State| state.awaited == 0 && !state.closing;
        let mut state = self.wake.wait_while(self.lock(), waits).expect("nothing panics while it holds the log's lock");
        let mut batch = Batch::default();
        let mut bytes = 0;
        while let Some(work) = state.queue.pop_front() {
            match work {
                Work::Write(record) if bytes > 0 && bytes + record.encoded_bytes() > bytes_max => {
                    state.queue.push_front(Work::Write(record));
                    break;
                }
                Work::Write(record) => {
                    bytes += record.encoded_bytes();
                    batch.records.push(record);
                }
                Work::Tell(done) => {
                    state.awaited -= 1;
                    batch.waiting.push_back(done);
                }
            }
        }
        (!batch.records.is_empty() || !batch.waiting.is_empty()).then_some(batch)
    }

    /// Takes note of what was written.
    pub(super) fn note(&self, written: &Written<'_>) {
        let mut state = self.lock();
        let state = &mut *state;
        for (record, location) in written.records.iter().zip(written.locations) {
            state.written.apply(record, |_| *location);
            state.metrics.entries += u64::from(matches!(record, Record::Entry { .. }));
            state.metrics.bytes += location.bytes as u64;
            state.metrics.disk_bytes += location.bytes as u64;
        }
        state.taken += written.records.len() as u64;
        if let Some(took) = written.fsync {
            state.metrics.fsyncs.record(took);
            // An fsync covers all that was written before it.
            state.tail.evict(state.taken, self.cache_bytes);
        }
    }

    /// The state with everything written, in which a new segment begins.
    pub(super) fn written_state(&self) -> LogState {
        self.lock().written.state.clone()
    }

    pub(super) fn add_segment(&self, segment: Arc<Segment>, bytes: u64) {
        let mut state = self.lock();
        state.metrics.disk_bytes += bytes;
        state.segments.insert(segment.number, segment);
    }

    /// The oldest segment, if all of its entries are purged. The newest is kept in any case.
    pub(super) fn purged_segment(&self) -> Option<Arc<Segment>> {
        let state = self.lock();
        let (newest, _) = state.segments.last_key_value()?;
        // Later entries stand in later segments, even after a truncation.
        let needed = state.written.entries.front().map_or(newest, |oldest| &oldest.segment);
        let (oldest, segment) = state.segments.first_key_value()?;
        (oldest < needed).then(|| Arc::clone(segment))
    }

    /// The newest entry that stands in none of the newest `segments` segments.
    pub(super) fn last_before(&self, segments: u64) -> Option<LogIndex> {
        let state = self.lock();
        let (newest, _) = state.segments.last_key_value()?;
        let kept_from = (newest + 1).saturating_sub(segments);
        let older = state.written.entries.partition_point(|location| location.segment < kept_from);
        let older = u64::try_from(older).ok()?.checked_sub(1)?;
        Some(LogIndex::new(state.written.known_from().get() + older))
    }

    pub(super) fn remove_segment(&self, number: u64, bytes: u64) {
        let mut state = self.lock();
        state.segments.remove(&number);
        state.metrics.disk_bytes -= bytes;
    }

    /// From now on nothing is taken, and whoever waits is told.
    pub(super) fn fail(&self, error: io::Error, waiting: VecDeque<Done>) {
        error!(error = &error as &dyn std::error::Error, "the log stopped");
        let failure = LogFailure::new(error);
        let queue = {
            let mut state = self.lock();
            self.failed.send_replace(Some(failure.clone()));
            state.awaited = 0;
            std::mem::take(&mut state.queue)
        };
        let queued = queue.into_iter().filter_map(|work| match work {
            Work::Tell(done) => Some(done),
            Work::Write(_) => None,
        });
        for done in waiting.into_iter().chain(queued) {
            done(Err(failure.to_io()));
        }
    }
}

impl State {
    /// Why these records can't be taken.
    fn refusal(&self, records: &[Record]) -> Option<io::Error> {
        if records.iter().any(|record| record.body_bytes() > Record::BODY_BYTES_MAX) {
            return Some(io::Error::new(io::ErrorKind::InvalidInput, "longer than a record may be"));
        }
        let first = records.first().and_then(|first| self.tail.state.refusal(first));
        let hole = || {
            let holes = records.windows(2).any(|pair| match pair {
                [Record::Entry { index, .. }, Record::Entry { index: following, .. }] => *following != index.next(),
                _ => false,
            });
            holes.then_some("entries that do not follow one another")
        };
        first.or_else(hole).map(|what| io::Error::new(io::ErrorKind::InvalidInput, what))
    }

    fn plan(&self, from: LogIndex, to_exclusive: LogIndex, max_bytes: u64) -> Vec<(LogIndex, Source)> {
        let from = from.max(self.tail.state.first);
        let to_exclusive = to_exclusive.min(self.tail.state.next);
        let mut plan = Vec::new();
        let mut bytes: u64 = 0;
        for index in (from.get()..to_exclusive.get()).map(LogIndex::new) {
            let (source, payload_bytes) = self.source(index);
            bytes = bytes.saturating_add(payload_bytes as u64);
            if bytes > max_bytes && !plan.is_empty() {
                break;
            }
            plan.push((index, source));
        }
        plan
    }

    fn source(&self, index: LogIndex) -> (Source, usize) {
        if let Some(cached) = self.tail.get(index) {
            return (Source::Memory(cached.payload.clone()), cached.payload.len());
        }
        let location = *self.written.get(index).expect("an entry that left the tail was written");
        let segment = self.segments.get(&location.segment).expect("a segment with entries is not deleted");
        (Source::Disk(Arc::clone(segment), location), location.bytes - Record::ENTRY_OVERHEAD_BYTES)
    }
}

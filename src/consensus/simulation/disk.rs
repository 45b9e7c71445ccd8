//! A disk in memory, with a log on it: what is not flushed is gone when the power fails, but for what happened to be
//! written of the flush under way.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{Stream, stream};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::super::types::{LogId, RaftEntry, TypeConfig, Vote};

/// The longest flush, in microseconds.
const FLUSH_MICROS_MAX: u64 = 10_000;

/// Changes that a disk which lies keeps in its cache.
const LIES_MAX: usize = 200;

/// Outlives the processes that use it.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    rng: fastrand::Rng,
    /// Whether it says that it is done before it is.
    lies: bool,
    durable: Content,
    /// What is about to be durable.
    under_way: VecDeque<Change>,
    /// How often the power has failed. Who was there before can't write any more.
    boots: u64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    vote: Option<Vote>,
    entries: BTreeMap<u64, RaftEntry>,
}

#[derive(Clone, Debug)]
enum Change {
    Vote(Vote),
    Append(RaftEntry),
    TruncateFrom(u64),
}

/// What is to be flushed, and who is told.
type Work = (Vec<Change>, Box<dyn FnOnce() + Send>);

/// The log of one process.
#[derive(Clone, Debug)]
pub(super) struct Log {
    cached: Arc<Mutex<Content>>,
    writer: mpsc::UnboundedSender<Work>,
}

impl Content {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Vote(vote) => self.vote = Some(vote),
            Change::Append(entry) => drop(self.entries.insert(entry.log_id.index, entry)),
            Change::TruncateFrom(index) => drop(self.entries.split_off(&index)),
        }
    }
}

impl Disk {
    pub(super) fn new(seed: u64, lies: bool) -> Self {
        let (rng, durable) = (fastrand::Rng::with_seed(seed), Content::default());
        Self(Arc::new(Mutex::new(Platter { rng, lies, durable, under_way: VecDeque::new(), boots: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("nothing panics under this lock")
    }

    pub(super) fn cut_power(&self) {
        let platter = &mut *self.lock();
        platter.boots += 1;
        let written = platter.rng.usize(..=platter.under_way.len());
        let changes: Vec<Change> = platter.under_way.drain(..).take(written).collect();
        changes.into_iter().for_each(|change| platter.durable.apply(change));
    }

    /// The log as a process finds it that starts now.
    pub(super) fn open(&self) -> Log {
        let (writer, work) = mpsc::unbounded_channel();
        let (boot, cached) = {
            let platter = self.lock();
            (platter.boots, platter.durable.clone())
        };
        tokio::spawn(self.clone().write(boot, work));
        Log { cached: Arc::new(Mutex::new(cached)), writer }
    }

    /// As the product's writer: what is queued during a flush leaves in the next one.
    async fn write(self, boot: u64, mut work: mpsc::UnboundedReceiver<Work>) {
        let mut group = Vec::new();
        while work.recv_many(&mut group, usize::MAX).await > 0 {
            let (takes, lied) = {
                let platter = &mut *self.lock();
                if platter.boots != boot {
                    return;
                }
                platter.under_way.extend(group.iter().flat_map(|(changes, _)| changes.iter().cloned()));
                let takes = Duration::from_micros(platter.rng.u64(..FLUSH_MICROS_MAX));
                (takes, platter.lies && platter.under_way.len() < LIES_MAX)
            };
            if lied {
                group.drain(..).for_each(|(_, done)| done());
                continue;
            }
            sleep(takes).await;
            {
                let platter = &mut *self.lock();
                if platter.boots != boot {
                    return;
                }
                let changes: Vec<Change> = platter.under_way.drain(..).collect();
                changes.into_iter().for_each(|change| platter.durable.apply(change));
            }
            group.drain(..).for_each(|(_, done)| done());
        }
    }
}

impl Log {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.cached.lock().expect("nothing panics under this lock")
    }

    fn queue(&self, changes: Vec<Change>, done: impl FnOnce() + Send + 'static) {
        changes.iter().cloned().for_each(|change| self.content().apply(change));
        // Without power nobody is told.
        let _ = self.writer.send((changes, Box::new(done)));
    }

    async fn flushed(&self, change: Change) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        let tell = move || {
            let _ = done.send(());
        };
        self.queue(vec![change], tell);
        wait.await.map_err(io::Error::other)
    }

    fn range(&self, range: impl RangeBounds<u64>) -> Vec<RaftEntry> {
        self.content().entries.range(range).map(|(_, entry)| entry.clone()).collect()
    }
}

impl RaftLogReader<TypeConfig> for Log {
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<RaftEntry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        stream::iter(self.range(range).into_iter().map(Ok))
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        Ok(self.range(range))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.content().vote)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let last_log_id = self.content().entries.values().next_back().map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id: None, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.flushed(Change::Vote(*vote)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let changes = entries.into_iter().map(Change::Append).collect();
        self.queue(changes, move || callback.io_completed(Ok(())));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.flushed(Change::TruncateFrom(last.map_or(0, |last| last.index + 1))).await
    }

    async fn purge(&mut self, _upto: LogId) -> io::Result<()> {
        unreachable!("there are no checkpoints, so nothing is purged")
    }
}

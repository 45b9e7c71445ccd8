//! The clock of a broker.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Common;
use super::registry::Registry;
use super::topic_log::TopicLog;

/// What others leave to the pacer. The queue is bounded by what there is: a subscription stands in one list of wakers at
/// most, and a log asks once for each of its rounds.
#[derive(Debug)]
pub(super) enum Job {
    Wake(Vec<Waker>),
    /// The log has frames that wait for a round, or the rest after it, to end.
    Hold {
        log: Arc<TopicLog>,
        seals: u64,
        /// They wait no longer than this from the pacer's turn: when it comes late, so do the readers.
        within: Duration,
    },
    /// More is kept than the budget allows.
    Trim,
}

/// Cuts rounds that exceed their bound, wakes large audiences, and keeps memory within the budget. One task for each
/// broker.
pub struct Pacer {
    common: Arc<Common>,
    registry: Arc<Registry>,
    jobs: mpsc::UnboundedReceiver<Job>,
    /// By their due times, and numbered, for some are due together.
    held: BTreeMap<(Instant, u64), (Arc<TopicLog>, u64)>,
    number: u64,
}

impl Pacer {
    pub(super) fn new(common: Arc<Common>, registry: Arc<Registry>, jobs: mpsc::UnboundedReceiver<Job>) -> Self {
        Self { common, registry, jobs, held: BTreeMap::new(), number: 0 }
    }

    /// Runs until every handle to the broker is gone. Dropping it earlier loses nothing but the rounds' bound.
    pub async fn run(mut self) {
        loop {
            let due = self.held.first_key_value().map(|((due, _), _)| *due);
            tokio::select! {
                job = self.jobs.recv() => match job {
                    Some(job) => self.take(job),
                    None => return,
                },
                () = until(due) => self.cut_rounds(),
            }
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Wake(wakers) => wakers.into_iter().for_each(Waker::wake),
            Job::Hold { log, seals, within } => {
                let due = Instant::now() + within;
                self.number += 1;
                self.held.insert((due, self.number), (log, seals));
            }
            Job::Trim => self.trim(),
        }
    }

    fn cut_rounds(&mut self) {
        let now = Instant::now();
        let mut wake = Vec::new();
        while let Some(held) = self.held.first_entry().filter(|held| held.key().0 <= now) {
            let (log, seals) = held.remove();
            log.cut_round(seals, &mut wake);
        }
        wake.into_iter().for_each(Waker::wake);
        self.trim();
    }

    /// Sheds what the quietest logs keep: a subscriber that stalls there is worth the least. Down to three quarters, so
    /// that the walk over all logs is rare.
    fn trim(&self) {
        if !self.common.is_over_budget() {
            return;
        }
        let goal = self.common.options.budget_bytes_max / 4 * 3;
        let mut keeping: Vec<_> =
            self.registry.logs().into_iter().filter_map(|log| Some((log.sealed()?, log))).collect();
        keeping.sort_unstable_by_key(|(sealed, _)| *sealed);
        for (_, log) in keeping {
            if self.common.counters.kept_bytes() <= goal {
                break;
            }
            log.shed();
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Pacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pacer").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

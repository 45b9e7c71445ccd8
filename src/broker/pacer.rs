//! The clock of a broker.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

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
    /// The log has frames that wait for a round to end.
    Hold {
        log: Arc<TopicLog>,
        seals: u64,
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
    /// In order of their due times: the bound is the same for all.
    held: VecDeque<Held>,
}

struct Held {
    due: Instant,
    log: Arc<TopicLog>,
    seals: u64,
}

impl Pacer {
    pub(super) fn new(common: Arc<Common>, registry: Arc<Registry>, jobs: mpsc::UnboundedReceiver<Job>) -> Self {
        Self { common, registry, jobs, held: VecDeque::new() }
    }

    /// Runs until every handle to the broker is gone. Dropping it earlier loses nothing but the rounds' bound.
    pub async fn run(mut self) {
        loop {
            let due = self.held.front().map(|held| held.due);
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
            Job::Hold { log, seals } => {
                let due = Instant::now() + self.common.options.round_max;
                self.held.push_back(Held { due, log, seals });
            }
            Job::Trim => self.trim(),
        }
    }

    fn cut_rounds(&mut self) {
        let now = Instant::now();
        let mut wake = Vec::new();
        while self.held.front().is_some_and(|held| held.due <= now)
            && let Some(Held { log, seals, .. }) = self.held.pop_front()
        {
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

//! Connections that publish: each sends a request, waits for its answer, and sends the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::message::{Clock, Tag, Values};
use super::pace::{self, Pace};
use super::threads::Threads;
use crate::meter::histogram::Latencies;
use crate::progress::say;
use crate::wire::{Draft, Inlet, Outcome, Publisher};

/// Before a publisher whose request failed tries another.
const PAUSE: Duration = Duration::from_millis(20);

/// Failures in a row after which a publisher gives up, and the measurement with it.
const FAILURES_MAX: u32 = 100;

/// For the last answers after the load has ended.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// What to publish, and how.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) inlet: Inlet,
    pub(crate) publishers: usize,
    /// What they publish to, in turn.
    pub(crate) topics: usize,
    /// Messages of a request.
    pub(crate) batch: usize,
    /// What makes idempotency keys differ from those of other loads, if each message has one.
    pub(crate) keys: Option<String>,
    pub(crate) values: Values,
    pub(crate) clock: Clock,
    pub(crate) pace: Pace,
}

/// Publishers at work.
#[derive(Debug)]
pub(crate) struct Publishers {
    tasks: JoinSet<Result<Tally>>,
    shared: Arc<Shared>,
    stopping: Arc<AtomicBool>,
    /// Where they run, as long as this lives.
    _threads: Threads,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    acknowledged: AtomicU64,
    measuring: AtomicBool,
}

/// What became of the messages.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Answered as stored.
    pub(crate) acknowledged: u64,
    /// Not answered, or in a way that doesn't tell.
    pub(crate) unknown: u64,
    /// Answered as not stored.
    pub(crate) refused: u64,
    /// The number of the last message of each publisher that was answered as stored.
    pub(crate) last: Vec<u64>,
    /// From request to answer, of what was acknowledged while measuring. The request counts as sent when it should have
    /// been, at a given rate.
    pub(crate) latencies: Latencies,
}

impl Publishers {
    /// Starts them.
    ///
    /// # Errors
    /// There are no threads for them.
    pub(crate) fn start(load: Load) -> Result<Self> {
        let threads = Threads::start("publishers")?;
        let stopping = Arc::new(AtomicBool::new(false));
        let mut times = match load.pace {
            Pace::Rate(rate) => pace::start(rate, load.publishers, load.clock, Arc::clone(&stopping))?,
            Pace::Answers | Pace::Window(_) => Vec::new(),
        };
        let publishers = load.publishers;
        let shared = Shared { load, acknowledged: AtomicU64::new(0), measuring: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        for number in (0..publishers).rev() {
            let publishing = publish(number, times.pop(), Arc::clone(&shared), Arc::clone(&stopping));
            tasks.spawn_on(publishing, threads.handle());
        }
        Ok(Self { tasks, shared, stopping, _threads: threads })
    }

    /// Messages acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Begins or ends to note latencies.
    pub(crate) fn measure(&self, measure: bool) {
        self.shared.measuring.store(measure, Ordering::Relaxed);
    }

    /// Lets requests under way come to an end, and no new ones begin.
    ///
    /// # Errors
    /// One of the publishers has given up.
    pub(crate) async fn stop(mut self) -> Result<Tally> {
        self.stopping.store(true, Ordering::Relaxed);
        if let Pace::Window(window) = &self.shared.load.pace {
            window.close();
        }
        let mut sum = Tally::new(self.shared.load.publishers);
        let all = async {
            while let Some(tally) = self.tasks.join_next().await {
                sum.add(&tally.context("a publisher panicked")??);
            }
            anyhow::Ok(())
        };
        timeout(STOP_TIMEOUT, all).await.context("the last answers do not come")??;
        Ok(sum)
    }
}

impl Tally {
    fn new(publishers: usize) -> Self {
        Self { acknowledged: 0, unknown: 0, refused: 0, last: vec![0; publishers], latencies: Latencies::new() }
    }

    fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.last.iter_mut().zip(&other.last).for_each(|(last, other)| *last = (*last).max(*other));
        self.latencies.add(&other.latencies);
    }
}

async fn publish(
    number: usize,
    mut times: Option<UnboundedReceiver<u64>>,
    shared: Arc<Shared>,
    stopping: Arc<AtomicBool>,
) -> Result<Tally> {
    let Shared { load, .. } = &*shared;
    let mut tally = Tally::new(load.publishers);
    let (mut draft, mut connection) = (Draft::default(), None);
    let (mut sent, mut turn, mut failures) = (0, number, 0);
    let count = u64::try_from(load.batch)?;
    while !stopping.load(Ordering::Relaxed) {
        if let Pace::Window(window) = &load.pace
            && window.enter(load.batch).await.is_err()
        {
            break;
        }
        let due_us = match &mut times {
            Some(times) => times.recv().await,
            None => Some(load.clock.now_us()),
        };
        let Some(due_us) = due_us else { break };
        load.write(number, sent, due_us, &mut draft);
        draft.topic = turn % load.topics;
        turn += load.publishers;
        sent += count;
        let error = match request(load, number, &draft, &mut connection).await {
            Outcome::Acknowledged => {
                tally.acknowledged += count;
                if let Some(last) = tally.last.get_mut(number) {
                    *last = sent;
                }
                shared.acknowledged.fetch_add(count, Ordering::Relaxed);
                if shared.measuring.load(Ordering::Relaxed) {
                    tally.latencies.record(load.clock.now_us().saturating_sub(due_us));
                }
                failures = 0;
                continue;
            }
            Outcome::Refused(error) => {
                tally.refused += count;
                error
            }
            Outcome::Unknown(error) => {
                tally.unknown += count;
                error
            }
        };
        if let Pace::Window(window) = &load.pace {
            window.take_back(load.batch);
        }
        failures += 1;
        if failures == 1 {
            say(format_args!("publisher {number}: {error:#}"));
        }
        if failures == FAILURES_MAX {
            return Err(error.context(format!("publisher {number} gives up after {FAILURES_MAX} failures")));
        }
        sleep(PAUSE).await;
    }
    Ok(tally)
}

async fn request(load: &Load, number: usize, draft: &Draft, connection: &mut Option<Publisher>) -> Outcome {
    let open = match connection {
        Some(open) => open,
        None => match load.inlet.open(number).await {
            Ok(opened) => connection.insert(opened),
            Err(error) => return Outcome::Refused(error),
        },
    };
    let outcome = open.publish(draft).await;
    if matches!(outcome, Outcome::Unknown(_)) {
        *connection = None;
    }
    outcome
}

impl Load {
    /// Writes the messages that follow those which this publisher has sent.
    fn write(&self, publisher: usize, sent: u64, sent_us: u64, draft: &mut Draft) {
        draft.values.resize_with(self.batch, String::new);
        draft.keys.clear();
        for (number, value) in (sent + 1..).zip(&mut draft.values) {
            value.clear();
            self.values.write(Tag { publisher, number }, sent_us, value);
            draft.keys.extend(self.keys.as_ref().map(|keys| format!("{keys}-{publisher}-{number}")));
        }
    }
}

//! Fan-out: what was applied on this node, handed to everyone here who reads it.
//!
//! A write to a socket costs about 5 µs, one more message inside it 60 ns; so the number of writes decides everything, and
//! the number of subscribers should matter only through it. For each topic that somebody here reads, and each
//! [`frame::Format`] it is read in, there is one shared log. A message is encoded once, into that log's pending bytes;
//! sealing makes them one immutable batch, which every subscriber writes as it is. A subscription is a cursor into logs,
//! and the logs' readers set the pace: the next batch is sealed when all that took the last one are back.
//!
//! | file | noun |
//! |---|---|
//! | `frame` | the bytes of Server-Sent Events |
//! | `chunk` | frames as a connection writes them |
//! | `feed` | the one way in: groups of applied events |
//! | `registry` | the broker's own order, in ticks, and who joins and leaves at which of them |
//! | `readership` | which logs there are, because of whom |
//! | `topic_log` | one log: a `ring` of `batch`es, its `audience`, and when to seal |
//! | `subscription` | the way out: a cursor into one log, or a `merge` of several, told by an `inbox` |
//! | `pacer` | the clock: cuts rounds that take too long, keeps memory within its budget |
//!
//! The broker is *not* a history: it keeps what a reader may still be about to take, and no more. Whoever falls behind is
//! told so, reads from the store, and subscribes anew. It is not a queue per subscriber either: nothing that belongs to
//! one subscriber grows with what is published. It knows nothing of Raft, and never waits for a subscriber.
//!
//! Invariants:
//!
//! - A subscription gets each event of its topics after [`Subscription::from`] exactly once, in log order over all its
//!   topics, or [`Delivery::Behind`].
//! - A frame is appended before the next one of any log is. Whoever sees a frame finds every frame before it.
//! - Locks are taken in the order registry, log, inbox; each is private to its file and held for a few lines. Nothing is
//!   woken, encoded or awaited under one.

mod audience;
mod batch;
mod chunk;
mod feed;
pub mod frame;
mod inbox;
mod merge;
mod pacer;
mod readership;
mod registry;
mod ring;
mod stats;
mod subscription;
#[cfg(test)]
mod tests;
mod topic_log;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

pub use chunk::{Chunk, ChunkBuffer};
pub use feed::Feed;
pub use frame::Format;
pub use pacer::Pacer;
pub use stats::BrokerStats;
pub use subscription::{Delivery, Subscription};

use self::pacer::Job;
use self::registry::Registry;
use self::stats::Counters;
use crate::domain::{Epoch, Position, Selection, TopicName};
use crate::durations::Durations;

/// The bounds of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerOptions {
    /// How long a message waits for subscribers that have not come back from the last batch. Longer makes larger batches
    /// when thousands read one topic, and lets one stalled connection add more latency to the others, once.
    pub round_max: Duration,
    /// How many times as long as a round took nothing is sealed after it, unless that is longer than [`Self::round_max`].
    /// A write costs nearly the same for one frame as for a hundred, so with a hundred subscribers and thousands of messages
    /// a second it is worth while to wait for more of them.
    pub rest_per_round: u32,
    /// The size of a batch, in bytes, unless a single frame is larger. Beyond 64 KiB a write of more saves next to nothing.
    pub batch_bytes_max: usize,
    /// What a log keeps for subscribers that did not take part in its last round, in bytes; and what may wait for a round
    /// to end, whatever its time.
    pub ring_bytes_max: usize,
    /// What all logs together keep, in bytes. Thousands of topics with one stalled subscriber each stay within it.
    pub budget_bytes_max: usize,
}

impl Default for BrokerOptions {
    /// 8 ms, 3, 64 KiB, 256 KiB, 64 MiB.
    fn default() -> Self {
        Self {
            round_max: Duration::from_millis(8),
            rest_per_round: 3,
            batch_bytes_max: 64 * 1024,
            ring_bytes_max: 256 * 1024,
            budget_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// Lets subscribers in. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    hub: Arc<Hub>,
}

/// What a broker's handles share.
struct Hub {
    common: Arc<Common>,
    registry: Arc<Registry>,
    /// The only one that is not weak: with it the pacer ends.
    jobs: mpsc::UnboundedSender<Job>,
}

/// What logs share, too.
#[derive(Debug)]
struct Common {
    epoch: Epoch,
    options: BrokerOptions,
    counters: Counters,
    jobs: mpsc::WeakUnboundedSender<Job>,
    /// Everything up to here is in the logs.
    position: AtomicU64,
}

impl Common {
    fn position(&self) -> Position {
        Position::new(self.position.load(Ordering::Acquire))
    }

    fn is_over_budget(&self) -> bool {
        self.counters.kept_bytes() > self.options.budget_bytes_max
    }
}

impl Broker {
    /// A broker at position zero, the one way to feed it, and its clock, which has to run: [`Pacer::run`].
    #[must_use]
    pub fn new(epoch: Epoch, options: BrokerOptions) -> (Self, Feed, Pacer) {
        let (jobs, todo) = mpsc::unbounded_channel();
        let (counters, position) = (Counters::default(), AtomicU64::default());
        let common = Arc::new(Common { epoch, options, counters, jobs: jobs.downgrade(), position });
        let registry = Arc::new(Registry::new(&common));
        let pacer = Pacer::new(Arc::clone(&common), Arc::clone(&registry), todo);
        let hub = Arc::new(Hub { common, registry, jobs });
        (Self { hub: Arc::clone(&hub) }, Feed::new(hub), pacer)
    }

    /// Registers a subscription, at once: what comes after [`Subscription::from`] will be delivered, everything up to
    /// there is history. Topics need not exist; those that a pattern matches are found as their events come.
    #[must_use]
    pub fn subscribe(&self, selection: Selection, format: Format) -> Subscription {
        Subscription::new(Arc::clone(&self.hub), selection, format)
    }

    /// Everything up to here has been delivered into the logs.
    #[must_use]
    pub fn position(&self) -> Position {
        self.hub.common.position()
    }

    /// How many subscriptions read a topic. Those whose patterns match it count from its next event on.
    #[must_use]
    pub fn subscribers(&self, topic: &TopicName) -> usize {
        self.hub.registry.subscribers(topic)
    }

    /// How long after it was published a message was handed to a subscription: each time something was handed out, the
    /// oldest of what it may have come from. Told in milliseconds, by the clocks of this node and the leader.
    #[must_use]
    pub fn deliveries(&self) -> Durations {
        self.hub.common.counters.deliveries.clone()
    }

    /// Counts for metrics.
    #[must_use]
    pub fn stats(&self) -> BrokerStats {
        self.hub.common.counters.snapshot(self.hub.registry.log_count())
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("position", &self.position()).finish_non_exhaustive()
    }
}

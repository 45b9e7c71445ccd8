//! A node: what the HTTP layer, the peer port and whoever embeds the broker can ask of it.
//!
//! It turns requests into commands, takes them to the leader ([`write`](self), one hop at the most), waits until they
//! are applied here, and reads: topics, history and streams come from this node alone. It knows neither HTTP nor Raft.
//!
//! Invariants:
//! - A write is answered only after this node has applied it.
//! - A write that may have happened is never reported as failed.
//! - A stream shows every message of its topics from its cursor on, in order and once, or says where the hole is.

mod access;
mod admission;
mod balance;
mod departure;
mod discovery;
mod drain;
mod forward;
mod history;
mod lifecycle;
mod meeting;
mod occupancy;
mod order;
mod presence;
mod refound;
mod settings;
mod status;
mod stream;
mod verify;
mod write;

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::departure::Departures;
pub use self::discovery::Seed;
use self::drain::Drain;
use self::forward::Forwarder;
pub use self::history::{HistoryError, HistoryPage, HistoryQuery, ReadError};
pub use self::lifecycle::{NodeError, NotReady};
pub use self::meeting::Meeting;
pub use self::occupancy::Occupancy;
pub use self::order::OrderError;
use self::presence::Attendance;
pub use self::presence::{Reader, Watched};
pub use self::refound::{DisasterError, force_new_cluster, restore_backup};
pub use self::settings::{Connections, NewTopics, Settings};
use self::status::Directory;
pub use self::status::{ClusterView, NodeState, NodeView};
use self::stream::{BlockCache, Roll, Tally};
pub use self::stream::{
    Lease, NotServing, Profile, Start, Stream, StreamPhase, StreamRequest, StreamStats, StreamView,
};
pub use self::verify::{Difference, Verification};
pub use self::write::{Created, Stored, WriteError};
use crate::broker::{Broker, BrokerStats};
pub use crate::consensus::{
    CheckpointOptions, Contents, Expelled, Fault, Member, Order, OrderRefused, RefoundError, Refounded, Role,
    SnapshotError, StartError, Timing, VOTERS_MAX, contents as backup_contents,
};
use crate::consensus::{Consensus, Leadership};
use crate::domain::{Epoch, Position, Timestamp, TopicName};
use crate::durations::Durations;
use crate::rpc::Endpoint;
use crate::state::TopicInfo;
use crate::storage::{DataDir, LogMetrics};
use crate::trace::Tracer;

/// A running node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    epoch: Epoch,
    consensus: Consensus,
    forwarder: Forwarder,
    broker: Broker,
    streams: Tally,
    roll: Arc<Roll>,
    blocks: BlockCache,
    directory: Directory,
    attendance: Attendance,
    /// Locked for as long as the node is there.
    dir: DataDir,
    /// Cancelled, as it were, once streams may be opened.
    serving: CancellationToken,
    drain: Drain,
    departures: Departures,
    /// Why the cluster wants no more of this node.
    expelled: OnceLock<Expelled>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A topic, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicView {
    /// The same on every node.
    pub info: TopicInfo,
    /// Streams of this topic by name that are open on this node.
    pub subscribers: usize,
}

/// What a node counts, for whoever watches it.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Fan-out.
    pub broker: BrokerStats,
    /// How streams fare.
    pub streams: StreamStats,
    /// How long it took from a command's arrival at the leader, which is this node, until it was applied.
    pub commits: Durations,
    /// How long after the leader took it up a message was on its way to a subscriber: of each delivery the oldest.
    pub deliveries: Durations,
    /// Messages that have left retention since the node started.
    pub evicted: u64,
    /// The log on disk.
    pub log: LogMetrics,
    /// Raft.
    pub leadership: Leadership,
    /// Whether this node leads.
    pub is_leader: bool,
    /// Whether this node hears from a leader.
    pub hears_leader: bool,
    /// The last message applied.
    pub position: Position,
    /// Topics that exist.
    pub topics: usize,
    /// Members of all topics with presence.
    pub members: usize,
    /// The log's time.
    pub time: Timestamp,
}

impl Node {
    /// Names the history that this cluster's cursors count in.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.inner.epoch
    }

    /// A topic, if it exists.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<TopicView> {
        let info = self.inner.consensus.replica().read(|machine| machine.topic(name))?;
        Some(self.view(info))
    }

    /// Topics in the order of their names: those that start with `prefix` and come after `after`.
    #[must_use]
    pub fn topics(&self, prefix: &str, after: Option<&TopicName>, limit: usize) -> Vec<TopicView> {
        let infos = self.inner.consensus.replica().read(|machine| machine.topics(prefix, after, limit));
        infos.into_iter().map(|info| self.view(info)).collect()
    }

    fn view(&self, info: TopicInfo) -> TopicView {
        let subscribers = self.inner.broker.subscribers(&info.name);
        TopicView { info, subscribers }
    }

    /// Whether a publish to a topic that is missing creates it.
    #[must_use]
    pub fn creates_topics(&self) -> bool {
        self.inner.settings.new_topics.auto_create
    }

    /// Takes spans of what requests come to.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.inner.settings.tracer
    }

    /// How this node presents itself to the others.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.consensus.peers().local()
    }

    /// What this node counts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let consensus = &self.inner.consensus;
        consensus.replica().read(|machine| Counts {
            broker: self.inner.broker.stats(),
            streams: self.inner.streams.stats(),
            commits: consensus.commits(),
            deliveries: self.inner.broker.deliveries(),
            log: consensus.log_metrics(),
            leadership: consensus.leadership(),
            is_leader: consensus.leads(),
            hears_leader: consensus.hears_leader(),
            position: machine.position(),
            topics: machine.topic_count(),
            members: machine.member_count(),
            time: machine.time(),
            evicted: machine.evicted(),
        })
    }

    /// The engine underneath, for the peer port.
    pub(crate) fn consensus(&self) -> &Consensus {
        &self.inner.consensus
    }
}

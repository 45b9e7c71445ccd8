//! Consensus: one order of entries, the same on a majority of disks before anybody sees it.
//!
//! The only place that names openraft. It binds together the log and the store ([`storage`](crate::storage)), the
//! machine ([`state`](crate::state)) and the broker, and gives the layer above a small vocabulary: propose commands,
//! read the [`Replica`], follow who leads.
//!
//! ```text
//! propose → proposer → openraft ─→ log_storage → storage::Log     (flushed, here and on a majority)
//!                         │  └──→ network → rpc                   (followers; receive.rs at their end)
//!                         └ committed → state_machine → replica → state::Machine → broker
//!                          compaction → checkpoint: replica → storage::Store, then the log is purged
//! ```
//!
//! Invariants:
//! - An entry is answered only when it is flushed on a majority of the voters and applied here.
//! - Applying does no I/O. What is applied but not yet in the store is in the log: the log is never purged above the
//!   last checkpoint.
//! - Nothing in here looks into a command, or decides by its own clock what a command comes to.

mod checkpoint;
mod codec;
mod compaction;
mod entry;
mod gather;
mod leadership;
mod log_storage;
mod membership;
mod network;
mod options;
mod order;
mod peers;
mod proposer;
mod receive;
mod recovery;
mod refound;
mod replica;
mod room;
#[cfg(test)]
mod simulation;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod suite;
mod types;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;
use uuid::Uuid;

pub use self::checkpoint::{CheckpointError, CheckpointOptions};
pub use self::codec::CodecError;
pub use self::compaction::CompactionError;
pub use self::gather::until_no_more_come;
pub use self::leadership::Leadership;
use self::leadership::MAJORITY_TIMEOUT;
use self::log_storage::LogStorage;
pub use self::membership::VOTERS_MAX;
use self::network::Network;
pub use self::options::{Options, Timing};
pub use self::order::{Order, OrderRefused};
pub use self::peers::Peers;
pub use self::proposer::ProposeError;
use self::proposer::Proposer;
pub use self::recovery::{Recovered, RecoveryError, recover};
pub use self::refound::{Contents, RefoundError, Refounded, contents, force_alone, restore};
pub use self::replica::{Progress, Replica};
use self::snapshot::Exports;
pub use self::snapshot::SnapshotError;
use self::state_machine::StateMachine;
pub use self::types::Member;
use self::types::{LogId, Raft};
use self::wire::Offer;
pub use self::wire::{Expelled, Proposed};
use crate::broker::Feed;
use crate::domain::{LogIndex, NodeId};
use crate::durations::Durations;
use crate::state::EncodedCommand;
use crate::storage::{Log, LogFailure, LogMetrics};

/// The engine could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The directory for snapshots.
    #[error("the directory for snapshots could not be prepared")]
    Exports(#[source] std::io::Error),
    /// The timing makes no sense.
    #[error("the timing of elections: {0}")]
    Timing(String),
    /// Another process runs as this node.
    #[error(transparent)]
    Expelled(Expelled),
    /// What is on disk contradicts itself.
    #[error("consensus could not be started from what is on disk: {0}")]
    Storage(String),
}

/// Why a member has stopped for good. What it has acknowledged is on its disk, as far as that can be read.
#[derive(Clone, Debug, Error)]
pub enum Fault {
    /// The log could not be written.
    #[error(transparent)]
    Log(LogFailure),
    /// The state could not be written.
    #[error(transparent)]
    Checkpoint(CheckpointError),
    /// Something else, in the engine's own words.
    #[error("{0}")]
    Engine(String),
}

/// A running member of the cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Consensus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster: Uuid,
    node: NodeId,
    member: Member,
    raft: Raft,
    replica: Replica,
    proposer: Proposer,
    exports: Exports,
    peers: Peers,
    log: Log,
    incoming_dir: PathBuf,
    timing: Timing,
    /// Held while a snapshot is fetched and installed.
    installing: tokio::sync::Mutex<()>,
    /// Held while the membership is changed.
    changing: tokio::sync::Mutex<()>,
    /// When an append of the leader was taken last.
    heard: Mutex<Instant>,
}

/// What a member is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It proposes; everybody else follows.
    Leader,
    /// It votes, and its disk counts.
    Follower,
    /// It only reads along.
    Learner,
}

impl Consensus {
    /// Starts the engine on what [`recover`] found. If the log is empty, the cluster begins with these `founders`, if any.
    ///
    /// Tasks run in `tasks` until `stop`; a storage fault cancels `stop` itself.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing has been changed on disk.
    pub async fn start(
        options: Options,
        recovered: Recovered,
        feed: Feed,
        founders: Option<BTreeMap<NodeId, Member>>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let Options { cluster, node, member, peers, timing, key_window, quotas, checkpoint, export_dir, incoming_dir } =
            options;
        let config = options::config(cluster, timing).map_err(|error| StartError::Timing(error.to_string()))?;
        let Recovered { log, store, machine, stored } = recovered;
        let replica = Replica::new(machine, stored, store);
        let exports = Exports::open(export_dir).map_err(StartError::Exports)?;
        let network = Network {
            peers: peers.clone(),
            replica: replica.clone(),
            exports: exports.clone(),
            own_address: member.peer.clone(),
        };
        let reached = member.clone();
        let machine = StateMachine::new(replica.clone(), exports.clone(), checkpoint, feed, incoming_dir.clone());
        let raft = Raft::new(node, Arc::new(config), network, LogStorage::new(log.clone()), machine)
            .await
            .map_err(|error| StartError::Storage(error.to_string()))?;
        let before = membership::members(&raft).get_node(&node).cloned();
        if let Some(before) = before
            && let Some(expelled) = membership::doubled(&peers, node, &before, &reached).await
        {
            let _ = raft.shutdown().await;
            return Err(StartError::Expelled(expelled));
        }
        raft.runtime_config().elect(true);
        let (proposer, proposing) = Proposer::new(raft.clone(), key_window, quotas);
        tasks.spawn(stop.clone().run_until_cancelled_owned(proposing));

        let inner = Inner {
            cluster,
            node,
            member,
            raft: raft.clone(),
            replica: replica.clone(),
            proposer,
            exports: exports.clone(),
            peers,
            log: log.clone(),
            incoming_dir,
            timing,
            installing: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            heard: Mutex::new(Instant::now()),
        };
        let consensus = Self { inner: Arc::new(inner) };
        if let Some(founders) = founders {
            consensus.found(founders).await;
        }
        tasks.spawn(stop.clone().run_until_cancelled_owned(consensus.clone().tend_members()));
        tasks.spawn(consensus.clone().mind_the_room(stop.clone()));
        tasks.spawn(async move {
            let ended = compaction::run(&raft, &log, &replica, &exports, checkpoint, stop.clone()).await;
            if let Err(error) = ended
                && !(stop.is_cancelled() && matches!(error, CompactionError::Stopped))
            {
                error!(error = &error as &dyn std::error::Error, "stopping: what is in memory can't be moved to disk");
                stop.cancel();
            }
        });
        Ok(consensus)
    }

    /// Proposes encoded commands, in one entry and in this order; answers when they are applied here.
    ///
    /// # Errors
    /// See [`ProposeError`]: it tells whether the commands may have been done.
    pub async fn propose(&self, commands: Vec<EncodedCommand>) -> Result<Proposed, ProposeError> {
        // It would wait for as long as the disk is full.
        if self.lacks_room() {
            return Err(ProposeError::NotLeader);
        }
        self.inner.proposer.propose(commands).await
    }

    /// What this node has applied.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.inner.replica
    }

    /// How long it took, on the leader, from a command's arrival until it was applied.
    #[must_use]
    pub fn commits(&self) -> Durations {
        self.inner.proposer.commits().clone()
    }

    /// What the log counts.
    #[must_use]
    pub fn log_metrics(&self) -> LogMetrics {
        self.inner.log.metrics()
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster(&self) -> Uuid {
        self.inner.cluster
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// How others reach this node.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.inner.member
    }

    /// How this node reaches others.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    /// Every member and what it is to the cluster. Nobody leads while this node [hears from no leader](Self::hears_leader).
    #[must_use]
    pub fn roles(&self) -> Vec<(NodeId, Member, Role)> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let leader = self.heard_leader(&metrics);
        let role = |node: NodeId| match () {
            () if leader == Some(node) => Role::Leader,
            () if membership.voter_ids().any(|voter| voter == node) => Role::Follower,
            () => Role::Learner,
        };
        membership.nodes().map(|(node, member)| (*node, member.clone(), role(*node))).collect()
    }

    /// Waits until what this node had on disk when it started is known to be committed, and is applied.
    pub async fn recovered(&self) {
        // Not openraft's `wait_for_recovery`: that waits for a moment at which everything is committed, and under load a
        // follower's last entry never is.
        let on_disk = self.inner.log.state().last().map(LogIndex::get);
        self.wait(|now| now.stopped || (now.committed.is_some() && now.committed >= on_disk.min(now.last))).await;
    }

    /// What a majority has committed, if this node is confirmed to lead: it has applied that.
    pub async fn confirmed(&self) -> Option<Progress> {
        let confirmed = self.inner.raft.ensure_linearizable(openraft::ReadPolicy::ReadIndex);
        tokio::time::timeout(MAJORITY_TIMEOUT, confirmed).await.ok()?.ok()?;
        Some(*self.progress().borrow())
    }

    /// Follows what is applied.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.inner.replica.progress()
    }

    /// A snapshot for a node that has lost its store, and has purged its log up to `purged`.
    async fn offer_snapshot(&self, purged: Option<LogId>) -> Result<Offer, SnapshotError> {
        let Inner { replica, exports, .. } = &*self.inner;
        if replica.read_state(|state| state.applied) >= purged {
            self.checkpoint(purged).await;
        }
        exports.offer(replica, purged).await
    }

    /// All that is applied here, in a file that has no name.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub async fn back_up(&self) -> Result<std::fs::File, SnapshotError> {
        let Inner { replica, exports, .. } = &*self.inner;
        self.checkpoint(replica.read_state(|state| state.applied)).await;
        exports.unnamed(replica).await
    }

    /// Sees to it that the store holds that, which is applied. By way of Raft, so that the node stops if its store can't
    /// be written.
    async fn checkpoint(&self, least: Option<LogId>) {
        let Inner { raft, replica, .. } = &*self.inner;
        if replica.stored().applied < least {
            let _ = raft.trigger().snapshot().await;
            let _ = raft.wait(Some(CHECKPOINT_TIMEOUT)).metrics(|now| now.snapshot >= least, "a checkpoint").await;
        }
    }

    /// Why the engine has stopped for good, if it has by itself.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let Inner { log, replica, raft, .. } = &*self.inner;
        let log = log.failed().borrow().clone().map(Fault::Log);
        let engine = || raft.metrics().borrow_watched().running_state.as_ref().err().map(ToString::to_string);
        log.or_else(|| replica.failure().map(Fault::Checkpoint)).or_else(|| engine().map(Fault::Engine))
    }

    /// Stops the engine.
    pub async fn shut_down(&self) {
        let _ = self.inner.raft.shutdown().await;
    }
}

/// For a checkpoint that another node waits for.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(60);

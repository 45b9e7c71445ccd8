//! A node's life: identity, recovery, start, readiness, end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};
use uuid::Uuid;

use super::admission::join;
use super::departure::Departures;
use super::discovery::find;
use super::drain::Drain;
use super::forward::Forwarder;
use super::meeting::{self, Meeting};
use super::presence::Attendance;
use super::status::Directory;
use super::stream::{BlockCache, Tally};
use super::{Inner, Node, Settings};
use crate::broker::{Broker, BrokerOptions};
use crate::consensus::{
    CheckpointOptions, Consensus, Expelled, Fault, Leadership, Member, Options, Peers, RecoveryError, StartError,
    recover,
};
use crate::domain::{Epoch, NodeId, Timestamp};
use crate::rpc::Endpoint;
use crate::state::{Command, Machine};
use crate::storage::{DataDir, DataDirError, Identity, Log, LogError, LogOptions, PlanFile};

/// The node could not be started. What is on disk is as it was.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log.
    #[error("the log can't be opened")]
    Log(#[from] LogError),
    /// The log is gone, and with it what this node has acknowledged.
    #[error(
        "{} belongs to node {node}, but has no log: what the node acknowledged is lost here. Start it with an empty data \
         directory, so that it joins under a new id", dir.display()
    )]
    LogMissing {
        /// The data directory.
        dir: PathBuf,
        /// Whose it is.
        node: NodeId,
    },
    /// There is a log, but not which node's it is. Under another identity it would be another history.
    #[error(
        "{} holds a node's log or state, but its node.json is gone: restore that file, or start the node with an empty \
         data directory, so that it joins under a new id", dir.display()
    )]
    IdentityMissing {
        /// The data directory.
        dir: PathBuf,
    },
    /// The node belongs to one cluster, and was told to join another one.
    #[error(
        "{} belongs to cluster {own}, but --join leads to cluster {other} ({seed}): to join that one, choose another \
         --data-dir; to start the node as what it is, leave out --join", dir.display()
    )]
    OtherCluster {
        /// The data directory.
        dir: PathBuf,
        /// Its cluster.
        own: Uuid,
        /// The cluster of the node that answered.
        other: Uuid,
        /// The peer address of that node.
        seed: String,
    },
    /// The state.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The engine.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The node was told to stop before it had started.
    #[error("stopped before the node had joined its cluster")]
    Stopped,
}

/// Why a node is not ready to serve.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotReady {
    /// It has not yet applied all that it had acknowledged.
    #[error("the node is starting")]
    Starting,
    /// It is this many log entries behind.
    #[error("the node is {behind} log entries behind the leader")]
    CatchingUp {
        /// Log entries.
        behind: u64,
    },
    /// Its disk is full. It goes on by itself once there is room.
    #[error("the disk has no room for the node's log")]
    NoRoom,
    /// There is no leader, and nobody can be elected.
    #[error(
        "{} of {voters} voters answer, and {} are needed; no answer from {}",
        voters - missing.len(), voters / 2 + 1, names(missing)
    )]
    NoMajority {
        /// Nodes that vote.
        voters: usize,
        /// Those of them that don't answer.
        missing: Vec<NodeId>,
    },
    /// There is no leader, or it can't be reached.
    #[error("the node hears from no leader")]
    NoLeader,
    /// It is about to stop.
    #[error("the node is stopping")]
    Stopping,
}

/// The founder's id.
const FOUNDER: NodeId = NodeId::new(1);

/// How often the leader looks for something that has grown too old.
const TICK_EVERY: Duration = Duration::from_millis(500);

/// Log entries that a node may be behind and still call itself ready: what commits within a heartbeat.
const READY_LAG: u64 = 256;

impl Node {
    /// Starts a node on its data directory: founds or joins a cluster if the directory is empty, else goes on as the
    /// node it was. Returns as soon as the node takes part; [`Self::readiness`] tells when it serves.
    ///
    /// The peer listener must answer at `settings.member.peer` from now on; what others are told before the node belongs to
    /// a cluster, the `meeting` knows. Tasks run in `tasks` until `stop`, which a
    /// fault that the node can't live with cancels too.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn start(
        settings: Settings,
        meeting: Meeting,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, NodeError> {
        let dir = DataDir::open(&settings.data_dir)?;
        let log_options = log_options(&settings.checkpoint);
        let endpoint = settings.stranger(tasks.clone(), stop.clone());
        let strangers = Peers::new(endpoint.clone());
        let identity = match dir.identity()? {
            Some(identity) if is_empty(&dir.log_dir()) => {
                return Err(NodeError::LogMissing { dir: settings.data_dir, node: identity.node });
            }
            Some(identity) => {
                let own = identity.cluster;
                let looked = stop.run_until_cancelled(meeting.other_cluster(&settings.join, &strangers, own));
                if let Some((seed, other)) = looked.await.ok_or(NodeError::Stopped)? {
                    return Err(NodeError::OtherCluster { dir: settings.data_dir, own, other, seed });
                }
                identity
            }
            None => {
                // Before the identity: one without a log means that the log was lost.
                let log = Log::open(&dir.log_dir(), log_options.clone())?;
                if !log.state().is_blank() || dir.state_dir().exists() {
                    return Err(NodeError::IdentityMissing { dir: settings.data_dir });
                }
                drop(log);
                let identity = if settings.join.is_empty() {
                    Identity { cluster: Uuid::new_v4(), node: FOUNDER }
                } else {
                    meeting.open();
                    let found = come_in(&settings, &meeting, &strangers, dir.plan_file());
                    stop.run_until_cancelled(found).await.ok_or(NodeError::Stopped)??
                };
                dir.write_identity(&identity)?;
                meeting.settled(identity.cluster);
                identity
            }
        };
        let Identity { cluster, node } = identity;
        let peers = Peers::new(Endpoint { cluster: Some(cluster), node: Some(node), ..endpoint });
        let log = Log::open(&dir.log_dir(), log_options)?;
        // The founder of a cluster that has grown must not found it again, and nobody may vote twice.
        if log.state().is_blank() && !dir.peers().is_empty() {
            return Err(NodeError::LogMissing { dir: settings.data_dir, node });
        }
        // Whoever had a seat in another plan has joined another cluster since.
        let plan = meeting::read(&dir.plan_file())?.filter(|plan| plan.cluster == *cluster.as_bytes());
        let founders: Option<BTreeMap<NodeId, Member>> = match &plan {
            Some(plan) => Some(plan.nodes().collect()),
            None => (node == FOUNDER).then(|| [(node, settings.member.clone())].into()),
        };
        let healers: Vec<String> = dir.peers().into_iter().chain(find(&settings.join).await).collect();
        let recovered = recover(log, &dir.state_dir(), &dir.incoming_dir(), &peers, &healers).await?;

        let epoch = Epoch::from_seed(*cluster.as_bytes());
        let (broker, feed, pacer) = Broker::new(epoch, BrokerOptions::default());
        tasks.spawn_on(stop.clone().run_until_cancelled_owned(pacer.run()), &settings.fan_out);
        let options = Options {
            cluster,
            node,
            member: settings.member.clone(),
            peers,
            timing: settings.timing,
            key_window: settings.key_window,
            quotas: settings.quotas,
            checkpoint: settings.checkpoint,
            export_dir: dir.export_dir(),
            incoming_dir: dir.incoming_dir(),
        };
        let consensus = Consensus::start(options, recovered, feed, founders, &tasks, stop.clone()).await?;
        // The log has begun.
        if let Some(plan) = plan {
            let others = plan.nodes().filter(|(id, _)| *id != node);
            dir.save_peers(&others.map(|(_, member)| member.peer).collect::<Vec<_>>())?;
        }
        dir.plan_file().remove()?;
        let (forwarder, forwarding) = Forwarder::new(consensus.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(forwarding));
        let serving = CancellationToken::new();
        let inner = Inner {
            streams: Tally::default(),
            roll: Arc::default(),
            blocks: BlockCache::default(),
            settings,
            epoch,
            consensus,
            forwarder,
            broker,
            directory: Directory::default(),
            attendance: Attendance::default(),
            dir,
            serving,
            drain: Drain::default(),
            departures: Departures::default(),
            expelled: OnceLock::new(),
            tasks,
            stop,
        };
        let node = Self { inner: Arc::new(inner) };
        node.inner.tasks.spawn(node.clone().ask_others());
        node.inner.tasks.spawn(node.clone().catch_up());
        node.inner.tasks.spawn(node.clone().announce());
        node.inner.tasks.spawn(node.clone().tick());
        node.inner.tasks.spawn(node.clone().tell_attendance());
        node.inner.tasks.spawn(node.clone().dismiss_the_lost());
        node.inner.tasks.spawn(node.clone().watch_engine());
        Ok(node)
    }

    /// Whether this node serves: it is caught up and hears from a leader.
    ///
    /// # Errors
    /// Why it doesn't.
    pub fn readiness(&self) -> Result<(), NotReady> {
        if self.is_stopping() {
            return Err(NotReady::Stopping);
        }
        let hears_leader = self.inner.consensus.hears_leader();
        // A node that is starting waits for a leader as well.
        if !hears_leader && let Some((voters, missing)) = self.cluster().lost_majority() {
            return Err(NotReady::NoMajority { voters, missing });
        }
        if !self.inner.serving.is_cancelled() {
            return Err(NotReady::Starting);
        }
        if self.inner.consensus.lacks_room() {
            return Err(NotReady::NoRoom);
        }
        if !hears_leader {
            return Err(NotReady::NoLeader);
        }
        match self.behind() {
            behind if behind > READY_LAG => Err(NotReady::CatchingUp { behind }),
            _ => Ok(()),
        }
    }

    fn behind(&self) -> u64 {
        let applied = self.inner.consensus.progress().borrow().index.map_or(0, |index| index.get());
        self.inner.consensus.leadership().committed.unwrap_or(0).saturating_sub(applied)
    }

    /// Whether it is about to stop, or has begun to send its clients elsewhere.
    pub(super) fn is_stopping(&self) -> bool {
        self.inner.stop.is_cancelled() || self.inner.drain.has_begun()
    }

    /// Why this node had to leave its cluster, if it had.
    #[must_use]
    pub fn expelled(&self) -> Option<&Expelled> {
        self.inner.expelled.get()
    }

    /// Why this node has stopped by itself, if it has.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.inner.consensus.fault()
    }

    /// Stops taking part. The owner cancels `stop` and waits for the tasks.
    pub async fn shut_down(&self) {
        self.inner.consensus.shut_down().await;
    }

    /// Waits until the node serves streams for the first time. `false`: it was stopped before.
    pub async fn served(&self) -> bool {
        tokio::select! {
            () = self.inner.serving.cancelled() => true,
            () = self.inner.stop.cancelled() => false,
        }
    }

    /// Opens the gate for streams once everything that was committed before is applied: what is replayed at the start
    /// meets no subscriber.
    async fn catch_up(self) {
        let caught_up = async {
            self.inner.consensus.recovered().await;
            let committed = self.inner.consensus.leadership().committed;
            let mut progress = self.inner.consensus.progress();
            let _ = progress.wait_for(|progress| progress.index.map(|index| index.get()) >= committed).await;
        };
        tokio::select! {
            () = caught_up => {
                info!(node = self.inner.consensus.node().get(), "serving");
                self.inner.serving.cancel();
            }
            () = self.inner.stop.cancelled() => {}
        }
    }

    /// As long as this node leads: moves the log's time when something has grown too old.
    async fn tick(self) {
        let consensus = &self.inner.consensus;
        let mut looks = interval(TICK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.inner.stop.cancelled() => return,
            }
            let due = consensus.replica().read(Machine::next_expiry).is_some_and(|at| at <= Timestamp::now());
            if consensus.leads() && due {
                // If it fails, the next look tries again.
                let _ = consensus.propose(vec![Command::Tick.encode()]).await;
            }
        }
    }

    /// Tells the log who leads, and stops the node when its engine has stopped: a disk failed.
    async fn watch_engine(self) {
        let consensus = &self.inner.consensus;
        let mut known = Leadership::default();
        let watch = async {
            loop {
                let news = |now: &Leadership| now.stopped || now.leader != known.leader || now.term != known.term;
                let goes_on = consensus.wait(news).await;
                let now = consensus.leadership();
                if !goes_on || now.stopped {
                    return;
                }
                let (node, term) = (consensus.node().get(), now.term);
                match now.leader {
                    Some(leader) if leader == consensus.node() => info!(node, term, "became leader"),
                    Some(leader) => info!(node, term, leader = leader.get(), "following"),
                    None => info!(node, term, "without a leader"),
                }
                known = now;
            }
        };
        tokio::select! {
            () = watch => {
                if !self.inner.stop.is_cancelled() {
                    let fault = self.fault();
                    let error = fault.as_ref().map(|fault| fault as &dyn std::error::Error);
                    error!(error, "stopping: the disk or the consensus engine has failed");
                    self.inner.stop.cancel();
                }
            }
            () = self.inner.stop.cancelled() => {}
        }
    }
}

/// Founds a cluster together with others, or is let into one.
async fn come_in(settings: &Settings, meeting: &Meeting, peers: &Peers, plan: PlanFile) -> Result<Identity, NodeError> {
    let plan = meeting.found(&settings.join, peers, plan).await?;
    match plan.and_then(|plan| meeting::seat(&plan, &settings.member)) {
        Some(identity) => Ok(identity),
        None => Ok(join(peers, &settings.join, &settings.member).await),
    }
}

fn names(nodes: &[NodeId]) -> String {
    nodes.iter().map(|node| format!("node {node}")).collect::<Vec<_>>().join(", ")
}

/// Whether there is nothing in a directory, or no directory.
pub(super) fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

/// Segments are what is purged, so they are no larger than what a checkpoint makes superfluous.
fn log_options(checkpoint: &CheckpointOptions) -> LogOptions {
    let default = LogOptions::default();
    LogOptions { segment_bytes: default.segment_bytes.min(checkpoint.bytes), ..default }
}

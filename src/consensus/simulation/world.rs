//! Nodes over simulated disks and wires, and what starts and stops them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::super::checkpoint::CheckpointOptions;
use super::super::options::{self, Timing};
use super::super::proposer::{ProposeError, Proposer};
use super::super::replica::{Replica, Stored};
use super::super::snapshot::Exports;
use super::super::state_machine::StateMachine;
use super::super::types::Raft;
use super::super::wire::Proposed;
use super::disk::Disk;
use super::members::{member, tend};
use super::wires::{Network, Wires};
use crate::broker::{Broker, BrokerOptions};
use crate::domain::{Epoch, NodeId};
use crate::state::{Command, EncodedCommand, KeyWindow, Machine, Outcome, Quotas, Reply};
use crate::storage::Store;

/// The first members. Others come later.
const FOUNDERS: [NodeId; 3] = [NodeId::new(1), NodeId::new(2), NodeId::new(3)];

/// None is taken: what they write is sled's, and is tried on real disks.
const NO_CHECKPOINTS: CheckpointOptions = CheckpointOptions {
    bytes: u64::MAX,
    rows: usize::MAX,
    interval: Duration::from_secs(u64::MAX / 4),
    log_keep_segments: u64::MAX,
};

/// A publisher waits so long for an answer.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// A node between its start and its death. Cheap to clone.
#[derive(Clone)]
pub(super) struct Process {
    /// Tells it from the one before it and the one after it.
    pub(super) boot: u64,
    pub(super) raft: Raft,
    pub(super) replica: Replica,
    pub(super) broker: Broker,
    proposer: Proposer,
    /// Ends its tasks with the last handle.
    _alive: Arc<DropGuard>,
}

/// What came of a command.
pub(super) enum Answer {
    Done(Reply),
    /// Nothing was proposed.
    Refused,
    Unknown,
}

/// All of it.
pub(super) struct World {
    pub(super) wires: Wires,
    seed: u64,
    disks_lie: bool,
    /// Of every node that ever was.
    disks: BTreeMap<NodeId, Disk>,
    /// Where the stores are that nothing is written to.
    dir: PathBuf,
    boots: u64,
}

impl World {
    /// In an empty directory.
    pub(super) fn new(seed: u64, disks_lie: bool, dir: PathBuf) -> Self {
        Self { wires: Wires::new(seed), seed, disks_lie, disks: BTreeMap::new(), dir, boots: 0 }
    }

    pub(super) async fn found(&mut self) {
        for node in FOUNDERS {
            self.wires.want(node);
            self.start(node).await;
        }
        let members = FOUNDERS.map(|node| (node, member(node)));
        let founder = self.wires.process(FOUNDERS[0]).expect("it has started");
        founder.raft.initialize(BTreeMap::from(members)).await.expect("its disk is empty");
    }

    /// Starts a node on what its disk holds.
    pub(super) async fn start(&mut self, node: NodeId) {
        self.boots += 1;
        let boot = self.boots;
        let dir = self.dir.join(boot.to_string());
        let store = Store::open(&dir.join("state")).expect("an empty store");
        let exports = Exports::open(dir.join("export")).expect("an empty directory");
        let (broker, feed, pacer) = Broker::new(Epoch::from_seed([7; 16]), BrokerOptions::default());
        let replica = Replica::new(Machine::new(), Stored::default(), store);
        let machine = StateMachine::new(replica.clone(), exports, NO_CHECKPOINTS, feed, dir);
        let config = options::config(Uuid::from_u128(7), Timing::default()).expect("it makes sense");
        let network = Network { wires: self.wires.clone(), own: node };
        let disk = self.disks.entry(node).or_insert_with(|| Disk::new(self.seed ^ node.get(), self.disks_lie));
        let log = disk.open();
        let raft = Raft::new(node, Arc::new(config), network, log, machine).await.expect("the log is whole");
        raft.runtime_config().elect(true);
        let (proposer, proposing) = Proposer::new(raft.clone(), KeyWindow::default(), Quotas::default());
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(proposing));
        tokio::spawn(stop.clone().run_until_cancelled_owned(pacer.run()));
        tokio::spawn(stop.clone().run_until_cancelled_owned(tend(node, raft.clone(), self.wires.clone())));
        let process = Process { boot, raft, replica, broker, proposer, _alive: Arc::new(stop.drop_guard()) };
        self.wires.plug(node, process);
    }

    /// A new node, with an empty disk, is to become a member.
    pub(super) async fn add(&mut self) {
        let newest = self.disks.keys().next_back().expect("there are founders").get();
        let node = NodeId::new(newest + 1);
        self.wires.want(node);
        self.start(node).await;
    }

    /// Ends those that were members and are none any more.
    pub(super) fn bury(&self) {
        if self.wires.settled() {
            self.unwanted().for_each(|node| self.crash(node));
        }
    }

    /// Those that were members, and were ended.
    pub(super) fn departed(&self) -> Vec<NodeId> {
        self.unwanted().filter(|node| self.wires.process(*node).is_none()).collect()
    }

    fn unwanted(&self) -> impl Iterator<Item = NodeId> {
        let wanted = self.wires.wanted();
        self.disks.keys().copied().filter(move |node| !wanted.contains(node))
    }

    /// How many nodes have come or gone.
    pub(super) fn changes(&self) -> usize {
        self.disks.len() - FOUNDERS.len() + self.unwanted().count()
    }

    /// As when the power fails. What was a process may go on for a moment, but writes to no disk and reaches nobody.
    pub(super) fn crash(&self, node: NodeId) {
        if let Some(process) = self.wires.unplug(node) {
            self.disks[&node].cut_power();
            tokio::spawn(async move { drop(process.raft.shutdown().await) });
        }
    }
}

impl Wires {
    /// Has a command done by way of a node: by itself if it leads, else by the leader that it knows of.
    pub(super) async fn write(&self, node: NodeId, command: &Command) -> Answer {
        let Some(process) = self.process(node) else { return Answer::Refused };
        let written = timeout(PUBLISH_TIMEOUT, self.write_by(node, &process, command.encode())).await;
        // Whoever has died has answered nobody.
        let is_there = self.process(node).is_some_and(|now| now.boot == process.boot);
        written.ok().filter(|_| is_there).unwrap_or(Answer::Unknown)
    }

    async fn write_by(&self, node: NodeId, process: &Process, command: EncodedCommand) -> Answer {
        let leader = process.raft.metrics().borrow_watched().current_leader;
        let proposed = match leader {
            None => Err(ProposeError::NotLeader),
            Some(leader) if leader == node => process.proposer.propose(vec![command]).await,
            Some(leader) => {
                let ask = |leader: Process| async move { leader.proposer.propose(vec![command]).await };
                self.ask(node, leader, ask).await.unwrap_or(Err(ProposeError::NotLeader))
            }
        };
        match proposed {
            Ok(Proposed { index, outcomes }) => {
                // Whoever writes here reads it here.
                let mut progress = process.replica.progress();
                let applied = progress.wait_for(|progress| progress.index >= Some(index)).await.is_ok();
                let outcome: Option<Outcome> = outcomes.into_iter().next();
                match outcome {
                    Some(Ok(reply)) if applied => Answer::Done(reply),
                    outcome => panic!("{outcome:?}"),
                }
            }
            Err(ProposeError::NotLeader | ProposeError::Stopping) => Answer::Refused,
            Err(ProposeError::Unknown) => Answer::Unknown,
        }
    }
}

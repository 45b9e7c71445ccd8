//! The network: what is sent takes some time, and gets lost where a wire is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use tokio::time::{sleep, timeout};

use super::super::state_machine::{Snapshot, SnapshotData};
use super::super::types::{Member, TypeConfig, Vote};
use super::world::Process;
use crate::domain::NodeId;

/// The longest way, in microseconds.
const TRAVEL_MICROS_MAX: u64 = 5_000;

/// One in so many messages is lost although nothing is cut.
const LOST: u32 = 200;

/// All wires, and who is at their ends. Cheap to clone.
#[derive(Clone)]
pub(super) struct Wires(Arc<Mutex<Inner>>);

struct Inner {
    rng: fastrand::Rng,
    cut: BTreeSet<(NodeId, NodeId)>,
    processes: BTreeMap<NodeId, Process>,
    /// Who is to be a member.
    wanted: BTreeSet<NodeId>,
}

impl Wires {
    pub(super) fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self(Arc::new(Mutex::new(Inner {
            rng,
            cut: BTreeSet::new(),
            processes: BTreeMap::new(),
            wanted: BTreeSet::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics under this lock")
    }

    pub(super) fn plug(&self, node: NodeId, process: Process) {
        self.lock().processes.insert(node, process);
    }

    pub(super) fn unplug(&self, node: NodeId) -> Option<Process> {
        self.lock().processes.remove(&node)
    }

    pub(super) fn process(&self, node: NodeId) -> Option<Process> {
        self.lock().processes.get(&node).cloned()
    }

    pub(super) fn processes(&self) -> Vec<Process> {
        self.lock().processes.values().cloned().collect()
    }

    pub(super) fn want(&self, node: NodeId) {
        self.lock().wanted.insert(node);
    }

    pub(super) fn want_no_more(&self, node: NodeId) {
        self.lock().wanted.remove(&node);
    }

    pub(super) fn wanted(&self) -> BTreeSet<NodeId> {
        self.lock().wanted.clone()
    }

    /// Between this node and all that run, in both directions.
    pub(super) fn cut_off(&self, node: NodeId) {
        let inner = &mut *self.lock();
        let others = inner.processes.keys().filter(|other| **other != node);
        inner.cut.extend(others.flat_map(|other| [(node, *other), (*other, node)]));
    }

    pub(super) fn cut_one_way(&self, from: NodeId, to: NodeId) {
        self.lock().cut.insert((from, to));
    }

    pub(super) fn heal(&self) {
        self.lock().cut.clear();
    }

    /// Lets one message travel. Whether it arrives.
    async fn travel(&self, from: NodeId, to: NodeId) -> bool {
        let (takes, lost) = {
            let inner = &mut *self.lock();
            (Duration::from_micros(inner.rng.u64(..TRAVEL_MICROS_MAX)), inner.rng.u32(..LOST) == 0)
        };
        sleep(takes).await;
        !lost && !self.lock().cut.contains(&(from, to))
    }

    /// Asks another node. Never completes if the question or the answer is lost; `None` if nobody is there.
    pub(super) async fn ask<T, A: Future<Output = T>>(
        &self,
        from: NodeId,
        to: NodeId,
        ask: impl FnOnce(Process) -> A,
    ) -> Option<T> {
        if !self.travel(from, to).await {
            return pending().await;
        }
        let asked = self.process(to)?;
        let boot = asked.boot;
        let answer = ask(asked).await;
        // Whoever died meanwhile says nothing any more.
        let is_there = self.process(to).is_some_and(|process| process.boot == boot);
        if is_there && self.travel(to, from).await { Some(answer) } else { pending().await }
    }
}

/// The wires as one node uses them.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) wires: Wires,
    pub(super) own: NodeId,
}

/// To one node.
pub(super) struct Connection {
    network: Network,
    target: NodeId,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: NodeId, _member: &Member) -> Connection {
        Connection { network: self.clone(), target }
    }
}

type RpcError = RPCError<TypeConfig>;

impl Connection {
    async fn call<T, E: std::error::Error + 'static, A: Future<Output = Result<T, E>> + Send>(
        &self,
        action: RPCTypes,
        option: &RPCOption,
        ask: impl FnOnce(Process) -> A + Send,
    ) -> Result<T, RpcError> {
        let Network { wires, own } = &self.network;
        let limit = option.soft_ttl();
        match timeout(limit, wires.ask(*own, self.target, ask)).await {
            Ok(Some(answer)) => answer.map_err(|error| NetworkError::new(&error).into()),
            Ok(None) => Err(Unreachable::from_string("nobody is there").into()),
            Err(_) => Err(Timeout { action, id: *own, target: self.target, timeout: limit }.into()),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let ask = |process: Process| async move { process.raft.append_entries(request).await };
        self.call(RPCTypes::AppendEntries, &option, ask).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let ask = |process: Process| async move { process.raft.vote(request).await };
        self.call(RPCTypes::Vote, &option, ask).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let ask = |process: Process| async move { process.raft.pre_vote(request).await };
        self.call(RPCTypes::Vote, &option, ask).await
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        unreachable!("nothing is purged, so nobody needs a snapshot")
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let ask = |process: Process| async move { process.raft.handle_transfer_leader(request).await };
        self.call(RPCTypes::TransferLeader, &option, ask).await
    }
}

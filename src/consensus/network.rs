//! openraft's network over [`rpc`](crate::rpc): one connection for appends, one for heartbeats and votes, one for
//! snapshots, so that none holds up another.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::TypeConfigExt;
use openraft::{OptionalSend, StorageError};
use serde::de::DeserializeOwned;

use super::peers::Peers;
use super::replica::Replica;
use super::snapshot::{Exports, SnapshotError};
use super::state_machine::{Snapshot, SnapshotData};
use super::types::{LogId, Member, TypeConfig, Vote};
use super::wire::{self, AppendReply, InstallSnapshot, kind};
use crate::domain::NodeId;
use crate::rpc::{CallError, Lane, Peer, Unanswered};

/// Append requests on their way to one follower. The follower's disk is the bottleneck; a few hide the network.
const APPENDS_IN_FLIGHT: usize = 16;

/// For one append, flushed by the follower. Far above any healthy disk: a follower that is slower than this is treated
/// as away, and the connection as broken.
const APPEND_TIMEOUT: Duration = Duration::from_secs(5);

/// For fetching and installing a whole snapshot. The leader waits this long before it offers it anew; what has been
/// fetched by then is kept.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(15 * 60);

type RpcError = RPCError<TypeConfig>;

/// Makes the connections to the other nodes.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) peers: Peers,
    pub(super) replica: Replica,
    pub(super) exports: Exports,
    /// Where others read this node's snapshots.
    pub(super) own_address: String,
}

/// One connection to one node.
#[derive(Debug)]
pub(super) struct Connection {
    network: Network,
    target: NodeId,
    /// Where it was reached when the engine made this connection. It keeps it for as long as it leads, even if the
    /// node moves.
    address: String,
    lane: Lane,
}

impl Network {
    fn connect(&self, lane: Lane, target: NodeId, member: &Member) -> Connection {
        Connection { network: self.clone(), target, address: member.peer.clone(), lane }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: NodeId, member: &Member) -> Connection {
        self.connect(Lane::Append, target, member)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, member: &Member) -> Connection {
        self.connect(Lane::Control, target, member)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, member: &Member) -> Connection {
        self.connect(Lane::Snapshot, target, member)
    }
}

impl Connection {
    fn peer(&self) -> Peer {
        let peers = &self.network.peers;
        let moved = peers.address(self.target);
        peers.connect(moved.as_deref().unwrap_or(&self.address), Some(self.target), self.lane)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        kind: u8,
        request: Bytes,
        timeout: Duration,
        what: RPCTypes,
    ) -> Result<T, RpcError> {
        let reply =
            self.peer().call(kind, request, timeout).await.map_err(|error| self.error(&error, what, timeout))?;
        wire::decode(&reply).map_err(|error| NetworkError::new(&error).into())
    }

    fn error(&self, error: &CallError, action: RPCTypes, timeout: Duration) -> RpcError {
        match error {
            // The engine waits before it tries again.
            CallError::NotSent(_) | CallError::Refused(_) => Unreachable::new(error).into(),
            CallError::Unanswered(Unanswered::Expired { .. }) => {
                let id = self.network.peers.local().node.unwrap_or_default();
                Timeout { action, id, target: self.target, timeout }.into()
            }
            CallError::Unanswered(_) | CallError::TooLarge { .. } => NetworkError::new(error).into(),
        }
    }

    /// Has the follower take over a snapshot that holds at least what is up to `least`: the engine counts that as
    /// replicated from then on.
    async fn send_snapshot(
        &mut self,
        vote: Vote,
        least: Option<LogId>,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        // Nothing is exported for a follower that is not there.
        if let Err(error) = self.peer().call(kind::STATUS, Bytes::new(), APPEND_TIMEOUT).await {
            return Err(Unreachable::new(&error).into());
        }
        let network = &self.network;
        let offer = match network.exports.offer(&network.replica, least).await {
            Ok(offer) => offer,
            Err(error @ (SnapshotError::Store(_) | SnapshotError::File(_))) => {
                return Err(StorageError::read_snapshot(None, TypeConfig::err_from_error(&error)).into());
            }
            Err(error) => return Err(Unreachable::new(&error).into()),
        };
        let request = wire::encode(&InstallSnapshot { vote, offer, source: network.own_address.clone() });
        let reply: Result<Vote, String> =
            match self.call(kind::INSTALL_SNAPSHOT, request, SNAPSHOT_TIMEOUT, RPCTypes::InstallSnapshot).await {
                Ok(reply) => reply,
                Err(RPCError::Timeout(error)) => return Err(error.into()),
                Err(RPCError::Unreachable(error)) => return Err(error.into()),
                Err(RPCError::Network(error)) => return Err(error.into()),
                Err(RPCError::RemoteError(error)) => match error.source {},
            };
        match reply {
            Ok(vote) => Ok(SnapshotResponse::new(vote)),
            Err(reason) => Err(Unreachable::from_string(reason).into()),
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
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let request = wire::encode_append(self.network.peers.next_session(), &request);
        let reply: AppendReply = self.call(kind::APPEND, request, option.soft_ttl(), RPCTypes::AppendEntries).await?;
        Ok(match reply {
            Ok(matching) if matching == last => AppendEntriesResponse::Success,
            Ok(matching) => AppendEntriesResponse::PartialSuccess(matching),
            Err(openraft::raft::StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(openraft::raft::StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        let session = self.network.peers.next_session();
        let (this, peer) = (&*self, self.peer());
        let replies = input
            // Put in line one after another, so that they arrive in this order; answered meanwhile.
            .then(move |request| {
                let peer = peer.clone();
                async move { peer.send(kind::APPEND, wire::encode_append(session, &request), APPEND_TIMEOUT).await }
            })
            .map(move |sent| async move {
                let error = |error: CallError| this.error(&error, RPCTypes::AppendEntries, APPEND_TIMEOUT);
                let reply = sent.map_err(error)?.answer().await.map_err(error)?;
                wire::decode::<AppendReply>(&reply).map_err(|error| NetworkError::new(&error).into())
            })
            .buffered(APPENDS_IN_FLIGHT);
        async move { Ok(replies.boxed()) }.boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.call(kind::VOTE, wire::encode(&request), option.soft_ttl(), RPCTypes::Vote).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.call(kind::PRE_VOTE, wire::encode(&request), option.soft_ttl(), RPCTypes::Vote).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot.meta.last_log_id) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        self.call(kind::TRANSFER_LEADER, wire::encode(&request), option.soft_ttl(), RPCTypes::TransferLeader).await
    }
}

//! Raft's requests as they come in on the peer port.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, pin_mut};
use openraft::raft::AppendEntriesRequest;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::warn;

use super::state_machine::{Snapshot, SnapshotData};
use super::types::{Raft, TypeConfig};
use super::wire::{self, AppendReply, InstallSnapshot, ReadSnapshot, kind};
use super::{Consensus, snapshot};
use crate::rpc::{Lane, Replier, Request};

/// Appends of one session that wait for the engine.
const SESSION_QUEUE: usize = 64;

impl Consensus {
    /// Answers one of Raft's own requests, or `None` if the kind is not Raft's or the body makes no sense.
    pub(crate) async fn answer(&self, kind: u8, body: &Bytes) -> Option<Bytes> {
        let raft = &self.inner.raft;
        match kind {
            kind::APPEND => {
                let (_, request) = wire::decode_append(body.clone()).ok()?;
                let reply = append(raft, request).await?;
                self.heard(&reply);
                Some(wire::encode(&reply))
            }
            kind::VOTE => reply(raft.vote(wire::decode(body).ok()?).await),
            kind::PRE_VOTE => reply(raft.pre_vote(wire::decode(body).ok()?).await),
            kind::IDENTIFY => Some(wire::encode(&self.inner.member.peer)),
            kind::TRANSFER_LEADER => reply(raft.handle_transfer_leader(wire::decode(body).ok()?).await),
            kind::INSTALL_SNAPSHOT => Some(wire::encode(&self.install_snapshot(wire::decode(body).ok()?).await)),
            kind::OPEN_SNAPSHOT => {
                let offer = self.offer_snapshot(wire::decode(body).ok()?).await;
                Some(wire::encode(&offer.map_err(|error| error.to_string())))
            }
            kind::READ_SNAPSHOT => {
                let request: ReadSnapshot = wire::decode(body).ok()?;
                Some(wire::encode(&self.inner.exports.read(&request).await.ok()?))
            }
            _ => None,
        }
    }

    /// A receiver for the appends of one connection.
    pub(crate) fn appends(&self) -> Appends {
        Appends { consensus: self.clone(), session: None }
    }

    /// Takes note of an append. One that was refused may be of a leader that was deposed.
    fn heard(&self, reply: &AppendReply) {
        if reply.is_ok() {
            *self.inner.heard.lock().expect(LOCK) = Instant::now();
        }
    }

    async fn install_snapshot(&self, request: InstallSnapshot) -> Result<super::types::Vote, String> {
        let InstallSnapshot { vote, offer, source } = request;
        // A leader that has lost patience asks again while the first attempt still runs.
        let _alone = self.inner.installing.lock().await;
        let replica = &self.inner.replica;
        let snapshot = if replica.read_state(|state| state.applied) >= offer.meta.last_log_id {
            // The answer to an attempt that was successful has been lost. The engine won't read this one.
            SnapshotData::Store(replica.store())
        } else {
            let source = self.inner.peers.connect(&source, None, Lane::Snapshot);
            let file = snapshot::fetch(&source, &offer, &self.inner.incoming_dir).await.map_err(|error| {
                warn!(error = &error as &dyn std::error::Error, "could not fetch the snapshot");
                error.to_string()
            })?;
            SnapshotData::Received(file)
        };
        let snapshot = Snapshot { meta: offer.meta, snapshot };
        let installed = self.inner.raft.install_full_snapshot(vote, snapshot).await;
        installed.map(|response| response.vote).map_err(|error| error.to_string())
    }
}

/// A fatal error means that this node is stopping: no answer.
async fn append(raft: &Raft, request: AppendEntriesRequest<TypeConfig>) -> Option<AppendReply> {
    let replies = raft.stream_append(futures_util::stream::iter([request]));
    pin_mut!(replies);
    replies.next().await?.ok()
}

/// As [`append`].
fn reply<T: Serialize, E>(result: Result<T, E>) -> Option<Bytes> {
    result.ok().map(|reply| wire::encode(&reply))
}

/// Feeds the appends of one connection to the engine in order, without waiting for one to be flushed before the next.
///
/// A *session* is one run of consecutive appends. It ends with the first one that the engine refuses; what the leader
/// had sent after that is dropped, and the leader starts a new session.
#[derive(Debug)]
pub(crate) struct Appends {
    consensus: Consensus,
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    number: u64,
    requests: mpsc::Sender<AppendEntriesRequest<TypeConfig>>,
    /// Who waits for the answers, in order.
    repliers: Arc<Mutex<VecDeque<Replier>>>,
}

impl Appends {
    /// Takes one append. The answer is sent once it is flushed. `None` if the body makes no sense.
    pub(crate) async fn push(&mut self, request: Request) -> Option<()> {
        let (number, append) = wire::decode_append(request.payload).ok()?;
        if self.session.as_ref().is_none_or(|session| session.number != number) {
            self.session = Some(Session::start(&self.consensus, number));
        }
        let session = self.session.as_ref()?;
        session.repliers.lock().expect(LOCK).push_back(request.replier);
        if session.requests.send(append).await.is_err() {
            // The session ended meanwhile: what waits in it gets no answer.
            session.repliers.lock().expect(LOCK).clear();
        }
        Some(())
    }
}

const LOCK: &str = "nothing panics under these locks";

impl Session {
    fn start(consensus: &Consensus, number: u64) -> Self {
        let (requests, receiver) = mpsc::channel(SESSION_QUEUE);
        let repliers = Arc::new(Mutex::new(VecDeque::<Replier>::new()));
        let waiting = repliers.clone();
        let replies = consensus.inner.raft.stream_append(ReceiverStream::new(receiver));
        let consensus = consensus.clone();
        tokio::spawn(async move {
            pin_mut!(replies);
            while let Some(Ok(reply)) = replies.next().await {
                consensus.heard(&reply);
                let Some(replier) = waiting.lock().expect(LOCK).pop_front() else { return };
                let _ = replier.answer(wire::encode(&reply));
            }
            waiting.lock().expect(LOCK).clear();
        });
        Self { number, requests, repliers }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;
    use uuid::Uuid;

    use super::super::types::{LogId, Vote};
    use super::super::wire::Offer;
    use super::super::{CheckpointOptions, Member, Options, Peers, Timing, recover};
    use super::*;
    use crate::broker::{Broker, BrokerOptions};
    use crate::domain::{Epoch, NodeId};
    use crate::rpc::Endpoint;
    use crate::state::{KeyWindow, Quotas};
    use crate::storage::{Log, LogOptions};

    /// For what takes milliseconds.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// A node alone, once it leads itself.
    async fn founder(dir: &Path) -> Consensus {
        let peers = Peers::new(Endpoint::default());
        let incoming_dir = dir.join("incoming");
        let log = Log::open(&dir.join("log"), LogOptions::default()).expect("an empty log");
        let recovered = recover(log, &dir.join("state"), &incoming_dir, &peers, &[]).await.expect("an empty store");
        let (_, feed, _) = Broker::new(Epoch::from_seed([7; 16]), BrokerOptions::default());
        let options = Options {
            cluster: Uuid::from_u128(7),
            node: NodeId::new(1),
            member: Member::default(),
            peers,
            timing: Timing::default(),
            key_window: KeyWindow::default(),
            quotas: Quotas::default(),
            checkpoint: CheckpointOptions::default(),
            export_dir: dir.join("export"),
            incoming_dir,
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let founders = [(NodeId::new(1), Member::default())].into();
        let consensus =
            Consensus::start(options, recovered, feed, Some(founders), &tasks, stop).await.expect("it starts");
        let leads = consensus.wait(|now| now.leader == Some(NodeId::new(1)));
        assert!(tokio::time::timeout(PATIENCE, leads).await.expect("within 10 s"));
        consensus
    }

    /// Of a leader of this term that is not this node.
    fn vote(term: u64) -> Vote {
        Vote::new_committed(term, NodeId::new(2))
    }

    #[tokio::test]
    async fn a_snapshot_of_what_is_applied_already_is_not_fetched() {
        let dir = tempfile::tempdir().expect("a directory");
        let consensus = founder(dir.path()).await;
        let applied: Option<LogId> = consensus.inner.replica.read_state(|state| state.applied);
        let meta = super::super::types::SnapshotMeta { last_log_id: applied, ..Default::default() };
        let offer = Offer { meta, bytes: 1_000_000, digest: [7; 32] };
        // Nobody listens there.
        let request = InstallSnapshot { vote: vote(9), offer, source: "127.0.0.1:1".to_owned() };
        let answer = consensus.answer(kind::INSTALL_SNAPSHOT, &wire::encode(&request)).await.expect("an answer");
        assert_eq!(wire::decode::<Result<Vote, String>>(&answer).expect("readable"), Ok(vote(9)));
    }

    #[tokio::test]
    async fn a_leader_is_heard_of_by_what_is_taken_from_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let consensus = founder(dir.path()).await;
        let append = async |term: u64| {
            let (entries, prev_log_id, leader_commit) = (Vec::new(), None, None);
            let request = AppendEntriesRequest { vote: vote(term), prev_log_id, entries, leader_commit };
            let answer = consensus.answer(kind::APPEND, &wire::encode_append(1, &request)).await.expect("an answer");
            wire::decode::<AppendReply>(&answer).expect("readable").is_ok()
        };
        let heard = || *consensus.inner.heard.lock().expect(LOCK);
        let before = heard();
        assert!(!append(0).await, "of a leader that was deposed");
        assert_eq!(heard(), before);
        assert!(append(9).await);
        assert!(heard() > before);
    }
}

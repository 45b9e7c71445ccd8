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
use super::wire::{self, InstallSnapshot, ReadSnapshot, kind};
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
                let answer = append(raft, request).await?;
                self.heard();
                Some(answer)
            }
            kind::VOTE => reply(raft.vote(wire::decode(body).ok()?).await),
            kind::PRE_VOTE => reply(raft.pre_vote(wire::decode(body).ok()?).await),
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

    fn heard(&self) {
        *self.inner.heard.lock().expect(LOCK) = Instant::now();
    }

    async fn install_snapshot(&self, request: InstallSnapshot) -> Result<super::types::Vote, String> {
        let InstallSnapshot { vote, offer, source } = request;
        // A leader that has lost patience asks again while the first attempt still runs.
        let _alone = self.inner.installing.lock().await;
        let source = self.inner.peers.connect(&source, None, Lane::Snapshot);
        let file = snapshot::fetch(&source, &offer, &self.inner.incoming_dir).await.map_err(|error| {
            warn!(error = &error as &dyn std::error::Error, "could not fetch the snapshot");
            error.to_string()
        })?;
        let snapshot = Snapshot { meta: offer.meta, snapshot: SnapshotData::Received(file) };
        let installed = self.inner.raft.install_full_snapshot(vote, snapshot).await;
        installed.map(|response| response.vote).map_err(|error| error.to_string())
    }
}

async fn append(raft: &Raft, request: AppendEntriesRequest<TypeConfig>) -> Option<Bytes> {
    let replies = raft.stream_append(futures_util::stream::iter([request]));
    pin_mut!(replies);
    reply(replies.next().await?)
}

/// A fatal error means that this node is stopping: no answer.
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
            while let Some(Ok(result)) = replies.next().await {
                consensus.heard();
                let Some(replier) = waiting.lock().expect(LOCK).pop_front() else { return };
                let _ = replier.answer(wire::encode(&result));
            }
            waiting.lock().expect(LOCK).clear();
        });
        Self { number, requests, repliers }
    }
}

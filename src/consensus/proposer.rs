//! Proposals on the leader: what arrives while an entry is being flushed becomes the next one.
//!
//! This is the group commit in front of the log. Commands of this node's clients and those forwarded by followers meet
//! in one queue; one task turns them into entries, and a bounded number of entries is on its way at any time. There is
//! no timer: alone, a publish is proposed at once; under load, batches grow by themselves. An entry costs far
//! more than a command in it, so whoever is about to propose is let in first.

use std::sync::Arc;

use openraft::errors::{ClientWriteError, RaftError};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::gather::until_no_more_come;
use super::types::{Applied, Proposal, Raft, TypeConfig};
use super::wire::Proposed;
use crate::domain::Timestamp;
use crate::durations::Durations;
use crate::state::{EncodedCommand, Entry, KeyWindow, Outcome, Quotas};

/// Entries proposed and not yet applied. Two keep the disk busy while the last one is applied and answered; more only
/// split batches into smaller ones.
const ENTRIES_IN_FLIGHT: usize = 2;

/// Commands in one entry.
const ENTRY_COMMANDS_MAX: usize = 1024;

/// In bytes, of one entry. A batch publish that is larger goes alone.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// Requests waiting to be proposed. Beyond this, whoever proposes waits.
const QUEUE_MAX: usize = 16 * 1024;

/// Why commands have no outcomes. Says whether trying again can do them twice.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProposeError {
    /// Nothing was proposed.
    #[error("this node doesn't lead, or has lost its quorum")]
    NotLeader,
    /// The entry was appended. It may be committed, now or later.
    #[error("leadership changed after the entry was appended")]
    Unknown,
    /// Nothing was proposed.
    #[error("consensus has stopped")]
    Stopping,
}

/// Commands that want one entry, and who waits for them.
struct Request {
    commands: Vec<EncodedCommand>,
    reply: oneshot::Sender<Result<Proposed, ProposeError>>,
}

impl Request {
    fn bytes(&self) -> usize {
        self.commands.iter().map(|command| command.as_bytes().len()).sum()
    }
}

/// The queue. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Proposer {
    queue: mpsc::Sender<Request>,
    commits: Durations,
}

impl Proposer {
    /// The queue, and the task that empties it, which ends when every handle is gone.
    pub(super) fn new(raft: Raft, key_window: KeyWindow, quotas: Quotas) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        (Self { queue, commits: Durations::default() }, run(raft, key_window, quotas, requests))
    }

    /// Proposes commands, in one entry and in this order, and waits until they are applied here.
    pub(super) async fn propose(&self, commands: Vec<EncodedCommand>) -> Result<Proposed, ProposeError> {
        let begun = Instant::now();
        let (reply, wait) = oneshot::channel();
        self.queue.send(Request { commands, reply }).await.map_err(|_| ProposeError::Stopping)?;
        // A dropped reply means that the engine stopped with the entry in its hands.
        let proposed = wait.await.unwrap_or(Err(ProposeError::Unknown));
        if proposed.is_ok() {
            self.commits.record(begun.elapsed());
        }
        proposed
    }

    /// How long it took from here until commands were applied.
    pub(super) fn commits(&self) -> &Durations {
        &self.commits
    }
}

async fn run(raft: Raft, key_window: KeyWindow, quotas: Quotas, mut requests: mpsc::Receiver<Request>) {
    let in_flight = Arc::new(Semaphore::new(ENTRIES_IN_FLIGHT));
    let mut held_over = None;
    loop {
        let permit = in_flight.clone().acquire_owned().await.expect("the semaphore is never closed");
        let Some(first) = (match held_over.take() {
            Some(request) => Some(request),
            None => requests.recv().await,
        }) else {
            return;
        };
        until_no_more_come(&requests, first.bytes()).await;
        let (mut batch, next) = gather(first, &mut requests);
        held_over = next;
        // Who has given up meanwhile was told that the outcome is unknown; so late it had better not happen.
        batch.retain(|request| !request.reply.is_closed());
        if batch.is_empty() {
            continue;
        }

        let commands: Vec<EncodedCommand> = batch.iter().flat_map(|request| request.commands.clone()).collect();
        let proposal = Proposal(Entry::join(Timestamp::now(), key_window, quotas, &commands));
        let raft = raft.clone();
        tokio::spawn(async move {
            let result = raft.client_write(proposal).await;
            drop(permit);
            answer(batch, result.map(|response| response.data).map_err(|error| classify(&error)));
        });
    }
}

/// Takes what else is waiting, up to the bounds of an entry. The request that no longer fits is handed back.
fn gather(first: Request, requests: &mut mpsc::Receiver<Request>) -> (Vec<Request>, Option<Request>) {
    let (mut count, mut bytes) = (first.commands.len(), first.bytes());
    let mut batch = vec![first];
    while let Ok(request) = requests.try_recv() {
        count += request.commands.len();
        bytes += request.bytes();
        if count > ENTRY_COMMANDS_MAX || bytes > ENTRY_BYTES_MAX {
            return (batch, Some(request));
        }
        batch.push(request);
    }
    (batch, None)
}

fn answer(batch: Vec<Request>, result: Result<Applied, ProposeError>) {
    match result {
        Ok(Applied { index, outcomes }) => {
            let mut outcomes = outcomes.into_iter();
            for request in batch {
                let outcomes: Vec<Outcome> = outcomes.by_ref().take(request.commands.len()).collect();
                let _ = request.reply.send(Ok(Proposed { index, outcomes }));
            }
        }
        Err(error) => batch.into_iter().for_each(|request| {
            let _ = request.reply.send(Err(error));
        }),
    }
}

fn classify(error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ProposeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => ProposeError::NotLeader,
        RaftError::APIError(
            ClientWriteError::LogEntryDiscarded(_)
            | ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_),
        )
        | RaftError::Fatal(_) => ProposeError::Unknown,
    }
}

//! Writes on their way to the leader.
//!
//! One hop, one deadline: a node that doesn't lead passes encoded commands on over the peer port, many in one request,
//! and knows afterwards whether they may have been done.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Duration, Instant, sleep};

use crate::consensus::wire::{self, Propose, ProposeRefused, ProposeReply, kind};
use crate::consensus::{Consensus, ProposeError, Proposed, until_no_more_come};
use crate::domain::{NodeId, TraceContext};
use crate::rpc::{CallError, Lane, Peer};
use crate::state::EncodedCommand;
use crate::trace::{self, Kind, Span};

/// Requests to the leader that wait for an answer. What arrives meanwhile goes with the next.
const REQUESTS_IN_FLIGHT: usize = 4;

/// In bytes, of one request: an entry takes no more.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// Commands of one request.
const REQUEST_COMMANDS_MAX: usize = 1024;

/// Commands waiting to be forwarded. Beyond this, whoever writes waits.
const QUEUE_MAX: usize = 16 * 1024;

/// For a node that no longer leads to answer what it proposed while it did. Its successor commits that first of all. A node
/// that is gone never answers, and then this is what an election costs on top.
const ANSWER_AFTER_LEADING: Duration = Duration::from_millis(400);

/// A command and who waits for it.
struct Waiting {
    command: EncodedCommand,
    /// What it is part of, if that is recorded.
    trace: Option<TraceContext>,
    deadline: Instant,
    reply: oneshot::Sender<Result<Proposed, ProposeError>>,
}

/// The queue of this node. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Forwarder {
    queue: mpsc::Sender<Waiting>,
}

impl Forwarder {
    /// The queue, and the task that empties it, which ends when every handle is gone.
    pub(super) fn new(consensus: Consensus) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        (Self { queue }, run(consensus, waiting))
    }

    /// Has the leader propose a command. The answer holds the one outcome.
    pub(super) async fn propose(&self, command: EncodedCommand, deadline: Instant) -> Result<Proposed, ProposeError> {
        let (reply, wait) = oneshot::channel();
        let mut span = trace::span(Kind::Client, "forward");
        let trace = span.as_ref().and_then(Span::passed_on);
        let waiting = Waiting { command, trace, deadline, reply };
        self.queue.send(waiting).await.map_err(|_| ProposeError::Stopping)?;
        let proposed = wait.await.unwrap_or(Err(ProposeError::Stopping));
        span.iter_mut().filter(|_| proposed.is_err()).for_each(Span::fail);
        proposed
    }
}

async fn run(consensus: Consensus, mut queue: mpsc::Receiver<Waiting>) {
    let in_flight = Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT));
    loop {
        let permit = in_flight.clone().acquire_owned().await.expect("the semaphore is never closed");
        let Some(first) = queue.recv().await else { return };
        until_no_more_come(&queue, first.command.as_bytes().len()).await;
        let mut batch = gather(first, &mut queue);
        // Nobody is to find a write done later of which it was told that it may not be.
        batch.retain(|waiting| !waiting.reply.is_closed());
        if batch.is_empty() {
            continue;
        }
        let consensus = consensus.clone();
        tokio::spawn(async move {
            let result = match consensus.leader() {
                Some((node, member)) if node != consensus.node() => {
                    let peer = consensus.peers().connect(&member.peer, Some(node), Lane::Forward);
                    let deadline = batch.iter().map(|waiting| waiting.deadline).max().unwrap_or_else(Instant::now);
                    let commands = batch.iter().map(|waiting| waiting.command.as_bytes().clone()).collect();
                    let traces = batch.iter().filter_map(|waiting| waiting.trace).collect();
                    let propose = Propose { commands, traces };
                    tokio::select! {
                        result = send(&peer, &propose, deadline) => result,
                        () = deposed(&consensus, node) => Err(ProposeError::Unknown),
                    }
                }
                // It has become the leader meanwhile, or there is none.
                _ => Err(ProposeError::NotLeader),
            };
            drop(permit);
            answer(batch, result);
        });
    }
}

/// Waits until another node has led for a while. One that was cut off never answers; one that has handed over
/// leadership still answers what it had proposed.
async fn deposed(consensus: &Consensus, leader: NodeId) {
    consensus.wait(|now| now.stopped || now.leader.is_some_and(|other| other != leader)).await;
    sleep(ANSWER_AFTER_LEADING).await;
}

fn gather(first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> Vec<Waiting> {
    let mut bytes = first.command.as_bytes().len();
    let mut batch = vec![first];
    while bytes < REQUEST_BYTES_MAX && batch.len() < REQUEST_COMMANDS_MAX {
        let Ok(next) = queue.try_recv() else { break };
        bytes += next.command.as_bytes().len();
        batch.push(next);
    }
    batch
}

async fn send(peer: &Peer, propose: &Propose, deadline: Instant) -> Result<Proposed, ProposeError> {
    let timeout = deadline.saturating_duration_since(Instant::now());
    match peer.call(kind::PROPOSE, propose.encode(), timeout).await {
        Ok(reply) => match wire::decode::<ProposeReply>(&reply) {
            Ok(Ok(proposed)) => Ok(proposed),
            Ok(Err(ProposeRefused::NotLeader | ProposeRefused::Stopping)) => Err(ProposeError::NotLeader),
            Ok(Err(ProposeRefused::Unknown)) | Err(_) => Err(ProposeError::Unknown),
        },
        Err(CallError::NotSent(_) | CallError::Refused(_) | CallError::TooLarge { .. }) => Err(ProposeError::NotLeader),
        Err(CallError::Unanswered(_)) => Err(ProposeError::Unknown),
    }
}

fn answer(batch: Vec<Waiting>, result: Result<Proposed, ProposeError>) {
    match result {
        Ok(Proposed { index, outcomes }) => {
            for (waiting, outcome) in batch.into_iter().zip(outcomes) {
                let _ = waiting.reply.send(Ok(Proposed { index, outcomes: vec![outcome] }));
            }
        }
        Err(error) => batch.into_iter().for_each(|waiting| {
            let _ = waiting.reply.send(Err(error));
        }),
    }
}

//! Founding a cluster anew, from a backup or from what one node has left of a cluster that lost its majority.
//!
//! Either way a node's log comes to end with an entry that makes it the only member, of a later term than any before. It
//! starts like any node, elects itself, and commits all that its log holds: entries of which it is not known that a
//! majority had them are kept rather than dropped, since they may have been acknowledged. What makes it another cluster is
//! its new id, which is the caller's to write down: nodes of the old one are refused, and cursors have another epoch.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::mpsc;

use openraft::EntryPayload;
use openraft::entry::RaftEntry as _;
use thiserror::Error;

use super::replica::Stored;
use super::snapshot::{self, SnapshotError};
use super::types::{LogId, Membership, RaftEntry, Vote};
use super::{codec, entry};
use crate::domain::{LogIndex, NodeId, Position, Timestamp};
use crate::state::{self, Machine};
use crate::storage::{Log, LogError, Store, StoreError, exported_rows};

/// No cluster could be founded.
#[derive(Debug, Error)]
pub enum RefoundError {
    /// The backup, or the checkpoint.
    #[error(transparent)]
    Rows(#[from] SnapshotError),
    /// The file is a part of a node, or of one that was empty.
    #[error("nothing was ever applied to it")]
    Empty,
    /// The checkpoint is older than what the log begins with.
    #[error("the checkpoint is lost or older than the log, which reaches back only to entry {first}")]
    Hole {
        /// The first entry that the log holds.
        first: LogIndex,
    },
    /// The node was removed from the cluster, or never came to belong to it.
    #[error("node {node} is no member of its cluster")]
    NotMember {
        /// The node.
        node: NodeId,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log could not be written, or is of another version.
    #[error("the log")]
    Io(#[from] io::Error),
}

impl From<StoreError> for RefoundError {
    fn from(error: StoreError) -> Self {
        Self::Rows(error.into())
    }
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The last entry of the log that was applied.
    pub entry: LogIndex,
    /// The newest message.
    pub position: Position,
    /// The log's time.
    pub time: Timestamp,
    /// Topics.
    pub topics: usize,
    /// Messages that they retain.
    pub messages: u64,
}

impl Contents {
    fn of(machine: &Machine) -> Self {
        let topics = machine.topics("", None, usize::MAX);
        Self {
            entry: machine.applied(),
            position: machine.position(),
            time: machine.time(),
            topics: topics.len(),
            messages: topics.iter().map(|topic| topic.messages).sum(),
        }
    }
}

/// What a cluster was founded on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refounded {
    /// The last entry of the old cluster that it has.
    pub entry: LogIndex,
    /// The log's time then.
    pub time: Timestamp,
}

/// Reads a backup to its end, and tells what is in it. Blocks.
///
/// # Errors
/// It is damaged, cut off, something else, or of another version.
pub fn contents(backup: &Path) -> Result<Contents, RefoundError> {
    Ok(Contents::of(&read(backup)?.0))
}

fn read(backup: &Path) -> Result<(Machine, Stored, LogId), RefoundError> {
    let (machine, stored) = snapshot::read(exported_rows(backup)?)?;
    let applied = stored.applied.ok_or(RefoundError::Empty)?;
    Ok((machine, stored, applied))
}

/// Fills an empty log and an empty store with a backup. Answers what was in it, and which node the only member is: one that
/// was a voter. Blocks.
///
/// # Errors
/// As [`contents`]: then nothing has been written. Or the disk can't be written.
pub fn restore(backup: &Path, log: &Log, state_dir: &Path) -> Result<(Contents, NodeId), RefoundError> {
    let (machine, stored, applied) = read(backup)?;
    let membership = stored.membership.membership();
    let node = membership.voter_ids().min().ok_or(RefoundError::Empty)?;
    Store::open(state_dir)?.import(backup)?;
    written(|done| log.purge(LogIndex::new(applied.index), codec::encode(&applied), done))?;
    make_alone(log, applied, membership, node)?;
    Ok((Contents::of(&machine), node))
}

/// Makes a node the only member of its cluster. `None`: it is that already. Calls `confirmed` when nothing can be in the
/// way any more, and before anything is written. Blocks.
///
/// # Errors
/// The node has not got all that it must have, or the disk can't be written.
pub fn force_alone(
    log: &Log,
    state_dir: &Path,
    node: NodeId,
    confirmed: impl FnOnce() -> io::Result<()>,
) -> Result<Option<Refounded>, RefoundError> {
    let (machine, stored) = snapshot::load(&Store::open(state_dir)?)?;
    let purged: Option<LogId> = log.state().purged.map(|(_, mark)| codec::decode(&mark)).transpose().map_err(other)?;
    if stored.applied < purged {
        return Err(RefoundError::Hole { first: log.state().first });
    }
    let mut last = stored.applied.max(purged);
    let mut membership = stored.membership.membership().clone();
    let mut time = machine.time();
    let mut next = log.state().first;
    while let Some((index, bytes)) = log.read(next, next.next(), None)?.into_iter().next() {
        let entry = entry::decode(index.get(), &bytes)?;
        last = last.max(Some(entry.log_id));
        match entry.payload {
            EntryPayload::Membership(changed) => membership = changed,
            EntryPayload::Normal(proposal) => {
                time = time.max(state::Entry::decode(&proposal.0).map_err(other)?.time);
            }
            EntryPayload::Blank => {}
        }
        next = next.next();
    }
    let last = last.ok_or(RefoundError::Empty)?;
    if membership.get_node(&node).is_none() {
        return Err(RefoundError::NotMember { node });
    }
    if membership.nodes().count() == 1 && membership.voter_ids().eq([node]) {
        return Ok(None);
    }
    confirmed()?;
    make_alone(log, last, &membership, node)?;
    Ok(Some(Refounded { entry: LogIndex::new(last.index), time }))
}

/// Appends to a log that ends with `last` that `node` is the only member.
fn make_alone(log: &Log, last: LogId, members: &Membership, node: NodeId) -> Result<(), RefoundError> {
    let mut member = members.get_node(&node).cloned().unwrap_or_default();
    member.reads_along = false;
    let vote: Option<Vote> = log.state().vote.map(|bytes| codec::decode(&bytes)).transpose().map_err(other)?;
    let term = vote.map_or(0, |vote| vote.leader_id.term).max(*last.leader_id) + 1;
    let alone = Membership::new(vec![[node].into()], BTreeMap::from([(node, member)])).map_err(other)?;
    let log_id = LogId { leader_id: term.into(), index: last.index + 1 };
    let entry = RaftEntry::new(log_id, EntryPayload::Membership(alone));
    log.append(vec![(LogIndex::new(log_id.index), entry::encode(&entry))], |_| {});
    // One write takes both.
    written(|done| log.save_vote(codec::encode(&Vote::new(term, node)), done))
}

/// Queues a change of the log and waits until it is on disk.
fn written(queue: impl FnOnce(Box<dyn FnOnce(io::Result<()>) + Send>)) -> Result<(), RefoundError> {
    let (tell, told) = mpsc::channel();
    queue(Box::new(move |result| {
        let _ = tell.send(result);
    }));
    Ok(told.recv().unwrap_or_else(|_| Err(io::Error::other("the log has stopped")))?)
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RefoundError {
    io::Error::other(error).into()
}

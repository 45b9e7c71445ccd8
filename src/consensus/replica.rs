//! The applied state of this node: the machine in memory over the store on disk.
//!
//! [`Replica`] is written by the state machine's adapter and by checkpoints, and read by everybody else. It is what a
//! node *has applied*; it says nothing about what the cluster has committed.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, OnceLock, RwLock};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard, watch};

use super::checkpoint::CheckpointError;
use super::room::Room;
use super::types::{LogId, RaftEntry, StoredMembership};
use crate::domain::{LogIndex, NodeId, Position};
use crate::state::{self, Event, Machine, Outcome};
use crate::storage::Store;

/// How far this node has applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The last entry, `None` before the first.
    pub index: Option<LogIndex>,
    /// The last message.
    pub position: Position,
}

/// The applied state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Replica {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: RwLock<State>,
    /// Replaced as a whole when a snapshot is installed.
    store: RwLock<Store>,
    /// What the store holds.
    stored: RwLock<Stored>,
    /// Why the store can't be written any more.
    failure: OnceLock<CheckpointError>,
    room: Room,
    /// Held by whoever moves rows from memory to disk or replaces both: a checkpoint, an export, an installation.
    moving: Mutex<()>,
    progress: watch::Sender<Progress>,
    /// [`Machine::revocations`].
    revocations: watch::Sender<u64>,
}

/// The machine and what Raft wants to know of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) machine: Machine,
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
    pub(super) departed: BTreeSet<NodeId>,
}

/// What Raft wants to know of the store's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Stored {
    /// The last entry.
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
    /// The nodes that were members once. They are never let in again: what they acknowledged no longer counts, and with
    /// what they remember of the others they could form a majority of long ago.
    pub(super) departed: BTreeSet<NodeId>,
}

impl Replica {
    pub(super) fn new(machine: Machine, stored: Stored, store: Store) -> Self {
        let progress = watch::Sender::new(Progress {
            index: stored.applied.map(|applied| LogIndex::new(applied.index)),
            position: machine.position(),
        });
        let revocations = watch::Sender::new(machine.revocations());
        let state = State::new(machine, &stored);
        let inner = Inner {
            state: RwLock::new(state),
            store: RwLock::new(store),
            stored: RwLock::new(stored),
            failure: OnceLock::new(),
            room: Room::default(),
            moving: Mutex::new(()),
            progress,
            revocations,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Reads the machine. `read` must be short: applying waits for it.
    pub fn read<T>(&self, read: impl FnOnce(&Machine) -> T) -> T {
        self.read_state(|state| read(&state.machine))
    }

    /// What is older than the last checkpoint. Only valid until a snapshot replaces it: don't keep it.
    #[must_use]
    pub fn store(&self) -> Store {
        self.inner.store.read().expect(LOCK).clone()
    }

    /// Follows what is applied.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.inner.progress.subscribe()
    }

    /// Follows who is turned away. It is told before what is applied behind it reaches any subscriber.
    #[must_use]
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.inner.revocations.subscribe()
    }

    pub(super) fn read_state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.inner.state.read().expect(LOCK))
    }

    pub(super) fn write_state<T>(&self, write: impl FnOnce(&mut State) -> T) -> T {
        write(&mut self.inner.state.write().expect(LOCK))
    }

    pub(super) fn stored(&self) -> Stored {
        self.inner.stored.read().expect(LOCK).clone()
    }

    pub(super) fn set_stored(&self, stored: Stored) {
        *self.inner.stored.write().expect(LOCK) = stored;
    }

    /// Why the store can't be written any more, if it can't.
    pub(super) fn failure(&self) -> Option<CheckpointError> {
        self.inner.failure.get().cloned()
    }

    /// Notes that the store can't be written any more. The first reason is kept.
    pub(super) fn fail(&self, error: CheckpointError) {
        let _ = self.inner.failure.set(error);
    }

    /// Whether the disk has room for the next checkpoint.
    pub(super) fn room(&self) -> &Room {
        &self.inner.room
    }

    /// Waits until nobody else moves rows between memory and disk.
    pub(super) async fn begin_move(&self) -> MutexGuard<'_, ()> {
        self.inner.moving.lock().await
    }

    /// Applies a group of committed entries. Answers the outcomes of each, and what subscribers are to be told; once they
    /// are, [`Self::announce`] follows.
    ///
    /// # Errors
    /// An entry can't be read. This node must not go on.
    pub(super) fn apply(&self, entries: Vec<RaftEntry>) -> io::Result<(Vec<Vec<Outcome>>, Vec<Event>)> {
        let mut decoded = Vec::with_capacity(entries.len());
        for entry in entries {
            let change = match entry.payload {
                openraft::EntryPayload::Blank => Change::Nothing,
                openraft::EntryPayload::Normal(proposal) => {
                    Change::Commands(state::Entry::decode(&proposal.0).map_err(io::Error::other)?)
                }
                openraft::EntryPayload::Membership(membership) => {
                    Change::Membership(StoredMembership::new(Some(entry.log_id), membership))
                }
            };
            decoded.push((entry.log_id, change));
        }

        let mut events: Vec<Event> = Vec::new();
        let (outcomes, revocations) = self.write_state(|state| {
            let apply = |(log_id, change)| state.apply(log_id, change, &mut events);
            (decoded.into_iter().map(apply).collect(), state.machine.revocations())
        });
        self.inner.revocations.send_if_modified(|told| std::mem::replace(told, revocations) != revocations);
        Ok((outcomes, events))
    }

    /// Tells everybody who follows [`Self::progress`] what is applied now. The broker must know of it before: a stream
    /// that goes on live once its cursor is reached would else be sent again what lies before the cursor.
    pub(super) fn announce(&self) {
        self.inner.progress.send_replace(self.read_state(State::progress));
    }

    /// Takes over the content of an installed snapshot, within [`Self::begin_move`]. [`Self::announce`] follows.
    pub(super) fn replace(&self, machine: Machine, stored: Stored, store: Store) {
        self.write_state(|state| {
            *self.inner.store.write().expect(LOCK) = store;
            *state = State::new(machine, &stored);
        });
        self.set_stored(stored);
        // Who was turned away meanwhile is not told apart from who was before.
        self.inner.revocations.send_modify(|told| *told = self.read(Machine::revocations));
    }
}

const LOCK: &str = "applying an entry never panics";

enum Change {
    Nothing,
    Commands(state::Entry),
    Membership(StoredMembership),
}

impl State {
    fn new(machine: Machine, stored: &Stored) -> Self {
        let Stored { applied, membership, departed } = stored.clone();
        Self { machine, applied, membership, departed }
    }

    /// What a store holds that is brought to this state.
    pub(super) fn stored(&self) -> Stored {
        Stored { applied: self.applied, membership: self.membership.clone(), departed: self.departed.clone() }
    }

    fn apply(&mut self, log_id: LogId, change: Change, events: &mut Vec<Event>) -> Vec<Outcome> {
        let index = LogIndex::new(log_id.index);
        self.applied = Some(log_id);
        match change {
            Change::Nothing => self.machine.skip(index),
            Change::Membership(membership) => {
                self.machine.skip(index);
                let is_member = |node: &NodeId| membership.membership().get_node(node).is_some();
                let left = self.membership.membership().nodes().map(|(node, _)| *node).filter(|node| !is_member(node));
                self.departed.extend(left);
                membership.membership().nodes().for_each(|(node, _)| self.machine.know(*node));
                self.membership = membership;
            }
            Change::Commands(entry) => return self.machine.apply(index, entry, events),
        }
        Vec::new()
    }

    fn progress(&self) -> Progress {
        Progress { index: self.applied.map(|applied| LogIndex::new(applied.index)), position: self.machine.position() }
    }
}

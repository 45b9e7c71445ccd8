//! A machine with a store and a log around it, as a node has them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use crate::domain::{LogIndex, Message};
use crate::state::rows::{self, RowChange};
use crate::state::{Checkpoint, Entry, Event, Machine, Outcome, Slot};

/// All rows of a store.
pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
pub(super) struct Replica {
    pub(super) machine: Machine,
    pub(super) rows: Rows,
    log: Vec<Entry>,
    checkpoint: Option<Checkpoint>,
}

impl Replica {
    /// Appends an entry to the log, by way of its bytes, and applies it.
    pub(super) fn apply(&mut self, entry: &Entry) -> (Vec<Outcome>, Vec<Event>) {
        self.log.push(Entry::decode(&entry.encode()).expect("an entry comes back from its bytes"));
        self.replay(self.log.len() - 1)
    }

    fn replay(&mut self, at: usize) -> (Vec<Outcome>, Vec<Event>) {
        let mut events = Vec::new();
        let index = LogIndex::new(at as u64 + 1);
        let outcomes = self.machine.apply(index, self.log[at].clone(), &mut events);
        (outcomes, events)
    }

    pub(super) fn begin_checkpoint(&mut self) {
        self.checkpoint = self.machine.begin_checkpoint().or(self.checkpoint.take());
    }

    pub(super) fn end_checkpoint(&mut self) {
        let Some(checkpoint) = self.checkpoint.take() else { return };
        for change in checkpoint.changes() {
            match change {
                RowChange::Put { key, value } => drop(self.rows.insert(key, value)),
                RowChange::Delete { key } => drop(self.rows.remove(&key)),
            }
        }
        self.machine.end_checkpoint(&checkpoint);
    }

    /// Stops without warning, and starts again from the store and the log.
    pub(super) fn restart(&mut self) {
        self.checkpoint = None;
        self.machine = Machine::restore(self.rows()).expect("the rows of a checkpoint");
        for at in usize::try_from(self.machine.applied().get()).expect("a short log")..self.log.len() {
            self.replay(at);
        }
    }

    /// The rows as a store hands them out.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), Infallible>> {
        self.rows.clone().into_iter().map(Ok)
    }

    /// Fetches the message, from wherever it is.
    pub(super) fn fetch(&self, slot: &Slot) -> Arc<Message> {
        match slot {
            Slot::Memory(message) => Arc::clone(message),
            Slot::Stored { topic, name, position } => {
                let value = self.rows.get(&rows::message_key(*topic, *position)).expect("retained, so stored");
                Arc::new(rows::decode_message(name.clone(), *position, value).expect("a message row"))
            }
        }
    }
}

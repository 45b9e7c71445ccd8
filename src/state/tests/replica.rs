//! A machine with a store and a log around it, as a node has them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use crate::domain::{LogIndex, Message};
use crate::state::codec;
use crate::state::keys::KeyRecord;
use crate::state::rows::{self, RowChange, RowKey, TopicRow};
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
        let before = self.rows.clone();
        for change in checkpoint.changes() {
            match change {
                RowChange::Put { key, value } => drop(self.rows.insert(key, value)),
                RowChange::Delete { key } => drop(self.rows.remove(&key)),
                RowChange::DeleteRange { keys, keep_last } => {
                    let mut range = before.range(keys);
                    if keep_last {
                        range.next_back();
                    }
                    range.for_each(|(key, _)| drop(self.rows.remove(key)));
                }
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

    /// What the rows hold, however it is spread over them, under the keys of rows that would hold one record each. Fails if
    /// a row holds nothing that is still wanted.
    pub(super) fn records(&self) -> Rows {
        let topic = |id| -> TopicRow {
            codec::decode_bare(&self.rows[&RowKey::Topic(id).encode()]).expect("the row of a topic")
        };
        let mut all = Rows::new();
        for (key, value) in &self.rows {
            let before = all.len();
            match RowKey::parse(key).expect("a key") {
                RowKey::Messages(id, _) => {
                    let TopicRow { name, evicted, .. } = topic(id);
                    let mut messages = rows::decode_messages(&name, key, value).expect("a row of messages");
                    messages.retain(|message| message.position > evicted.position);
                    let record = |message: Message| (RowKey::Messages(id, message.position), format!("{message:?}"));
                    all.extend(messages.into_iter().map(record).map(|(key, text)| (key.encode(), text.into())));
                }
                RowKey::Keys(id, first) => {
                    let mut records = rows::unpack_keys(first, value).expect("a row of keys");
                    records.retain(|(number, _)| *number >= topic(id).first_key);
                    let record = |(number, record): (u64, KeyRecord)| (RowKey::Keys(id, number), format!("{record:?}"));
                    all.extend(records.into_iter().map(record).map(|(key, text)| (key.encode(), text.into())));
                }
                _ => drop(all.insert(key.clone(), value.clone())),
            }
            assert_ne!(all.len(), before, "nothing in {key:?} is wanted");
        }
        all
    }

    /// Fetches the message, from wherever it is.
    pub(super) fn fetch(&self, slot: &Slot) -> Arc<Message> {
        match slot {
            Slot::Memory(message) => Arc::clone(message),
            Slot::Stored { topic, name, position } => {
                let row = self.rows.range(rows::message_row(*topic, *position)).next_back();
                let (key, value) = row.expect("retained, so stored");
                let messages = rows::decode_messages(name, key, value).expect("a row of messages");
                let found = messages.into_iter().find(|message| message.position == *position);
                Arc::new(found.expect("retained, so stored"))
            }
        }
    }
}

//! What is remembered of deleted topics.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::{Position, TopicName};

/// Deleted topics whose names are remembered. They cost some hundred bytes each, and are looked at only by readers that
/// come back after the deletion; what matters about the oldest is kept in one position when they are dropped.
pub const TOMBSTONES_MAX: usize = 10_000;

/// A topic that was deleted and is not there again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tombstone {
    pub(super) name: TopicName,
    /// The last message of this topic, or of an earlier one of the same name. Zero if there was none.
    pub(super) last_message: Position,
    /// The last position given out when it was deleted.
    pub(super) deleted_at: Position,
}

/// The deleted topics, numbered in the order in which they were deleted.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    by_number: BTreeMap<u64, Tombstone>,
    numbers: BTreeMap<TopicName, u64>,
    next: u64,
    /// No message of a topic whose tombstone was dropped stands after this position.
    forgotten_up_to: Position,
    /// Numbers whose rows differ from the store's.
    changed: BTreeSet<u64>,
}

impl Tombstones {
    pub(super) fn new(next: u64, forgotten_up_to: Position) -> Self {
        Self { next, forgotten_up_to, ..Self::default() }
    }

    pub(super) fn get(&self, name: &TopicName) -> Option<&Tombstone> {
        self.by_number.get(self.numbers.get(name)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Tombstone> {
        self.by_number.values()
    }

    pub(super) fn len(&self) -> u64 {
        self.by_number.len() as u64
    }

    /// The number of the next tombstone.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The last position that a message of a topic may have whose tombstone was dropped.
    pub(super) fn forgotten_up_to(&self) -> Position {
        self.forgotten_up_to
    }

    /// Remembers a deleted topic, and drops the oldest tombstone if there are too many.
    pub(super) fn bury(&mut self, tombstone: Tombstone) {
        let number = self.next;
        self.next += 1;
        self.changed.insert(number);
        self.insert(number, tombstone);
        if self.by_number.len() > TOMBSTONES_MAX
            && let Some((number, oldest)) = self.by_number.pop_first()
        {
            self.numbers.remove(&oldest.name);
            self.changed.insert(number);
            self.forgotten_up_to = self.forgotten_up_to.max(oldest.last_message);
        }
    }

    /// A topic of this name is created. Returns where the messages of its predecessors end, as far as that is known:
    /// never too early. The new topic remembers it, so the tombstone goes.
    pub(super) fn succeed(&mut self, name: &TopicName) -> Position {
        let Some(number) = self.numbers.remove(name) else { return self.forgotten_up_to };
        self.changed.insert(number);
        self.by_number.remove(&number).map_or(self.forgotten_up_to, |tombstone| tombstone.last_message)
    }

    /// Adds a tombstone that the store has. `false` if its number or name is taken.
    pub(super) fn insert(&mut self, number: u64, tombstone: Tombstone) -> bool {
        let name_is_free = self.numbers.insert(tombstone.name.clone(), number).is_none();
        self.by_number.insert(number, tombstone).is_none() && name_is_free
    }

    pub(super) fn changed_rows(&self) -> usize {
        self.changed.len()
    }

    /// The rows that have changed since the last call, or since they were read: `None` for those to delete.
    pub(super) fn take_changes(&mut self) -> Vec<(u64, Option<Tombstone>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|number| (number, self.by_number.get(&number).cloned())).collect()
    }
}

//! What is remembered of deleted topics.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::{Position, TopicName};

/// Deleted topics whose names are remembered. They cost some hundred bytes each, and are looked at only by readers that
/// come back after the deletion; what matters about the oldest is kept in one position when they are dropped.
pub const TOMBSTONES_MAX: usize = 10_000;

/// What is known of the end of one or more topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    /// No message of them stands after this position. Zero if there was none.
    pub(super) last_message: Position,
    /// The last position given out when the last of them was deleted. Nothing if there was none, or if its tombstone was
    /// dropped.
    pub(super) deleted_at: Option<Position>,
}

/// A topic that was deleted and is not there again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tombstone {
    pub(super) name: TopicName,
    /// Of this topic, and of earlier ones of the same name.
    pub(super) end: End,
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

    /// How the topics of this name ended, which may have been none. Never too early.
    pub(super) fn end(&self, name: &TopicName) -> End {
        let tombstone = self.numbers.get(name).and_then(|number| self.by_number.get(number));
        let forgotten = End { last_message: self.forgotten_up_to, deleted_at: None };
        tombstone.map_or(forgotten, |tombstone| tombstone.end)
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
            self.forgotten_up_to = self.forgotten_up_to.max(oldest.end.last_message);
        }
    }

    /// A topic of this name is created. Answers how its predecessors ended; the new topic remembers it, so the tombstone
    /// goes.
    pub(super) fn succeed(&mut self, name: &TopicName) -> End {
        let end = self.end(name);
        if let Some(number) = self.numbers.remove(name) {
            self.changed.insert(number);
            self.by_number.remove(&number);
        }
        end
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

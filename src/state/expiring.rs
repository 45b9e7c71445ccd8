//! Things that go when their time has come.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::expiry::EXPIRY_STEPS_PER_ENTRY_MAX;
use crate::domain::Timestamp;

/// A thing under its key, until its time has come. As its row has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    pub(super) expires_at: Timestamp,
}

/// Things under keys, numbered in the order in which they came, and counted by owner.
#[derive(Debug)]
pub(super) struct Expiring<K, V> {
    by_number: BTreeMap<u64, Item<K, V>>,
    numbers: BTreeMap<K, u64>,
    due: BTreeSet<(Timestamp, u64)>,
    next: u64,
    /// Whose a thing is, if it is somebody's.
    owner: fn(&V) -> Option<&str>,
    /// How many each owner has.
    owned: BTreeMap<String, u64>,
    /// Numbers whose rows differ from the store's.
    changed: BTreeSet<u64>,
}

/// The rows that have changed: nothing for those to delete.
pub(super) type Changes<K, V> = Vec<(u64, Option<Item<K, V>>)>;

impl<K: Clone + Ord, V: Clone> Expiring<K, V> {
    pub(super) fn starting_at(next: u64, owner: fn(&V) -> Option<&str>) -> Self {
        Self {
            by_number: BTreeMap::new(),
            numbers: BTreeMap::new(),
            due: BTreeSet::new(),
            next,
            owner,
            owned: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&Item<K, V>> {
        self.by_number.get(self.numbers.get(key)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Item<K, V>> {
        self.by_number.values()
    }

    pub(super) fn len(&self) -> u64 {
        self.by_number.len() as u64
    }

    /// How many have the owner of this one.
    pub(super) fn owned_like(&self, value: &V) -> u64 {
        (self.owner)(value).and_then(|owner| self.owned.get(owner)).copied().unwrap_or(0)
    }

    /// The number of the next one.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// When the first one has to go.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Adds one, in place of the one that has its key.
    pub(super) fn insert(&mut self, item: Item<K, V>) {
        self.remove(&item.key);
        let number = self.next;
        self.next += 1;
        self.changed.insert(number);
        self.put(number, item);
    }

    /// Removes one, if it is there.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(number) = self.numbers.get(key).copied() {
            self.take(number);
        }
    }

    /// Removes all for which this holds.
    pub(super) fn remove_where(&mut self, is_to_go: impl Fn(&Item<K, V>) -> bool) {
        let going = self.by_number.iter().filter(|(_, item)| is_to_go(item)).map(|(number, _)| *number);
        for number in going.collect::<Vec<_>>() {
            self.take(number);
        }
    }

    /// Removes those whose time has come, as many as one entry may.
    pub(super) fn expire(&mut self, now: Timestamp) {
        for _ in 0..EXPIRY_STEPS_PER_ENTRY_MAX {
            let Some((_, number)) = self.due.first().copied().filter(|(at, _)| *at <= now) else { return };
            self.take(number);
        }
    }

    /// Adds one that the store has. `false` if its number or key is taken, or the number was never given out.
    pub(super) fn restore(&mut self, number: u64, item: Item<K, V>) -> bool {
        let is_new =
            number < self.next && !self.by_number.contains_key(&number) && !self.numbers.contains_key(&item.key);
        self.put(number, item);
        is_new
    }

    pub(super) fn changed_rows(&self) -> usize {
        self.changed.len()
    }

    /// What has changed since the last call, or since the rows were read.
    pub(super) fn take_changes(&mut self) -> Changes<K, V> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|number| (number, self.by_number.get(&number).cloned())).collect()
    }

    fn put(&mut self, number: u64, item: Item<K, V>) {
        self.numbers.insert(item.key.clone(), number);
        self.due.insert((item.expires_at, number));
        if let Some(owner) = (self.owner)(&item.value) {
            *self.owned.entry(owner.to_owned()).or_default() += 1;
        }
        self.by_number.insert(number, item);
    }

    fn take(&mut self, number: u64) {
        let Some(item) = self.by_number.remove(&number) else { return };
        self.numbers.remove(&item.key);
        self.due.remove(&(item.expires_at, number));
        if let Some(owner) = (self.owner)(&item.value)
            && let Some(count) = self.owned.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                self.owned.remove(owner);
            }
        }
        self.changed.insert(number);
    }
}

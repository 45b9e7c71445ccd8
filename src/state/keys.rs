//! The idempotency keys a topic remembers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::KeyWindow;
use super::digest::Digest;
use super::expiry::{expires_at, is_expired};
use super::outcome::Published;
use super::queue::Queue;
use super::rows::Loss;
use crate::domain::{Fingerprint, IdempotencyKey, Message, Position, Seq, Timestamp};

/// A key, and the message that was first published under it.
#[derive(Clone, Debug)]
pub(super) struct KeyRecord {
    pub(super) key: Arc<IdempotencyKey>,
    pub(super) fingerprint: Fingerprint,
    pub(super) position: Position,
    pub(super) seq: Seq,
    pub(super) created_at: Timestamp,
}

impl KeyRecord {
    pub(super) fn of(message: &Message, key: IdempotencyKey, fingerprint: Fingerprint) -> Self {
        let Message { position, seq, created_at, .. } = *message;
        Self { key: Arc::new(key), fingerprint, position, seq, created_at }
    }

    fn digest(&self) -> Digest {
        let Self { key, fingerprint, position, seq, created_at } = self;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(key.as_str().as_bytes()), fingerprint.as_bytes());
        Digest::of([checksum.into(), position.get(), seq.get(), created_at.as_millis()])
    }

    /// The answer to a repeated publish.
    pub(super) fn repeated(&self) -> Published {
        let Self { position, seq, created_at, .. } = *self;
        Published { position, seq, created_at, repeated: true }
    }
}

/// The keys of one topic, numbered in the order in which they came and forgotten in that order.
#[derive(Debug)]
pub(super) struct Keys {
    records: Queue<KeyRecord>,
    numbers: BTreeMap<Arc<IdempotencyKey>, u64>,
    /// Of the records.
    digest: Digest,
    /// The numbers that the store has, or will have when the checkpoint under way is written.
    stored: Range<u64>,
}

/// What a checkpoint has to write.
#[derive(Debug)]
pub(super) struct KeyChanges {
    pub(super) forgotten: Option<Loss>,
    pub(super) new: Vec<(u64, KeyRecord)>,
}

impl Keys {
    pub(super) fn starting_at(first: u64) -> Self {
        Self {
            records: Queue::starting_at(first),
            numbers: BTreeMap::new(),
            digest: Digest::default(),
            stored: first..first,
        }
    }

    /// The numbers of the keys that are remembered.
    pub(super) fn remembered(&self) -> Range<u64> {
        self.records.numbers()
    }

    /// Of what is remembered.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// The record of a key, unless it is too old. What is too old may still be here, since only so much is forgotten
    /// with one entry; whether a publish is a repetition must not depend on that.
    pub(super) fn get(&self, key: &IdempotencyKey, window: KeyWindow, now: Timestamp) -> Option<&KeyRecord> {
        let record = self.records.get(*self.numbers.get(key)?)?;
        (!is_expired(record.created_at, window.max_age(), now)).then_some(record)
    }

    pub(super) fn remember(&mut self, record: KeyRecord) {
        let key = Arc::clone(&record.key);
        self.digest.add(record.digest());
        let number = self.records.push(record);
        self.numbers.insert(key, number);
    }

    /// Forgets the oldest keys until no more than the window's number are left.
    pub(super) fn forget_surplus(&mut self, window: KeyWindow) {
        while self.records.len() > window.max_keys {
            self.forget_oldest();
        }
    }

    /// Forgets what is too old, at most `steps_max` keys, and returns how many.
    pub(super) fn forget_expired(&mut self, window: KeyWindow, now: Timestamp, steps_max: usize) -> usize {
        let is_too_old = |record: &KeyRecord| is_expired(record.created_at, window.max_age(), now);
        let mut steps = 0;
        while steps < steps_max && self.records.oldest().is_some_and(is_too_old) {
            self.forget_oldest();
            steps += 1;
        }
        steps
    }

    fn forget_oldest(&mut self) {
        let number = self.remembered().start;
        let Some(record) = self.records.pop() else { return };
        self.digest.remove(record.digest());
        // The key may have come again after it was too old, under a new number.
        if self.numbers.get(&record.key) == Some(&number) {
            self.numbers.remove(&record.key);
        }
    }

    /// When the oldest key will be too old.
    pub(super) fn next_expiry(&self, window: KeyWindow) -> Option<Timestamp> {
        expires_at(self.records.oldest()?.created_at, window.max_age())
    }

    /// What has changed since the last call, or since the rows were read.
    pub(super) fn take_changes(&mut self) -> KeyChanges {
        let remembered = self.remembered();
        let forgets = self.stored.start < self.stored.end.min(remembered.start);
        let loss = if remembered.start < self.stored.end { Loss::Before(remembered.start) } else { Loss::All };
        let forgotten = forgets.then_some(loss);
        let new = self.stored.end.max(remembered.start)..remembered.end;
        let new = new.clone().zip(self.records.range(new).cloned()).collect();
        self.stored = remembered;
        KeyChanges { forgotten, new }
    }

    /// Adds a record that the store has.
    pub(super) fn restore(&mut self, record: KeyRecord) {
        self.remember(record);
        self.stored = self.remembered();
    }
}

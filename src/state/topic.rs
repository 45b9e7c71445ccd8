//! One topic: its settings, the index of what it retains, and its keys.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::KeyWindow;
use super::digest::{self, Digest};
use super::expiry::{expires_at, is_expired};
use super::keys::{KeyRecord, Keys};
use super::payloads::Payloads;
use super::queue::Queue;
use super::tombstones::End;
use crate::domain::{Message, NewMessage, Position, Retention, Seq, Timestamp, TopicName, TopicSettings};

/// Names a topic in the store. Never used again: what is left of a deleted topic can't turn up in a new one of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicId(u64);

impl TopicId {
    pub(super) const fn new(value: u64) -> Self {
        Self(value)
    }

    pub(super) const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is to be known about a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicInfo {
    /// Its name.
    pub name: TopicName,
    /// What it is set to.
    pub settings: TopicSettings,
    /// The log's time when it was created.
    pub created_at: Timestamp,
    /// Messages it retains.
    pub messages: u64,
    /// Bytes of these, as [`Message::size_bytes`] counts them.
    pub bytes: u64,
    /// The oldest message it retains, or [`Self::next_seq`] if there is none.
    pub first_seq: Seq,
    /// The message to come.
    pub next_seq: Seq,
    /// The newest message it was ever sent, retained or not. Zero if there was none.
    pub last_position: Position,
}

/// What the index knows of a retained message. Its seq is its number in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) position: Position,
    pub(super) created_at: Timestamp,
    size_bytes: u32,
    /// Of the payload, so that the message can leave the digest without being read.
    checksum: u32,
}

impl Kept {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            position: message.position,
            created_at: message.created_at,
            size_bytes: u32::try_from(message.size_bytes()).expect("a record of the log is far below 4 GiB"),
            checksum: digest::checksum(message),
        }
    }

    /// What it counts towards a topic's retention.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes.into()
    }

    /// The message itself: its seq follows from its place.
    pub(super) fn digest(&self) -> Digest {
        let Self { position, created_at, size_bytes, checksum } = *self;
        let payload = u64::from(size_bytes) << 32 | u64::from(checksum);
        Digest::of([position.get(), created_at.as_millis(), payload])
    }
}

/// The newest message that a topic has evicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Evicted {
    /// Its position; zero if there was none.
    pub(super) position: Position,
    pub(super) created_at: Timestamp,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: TopicId,
    pub(super) name: TopicName,
    pub(super) retention: Retention,
    /// Whether it has members.
    pub(super) presence: bool,
    pub(super) created_at: Timestamp,
    /// How earlier topics of this name ended.
    pub(super) predecessors: End,
    pub(super) evicted: Evicted,
    pub(super) last_message: Position,
    /// Numbered by seq.
    pub(super) retained: Queue<Kept>,
    pub(super) bytes: u64,
    /// Of the retained messages.
    pub(super) digest: Digest,
    pub(super) keys: Keys,
    /// Its place in [`super::expiry::Due`].
    pub(super) due: Option<Timestamp>,
    /// Whether its row differs from the store's. Kept by [`super::topics::Topics`].
    pub(super) changed: bool,
}

impl Topic {
    /// The first seq.
    const SEQ_FIRST: u64 = 1;

    pub(super) fn new(
        id: TopicId,
        name: TopicName,
        settings: TopicSettings,
        created_at: Timestamp,
        predecessors: End,
    ) -> Self {
        Self {
            id,
            name,
            retention: settings.retention,
            presence: settings.presence,
            created_at,
            predecessors,
            evicted: Evicted::default(),
            last_message: Position::ZERO,
            retained: Queue::starting_at(Self::SEQ_FIRST),
            bytes: 0,
            digest: Digest::default(),
            keys: Keys::starting_at(0),
            due: None,
            changed: false,
        }
    }

    pub(super) fn info(&self) -> TopicInfo {
        let seqs = self.retained.numbers();
        TopicInfo {
            name: self.name.clone(),
            settings: self.settings(),
            created_at: self.created_at,
            messages: self.retained.len(),
            bytes: self.bytes,
            first_seq: Seq::new(seqs.start),
            next_seq: Seq::new(seqs.end),
            last_position: self.last_message,
        }
    }

    pub(super) fn settings(&self) -> TopicSettings {
        TopicSettings { retention: self.retention, presence: self.presence }
    }

    /// The seq of the message to come.
    pub(super) fn next_seq(&self) -> Seq {
        Seq::new(self.retained.numbers().end)
    }

    /// Stores a message behind the others, and evicts what is surplus then.
    pub(super) fn append(
        &mut self,
        message: NewMessage,
        position: Position,
        created_at: Timestamp,
        payloads: &mut Payloads,
    ) -> Arc<Message> {
        let NewMessage { value, headers, kind, key } = message;
        let (topic, seq) = (self.name.clone(), self.next_seq());
        let message = Arc::new(Message { position, topic, seq, created_at, value, headers, kind });
        if let Some((key, fingerprint)) = key {
            self.keys.remember(KeyRecord::of(&message, key, fingerprint));
        }
        self.retain(Kept::of(&message));
        payloads.push(self.id, Arc::clone(&message));
        self.evict_surplus(payloads);
        message
    }

    /// Adds a message to the index.
    pub(super) fn retain(&mut self, kept: Kept) {
        self.last_message = kept.position;
        self.bytes += kept.size_bytes();
        self.digest.add(kept.digest());
        self.retained.push(kept);
    }

    /// Evicts until number and bytes keep their bounds.
    pub(super) fn evict_surplus(&mut self, payloads: &mut Payloads) {
        while self.retained.len() > self.retention.max_messages || self.bytes > self.retention.max_bytes {
            self.evict_oldest(payloads);
        }
    }

    /// Evicts and forgets what is too old, in at most `steps_max` steps, and returns how many it took.
    pub(super) fn expire(
        &mut self,
        now: Timestamp,
        window: KeyWindow,
        steps_max: usize,
        payloads: &mut Payloads,
    ) -> usize {
        let evicted = self.evict_expired(now, steps_max, payloads);
        evicted + self.keys.forget_expired(window, now, steps_max - evicted)
    }

    /// Evicts what is too old, at most `steps_max` messages, and returns how many.
    pub(super) fn evict_expired(&mut self, now: Timestamp, steps_max: usize, payloads: &mut Payloads) -> usize {
        let max_age = self.max_age();
        let is_too_old = |kept: &Kept| is_expired(kept.created_at, max_age, now);
        let mut steps = 0;
        while steps < steps_max && self.retained.oldest().is_some_and(is_too_old) {
            self.evict_oldest(payloads);
            steps += 1;
        }
        steps
    }

    fn evict_oldest(&mut self, payloads: &mut Payloads) {
        let Some(kept) = self.retained.pop() else { return };
        self.bytes -= kept.size_bytes();
        self.digest.remove(kept.digest());
        self.evicted = Evicted { position: kept.position, created_at: kept.created_at };
        payloads.evict(self.id, kept.position);
    }

    /// When the oldest message or key will be too old.
    pub(super) fn next_expiry(&self, window: KeyWindow) -> Option<Timestamp> {
        let message = self.retained.oldest().and_then(|kept| expires_at(kept.created_at, self.max_age()));
        let key = self.keys.next_expiry(window);
        message.into_iter().chain(key).min()
    }

    fn max_age(&self) -> Duration {
        Duration::from_secs(self.retention.max_age_seconds)
    }

    /// The seq of the first retained message after a position.
    pub(super) fn seq_after(&self, position: Position) -> u64 {
        self.retained.partition_point(|kept| kept.position <= position)
    }
}

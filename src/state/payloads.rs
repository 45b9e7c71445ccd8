//! The payloads of messages that the store doesn't have yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bundle;
use super::topic::TopicId;
use crate::domain::{Message, Position};

/// The messages that were published between two checkpoints and are still retained. Positions are dense, so a message is
/// found by counting.
#[derive(Debug, Default)]
pub(super) struct Generation {
    /// The last position before this generation.
    after: Position,
    slots: Vec<Option<(TopicId, Arc<Message>)>>,
    messages: usize,
    bytes: u64,
}

impl Generation {
    fn starting_after(after: Position) -> Self {
        Self { after, ..Self::default() }
    }

    /// The messages of each topic, in order.
    pub(super) fn by_topic(&self) -> BTreeMap<TopicId, Vec<&Message>> {
        let mut topics: BTreeMap<_, Vec<&Message>> = BTreeMap::new();
        for (topic, message) in self.slots.iter().flatten() {
            topics.entry(*topic).or_default().push(message);
        }
        topics
    }

    /// Whether a position is of an older generation.
    pub(super) fn follows(&self, position: Position) -> bool {
        position <= self.after
    }

    fn index(&self, position: Position) -> Option<usize> {
        usize::try_from(position.get().checked_sub(self.after.get())?.checked_sub(1)?).ok()
    }

    fn get(&self, position: Position) -> Option<&Arc<Message>> {
        let (_, message) = self.slots.get(self.index(position)?)?.as_ref()?;
        Some(message)
    }

    fn push(&mut self, topic: TopicId, message: Arc<Message>) {
        debug_assert_eq!(self.index(message.position), Some(self.slots.len()), "positions are dense");
        self.messages += 1;
        self.bytes += message.size_bytes() as u64;
        self.slots.push(Some((topic, message)));
    }

    /// Frees a message. `false` if it is of an older generation.
    fn forget(&mut self, position: Position) -> bool {
        let Some(index) = self.index(position) else { return false };
        if let Some((_, message)) = self.slots.get_mut(index).and_then(Option::take) {
            self.messages -= 1;
            self.bytes -= message.size_bytes() as u64;
        }
        true
    }
}

/// Where the payloads of retained messages are: in the current generation, in the frozen one while a checkpoint writes
/// it, or else in the store.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    current: Generation,
    frozen: Option<Arc<Generation>>,
    /// Topics of which the store has messages, or will have when the checkpoint under way is written, that they have
    /// evicted.
    evicted: BTreeSet<TopicId>,
    /// Messages that have left retention since the machine was built.
    evictions: u64,
}

/// What a checkpoint has to write.
#[derive(Debug)]
pub(super) struct Frozen {
    /// Retained when it was frozen, every one of them.
    pub(super) messages: Arc<Generation>,
    /// Topics of which the store has messages that they have evicted.
    pub(super) evicted: BTreeSet<TopicId>,
}

impl Payloads {
    /// All messages up to a position are in the store.
    pub(super) fn stored_up_to(position: Position) -> Self {
        Self { current: Generation::starting_after(position), ..Self::default() }
    }

    pub(super) fn push(&mut self, topic: TopicId, message: Arc<Message>) {
        self.current.push(topic, message);
    }

    /// The message left retention.
    pub(super) fn evict(&mut self, topic: TopicId, position: Position) {
        self.evictions += 1;
        if !self.current.forget(position) {
            self.evicted.insert(topic);
        }
    }

    /// Messages that have left retention since the machine was built.
    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// The payload of a retained message, unless only the store has it.
    pub(super) fn get(&self, position: Position) -> Option<&Arc<Message>> {
        self.current.get(position).or_else(|| self.frozen.as_ref()?.get(position))
    }

    /// Starts a new generation and hands out what the store lacks. `None` if the frozen generation isn't written yet.
    pub(super) fn freeze(&mut self, position: Position) -> Option<Frozen> {
        if self.frozen.is_some() {
            return None;
        }
        let messages = Arc::new(std::mem::replace(&mut self.current, Generation::starting_after(position)));
        self.frozen = Some(Arc::clone(&messages));
        Some(Frozen { messages, evicted: std::mem::take(&mut self.evicted) })
    }

    /// The frozen generation is in the store.
    pub(super) fn thaw(&mut self) {
        self.frozen = None;
    }

    /// Rows that a checkpoint would write now at most, if the messages are of so many topics.
    pub(super) fn changed_rows(&self, topics: usize) -> usize {
        bundle::rows_max(self.current.messages, topics, self.current.bytes)
    }

    /// Bytes of messages that a checkpoint would write now.
    pub(super) fn changed_bytes(&self) -> u64 {
        self.current.bytes
    }
}

//! Which messages a reader is to get, and where each of them is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::Machine;
use super::topic::{Kept, Topic, TopicId};
use crate::domain::{Message, Position, Selection, Timestamp, TopicName};

/// A message that is retained, and where it is.
///
/// Reads are planned on the machine and carried out without it. A stored message may have left retention, and its row
/// the store, in the meantime: then plan again and see whether there is a [`super::Hole`] now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Here.
    Memory(Arc<Message>),
    /// In the store, at [`super::rows::message_key`]. The rows of a topic stand in the order of their positions, so that
    /// neighbours of one topic are one range.
    Stored {
        /// The topic in the store.
        topic: TopicId,
        /// Its name.
        name: TopicName,
        /// The message.
        position: Position,
    },
}

impl Slot {
    /// The position of the message.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Memory(message) => message.position,
            Self::Stored { position, .. } => *position,
        }
    }
}

/// A page of a topic's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRange {
    /// Only messages after this position.
    pub after: Position,
    /// Only messages before this position.
    pub before: Option<Position>,
    /// The first so many.
    pub limit: usize,
    /// Newest first.
    pub reverse: bool,
}

impl Machine {
    /// A page of a topic's history; `None` if there is no such topic.
    #[must_use]
    pub fn history(&self, name: &TopicName, range: HistoryRange) -> Option<Vec<Slot>> {
        let topic = self.topics.get(name)?;
        let start = topic.seq_after(range.after);
        let end = range.before.map_or(u64::MAX, |before| topic.retained.partition_point(|kept| kept.position < before));
        let page = topic.retained.range(start..end).map(|kept| self.slot(topic, kept));
        Some(if range.reverse { page.rev().take(range.limit).collect() } else { page.take(range.limit).collect() })
    }

    /// The next messages of all topics of a selection, in their one order: those after `after` and up to `up_to`, at
    /// most `limit`. Costs a seek for each topic, and then the logarithm of their number for each message.
    #[must_use]
    pub fn read(&self, selection: &Selection, after: Position, up_to: Position, limit: usize) -> Vec<Slot> {
        let topics = self.topics.selected(selection);
        // The next message of a topic: its position, which topic, its seq there.
        let peek = |index: usize, seq: u64| {
            let kept = topics.get(index)?.retained.get(seq)?;
            (kept.position <= up_to).then_some(Reverse((kept.position, index, seq)))
        };
        let behind = topics.iter().enumerate().filter(|(_, topic)| topic.last_message > after);
        let mut next: BinaryHeap<_> = behind.filter_map(|(index, topic)| peek(index, topic.seq_after(after))).collect();
        let mut slots = Vec::new();
        while slots.len() < limit
            && let Some(Reverse((_, index, seq))) = next.pop()
        {
            if let Some(topic) = topics.get(index)
                && let Some(kept) = topic.retained.get(seq)
            {
                slots.push(self.slot(topic, kept));
            }
            next.extend(peek(index, seq + 1));
        }
        slots
    }

    /// The cursor that stands before the last `count` messages a topic retains, or behind everything if it has none.
    /// `None` if there is no such topic.
    #[must_use]
    pub fn tail(&self, name: &TopicName, count: u64) -> Option<Position> {
        let topic = self.topics.get(name)?;
        let seqs = topic.retained.numbers();
        let first = topic.retained.get(seqs.end.saturating_sub(count).max(seqs.start));
        Some(first.map_or(self.position, |kept| before(kept.position)))
    }

    /// The cursor that stands before the first message of the selection since `time`, or behind everything if there is
    /// none. If retention has evicted messages since then, the cursor stands before the newest of them, so that
    /// [`Self::holes`] tells.
    #[must_use]
    pub fn since(&self, selection: &Selection, time: Timestamp) -> Position {
        let first_since = |topic: &Topic| {
            if topic.evicted.position > Position::ZERO && topic.evicted.created_at >= time {
                return Some(topic.evicted.position);
            }
            let seq = topic.retained.partition_point(|kept| kept.created_at < time);
            Some(topic.retained.get(seq)?.position)
        };
        self.topics.selected(selection).into_iter().filter_map(first_since).min().map_or(self.position, before)
    }

    fn slot(&self, topic: &Topic, kept: &Kept) -> Slot {
        match self.payloads.get(kept.position) {
            Some(message) => Slot::Memory(Arc::clone(message)),
            None => Slot::Stored { topic: topic.id, name: topic.name.clone(), position: kept.position },
        }
    }
}

/// The cursor of a reader for whom the message at this position comes next.
fn before(position: Position) -> Position {
    Position::new(position.get().saturating_sub(1))
}

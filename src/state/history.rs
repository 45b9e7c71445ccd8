//! Which messages a reader is to get, and where each of them is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::iter;
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
    /// In the store, in [`super::rows::message_row`], which neighbours of one topic share.
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

/// How much a page holds. It ends before the message that would be too much, but it holds one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// So many messages.
    pub messages: usize,
    /// So much of their values and headers together.
    pub bytes: u64,
}

/// The next messages of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Where they are.
    pub slots: Vec<Slot>,
    /// Whether the page ends because of its limit, with more to read.
    pub more: bool,
}

/// A part of a topic's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRange {
    /// Only messages after this position.
    pub after: Position,
    /// Only messages before this position.
    pub before: Option<Position>,
    /// Newest first.
    pub reverse: bool,
}

impl Machine {
    /// A page of a topic's history; `None` if there is no such topic.
    #[must_use]
    pub fn history(&self, name: &TopicName, range: HistoryRange, limit: PageLimit) -> Option<Page> {
        let topic = self.topics.get(name)?;
        let start = topic.seq_after(range.after);
        let end = range.before.map_or(u64::MAX, |before| topic.retained.partition_point(|kept| kept.position < before));
        let messages = topic.retained.range(start..end).map(|kept| (topic, kept));
        Some(if range.reverse { self.page(messages.rev(), limit) } else { self.page(messages, limit) })
    }

    /// The next messages of all topics of a selection, in their one order: those after `after` and up to `up_to`. Costs
    /// a seek for each topic, and then the logarithm of their number for each message.
    #[must_use]
    pub fn read(&self, selection: &Selection, after: Position, up_to: Position, limit: PageLimit) -> Page {
        let topics = self.topics.selected(selection).into_iter().map(|topic| (topic, after));
        self.page(merge(topics, up_to), limit)
    }

    /// The first message that [`Self::read`] would find.
    #[must_use]
    pub fn first(&self, selection: &Selection, after: Position, up_to: Position) -> Option<Position> {
        let topics = self.topics.selected(selection).into_iter().map(|topic| (topic, after));
        merge(topics, up_to).next().map(|(_, kept)| kept.position)
    }

    /// For each topic of a selection the cursor that stands before the last `count` messages it retains.
    #[must_use]
    pub fn tails(&self, selection: &Selection, count: u64) -> BTreeMap<TopicName, Position> {
        let tail = |topic: &Topic| {
            let seqs = topic.retained.numbers();
            let first = topic.retained.get(seqs.end.saturating_sub(count).max(seqs.start))?;
            Some((topic.name.clone(), before(first.position)))
        };
        self.topics.selected(selection).into_iter().filter_map(tail).collect()
    }

    /// As [`Self::read`], of topics that are read from a cursor each.
    #[must_use]
    pub fn read_tails(
        &self,
        tails: &BTreeMap<TopicName, Position>,
        after: Position,
        up_to: Position,
        limit: PageLimit,
    ) -> Page {
        let topics = tails.iter().filter_map(|(name, from)| Some((self.topics.get(name)?, after.max(*from))));
        self.page(merge(topics, up_to), limit)
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

    fn page<'a>(&self, messages: impl Iterator<Item = (&'a Topic, &'a Kept)>, limit: PageLimit) -> Page {
        let mut page = Page::default();
        let mut bytes = 0;
        for (topic, kept) in messages {
            bytes += kept.size_bytes();
            if !page.slots.is_empty() && (page.slots.len() >= limit.messages || bytes > limit.bytes) {
                page.more = true;
                break;
            }
            page.slots.push(self.slot(topic, kept));
        }
        page
    }

    fn slot(&self, topic: &Topic, kept: &Kept) -> Slot {
        match self.payloads.get(kept.position) {
            Some(message) => Slot::Memory(Arc::clone(message)),
            None => Slot::Stored { topic: topic.id, name: topic.name.clone(), position: kept.position },
        }
    }
}

/// The messages of topics after a cursor each, up to `up_to`, in their one order.
fn merge<'a>(
    topics: impl Iterator<Item = (&'a Topic, Position)>,
    up_to: Position,
) -> impl Iterator<Item = (&'a Topic, &'a Kept)> {
    let behind: Vec<_> = topics.filter(|(topic, after)| topic.last_message > *after).collect();
    // The next message of a topic: its position, which topic, its seq there.
    let peek = move |topic: &Topic, index: usize, seq: u64| {
        let kept = topic.retained.get(seq)?;
        (kept.position <= up_to).then_some(Reverse((kept.position, index, seq)))
    };
    let first = |(index, (topic, after)): (usize, &(&Topic, Position))| peek(topic, index, topic.seq_after(*after));
    let mut next: BinaryHeap<_> = behind.iter().enumerate().filter_map(first).collect();
    iter::from_fn(move || {
        let Reverse((_, index, seq)) = next.pop()?;
        let (topic, _) = *behind.get(index)?;
        next.extend(peek(topic, index, seq + 1));
        Some((topic, topic.retained.get(seq)?))
    })
}

/// The cursor of a reader for whom the message at this position comes next.
fn before(position: Position) -> Position {
    Position::new(position.get().saturating_sub(1))
}

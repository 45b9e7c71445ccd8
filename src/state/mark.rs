//! Marks: the digest of the whole state at one entry of the log, so that nodes can be compared while writes go on.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::Machine;
use super::checkpoint;
use super::codec;
use super::digest::Digest;
use super::rows::RowKey;
use super::topic::TopicId;
use crate::domain::{LogIndex, Position, TopicName};

/// Marks that are remembered. They are asked for at once; a restart forgets them, since they are no part of the state.
const MARKS_MAX: usize = 4;

/// Of what a mark covers. It goes into the digest, so nodes of which one covers something else differ; how they spread it
/// over rows is no part of it.
const VERSION: u8 = 5;

/// What a node held at one entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The entry.
    pub entry: LogIndex,
    /// The newest message then.
    pub position: Position,
    /// Of everything.
    pub digest: Digest,
    /// Of each topic with all that it has, in the order of their ids.
    pub topics: Vec<(TopicId, Digest)>,
}

/// Which messages of a topic a node retains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The newest message that the topic has evicted; zero if there was none.
    pub evicted: Position,
    /// The retained messages, oldest first.
    pub messages: Vec<(Position, Digest)>,
}

impl Holding {
    /// The first message that one of two nodes lacks, or has otherwise, of those that neither has evicted.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<Position> {
        let after = self.evicted.max(other.evicted);
        let kept = |holding: &Self| -> BTreeSet<(Position, Digest)> {
            holding.messages.iter().filter(|(position, _)| *position > after).copied().collect()
        };
        kept(self).symmetric_difference(&kept(other)).next().map(|(position, _)| *position)
    }
}

/// The last marks.
pub(super) type Marks = VecDeque<Mark>;

impl Machine {
    /// Notes a mark. Costs a look at each topic, not at each message.
    pub(super) fn mark(&mut self) {
        let mut digest = Digest::of_row(&RowKey::Meta.encode(), &codec::encode(VERSION, &self.meta()));
        let of_topic = |topic| Digest::of_row(&[], &codec::encode_bare(&checkpoint::row(topic)));
        let topics: Vec<_> = self.topics.all().map(|topic| (topic.id, of_topic(topic))).collect();
        for (id, topic) in &topics {
            digest.add(Digest::of([id.get(), topic.get()]));
        }
        for tombstone in self.tombstones.iter() {
            digest.add(Digest::of_row(&[], &codec::encode_bare(tombstone)));
        }
        for ticket in self.access.tickets.iter() {
            digest.add(Digest::of_row(&[], &codec::encode_bare(ticket)));
        }
        for revocation in self.access.revocations.iter() {
            digest.add(Digest::of_row(&[], &codec::encode_bare(revocation)));
        }
        for member in self.presence.iter() {
            digest.add(Digest::of_row(&[], &codec::encode_bare(member)));
        }
        if self.marks.len() == MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back(Mark { entry: self.applied, position: self.position, digest, topics });
    }

    /// The mark at an entry, if it is remembered.
    #[must_use]
    pub fn marked(&self, entry: LogIndex) -> Option<&Mark> {
        self.marks.iter().rev().find(|mark| mark.entry == entry)
    }

    /// A topic's name, if it is still there.
    #[must_use]
    pub fn topic_name(&self, id: TopicId) -> Option<&TopicName> {
        Some(&self.topics.by_id(id)?.name)
    }

    /// The messages of a topic that are retained up to a position.
    #[must_use]
    pub fn messages_up_to(&self, id: TopicId, up_to: Position) -> Holding {
        let Some(topic) = self.topics.by_id(id) else { return Holding::default() };
        let end = topic.retained.partition_point(|kept| kept.position <= up_to);
        let messages = topic.retained.range(topic.retained.numbers().start..end);
        Holding {
            evicted: topic.evicted.position,
            messages: messages.map(|kept| (kept.position, kept.digest())).collect(),
        }
    }
}

//! The state machine, and what can be asked of it.

use std::ops::Bound;

use super::access::Access;
use super::mark::Marks;
use super::payloads::Payloads;
use super::presence::Presence;
use super::tombstones::Tombstones;
use super::topic::{TopicId, TopicInfo};
use super::topics::Topics;
use crate::domain::{LogIndex, NodeId, Position, Timestamp, TopicName};

/// The replicated state. See the [module](super) for what it promises.
#[derive(Debug)]
pub struct Machine {
    pub(super) applied: LogIndex,
    pub(super) time: Timestamp,
    pub(super) position: Position,
    pub(super) last_node: NodeId,
    pub(super) topics: Topics,
    pub(super) payloads: Payloads,
    pub(super) tombstones: Tombstones,
    pub(super) access: Access,
    pub(super) presence: Presence,
    pub(super) marks: Marks,
}

impl Machine {
    /// The node that founds a cluster. It is never allotted.
    const FOUNDER: NodeId = NodeId::new(1);

    /// The state of a new cluster.
    #[must_use]
    pub fn new() -> Self {
        Self {
            applied: LogIndex::default(),
            time: Timestamp::default(),
            position: Position::ZERO,
            last_node: Self::FOUNDER,
            topics: Topics::new(TopicId::new(1)),
            payloads: Payloads::default(),
            tombstones: Tombstones::default(),
            access: Access::starting_at(0, 0),
            presence: Presence::default(),
            marks: Marks::default(),
        }
    }

    /// Takes note of a member: what is allotted from now on comes after its id. Those who found a cluster together are
    /// members before anything is allotted.
    pub fn know(&mut self, node: NodeId) {
        self.last_node = self.last_node.max(node);
    }

    /// The last entry of the log that was applied. 0 before the first.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// The position of the newest message.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The log's time: the highest of all applied entries.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// When an entry might evict messages, or forget keys, tickets or revocations for their age: from then on a leader
    /// without publishes should propose a [`super::Command::Tick`]. It may come too early, never too late, but for keys of idle topics after the
    /// window was shortened. Not later than [`Self::time`] if one entry was not enough for what was due.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.topics.next_due().into_iter().chain(self.access.next_due()).min()
    }

    /// Messages that have left retention since the machine was built.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.payloads.evictions()
    }

    /// How many topics there are.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// A topic, if it exists.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<TopicInfo> {
        Some(self.topics.get(name)?.info())
    }

    /// The topics whose names start with `prefix` and stand after `after`, in the order of their names, at most `limit`.
    #[must_use]
    pub fn topics(&self, prefix: &str, after: Option<&TopicName>, limit: usize) -> Vec<TopicInfo> {
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            Some(_) | None => Bound::Included(prefix),
        };
        self.topics
            .from(start)
            .take_while(|topic| topic.name.as_str().starts_with(prefix))
            .take(limit)
            .map(super::topic::Topic::info)
            .collect()
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

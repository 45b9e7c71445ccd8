//! What a reader has missed for good.

use super::Machine;
use super::topic::Topic;
use crate::domain::{Position, Selection, TopicName};

/// Messages of a topic after a reader's cursor that can't be read any more. Exact as long as the tombstones of all
/// topics that were deleted after the cursor are kept; a topic of which that isn't known counts as having one. So there
/// is never a silent hole, and a false one only for a cursor that is older than the last [`super::TOMBSTONES_MAX`]
/// deletions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// Retention evicted some.
    Retention {
        /// From here on nothing is missing: the first message the topic retains, or the next one to come.
        first_available: Position,
    },
    /// The topic was deleted with some of them, and created again.
    Recreated {
        /// See [`Hole::Retention`].
        first_available: Position,
    },
    /// The topic was deleted at or after the cursor, and is not there now.
    Deleted {
        /// Whether it had messages after the cursor. If not, nothing is lost but the topic.
        missed: bool,
    },
}

impl Machine {
    /// What a reader of this topic has missed who has everything up to `cursor`.
    #[must_use]
    pub fn hole(&self, name: &TopicName, cursor: Position) -> Option<Hole> {
        if let Some(topic) = self.topics.get(name) {
            return self.hole_in(topic, cursor);
        }
        let (last_message, deleted_at) = match self.tombstones.get(name) {
            Some(tombstone) => (tombstone.last_message, tombstone.deleted_at),
            // Perhaps it never existed, perhaps its tombstone was dropped. At the mark itself nothing is lost.
            None if cursor < self.tombstones.forgotten_up_to() => return Some(Hole::Deleted { missed: true }),
            None => return None,
        };
        (cursor <= deleted_at).then_some(Hole::Deleted { missed: cursor < last_message })
    }

    /// What a reader of these topics has missed who has everything up to `cursor`: the topics with holes, each once.
    /// Deleted topics that only a pattern selects, and whose tombstones were dropped, have no names here: see
    /// [`Self::forgot_deletions_after`].
    pub fn holes<'a>(
        &'a self,
        selection: &'a Selection,
        cursor: Position,
    ) -> impl Iterator<Item = (&'a TopicName, Hole)> {
        let existing = self
            .topics
            .selected(selection)
            .into_iter()
            .filter_map(move |topic| Some((&topic.name, self.hole_in(topic, cursor)?)));
        let named = selection
            .topics
            .iter()
            .filter(|name| self.topics.get(name).is_none())
            .filter_map(move |name| Some((name, self.hole(name, cursor)?)));
        let buried = self
            .tombstones
            .iter()
            .map(|tombstone| &tombstone.name)
            .filter(|name| !selection.topics.contains(*name) && selection.contains(name))
            .filter_map(move |name| Some((name, self.hole(name, cursor)?)));
        existing.chain(named).chain(buried)
    }

    /// Whether topics were deleted, with messages after `cursor`, whose names are not remembered any more. A pattern may
    /// have matched them.
    #[must_use]
    pub fn forgot_deletions_after(&self, cursor: Position) -> bool {
        cursor < self.tombstones.forgotten_up_to()
    }

    fn hole_in(&self, topic: &Topic, cursor: Position) -> Option<Hole> {
        let first_available = topic.first_available(self.position);
        if cursor < topic.replaced_up_to {
            Some(Hole::Recreated { first_available })
        } else if cursor < topic.evicted.position {
            Some(Hole::Retention { first_available })
        } else {
            None
        }
    }
}

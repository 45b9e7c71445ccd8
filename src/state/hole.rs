//! What a reader has missed for good.

use super::Machine;
use super::tombstones::End;
use super::topic::Topic;
use crate::domain::{Position, Selection, TopicName};

/// What a reader of a topic has to know before it reads on after its cursor. Exact as long as the tombstones of all
/// topics that were deleted after the cursor are kept; a topic of which that isn't known counts as having one. So there
/// is never a silent hole, and a false one only for a cursor that is older than the last [`super::TOMBSTONES_MAX`]
/// deletions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hole {
    /// A topic of this name was deleted at or after the cursor. There may be another one now.
    pub deleted: bool,
    /// Messages after the cursor that can't be read any more, if there are any.
    pub missed: Option<Missed>,
}

/// Where messages went that can't be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Retention evicted them.
    Evicted {
        /// The last of them.
        up_to: Position,
    },
    /// They were deleted with their topic.
    Deleted {
        /// The last of them.
        up_to: Position,
    },
}

impl Machine {
    /// What a reader of this topic has missed who has everything up to `cursor`.
    #[must_use]
    pub fn hole(&self, name: &TopicName, cursor: Position) -> Option<Hole> {
        if let Some(topic) = self.topics.get(name) {
            return Self::hole_in(topic, cursor);
        }
        // Perhaps it never existed, perhaps its tombstone was dropped.
        self.tombstones.end(name).hole(cursor).if_any()
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
            .filter_map(move |topic| Some((&topic.name, Self::hole_in(topic, cursor)?)));
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

    fn hole_in(topic: &Topic, cursor: Position) -> Option<Hole> {
        let Hole { deleted, missed } = topic.predecessors.hole(cursor);
        let up_to = topic.evicted.position;
        let evicted = (cursor < up_to).then_some(Missed::Evicted { up_to });
        Hole { deleted, missed: missed.or(evicted) }.if_any()
    }
}

impl Hole {
    fn if_any(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

impl End {
    /// At the last message itself nothing is missed. Who stands at the position of the deletion may have come before it
    /// or after it, and is told.
    fn hole(self, cursor: Position) -> Hole {
        let Self { last_message, deleted_at } = self;
        let missed = (cursor < last_message).then_some(Missed::Deleted { up_to: last_message });
        Hole { deleted: missed.is_some() || deleted_at.is_some_and(|deleted_at| cursor <= deleted_at), missed }
    }
}

//! When what is kept grows too old.

use std::collections::BTreeSet;
use std::time::Duration;

use super::topic::TopicId;
use crate::domain::Timestamp;

/// Messages evicted, keys forgotten and topics looked at for their age, at most, by one entry of the log. Thousands of
/// topics may fall due at once; the entries that follow go on where this one stopped. At well under a microsecond each,
/// an entry is held up by some milliseconds at most.
pub const EXPIRY_STEPS_PER_ENTRY_MAX: usize = 10_000;

/// When something of this age limit expires, if ever.
pub(super) fn expires_at(created_at: Timestamp, max_age: Duration) -> Option<Timestamp> {
    let max_age_ms = u64::try_from(max_age.as_millis()).ok()?;
    let millis = created_at.as_millis().checked_add(max_age_ms)?;
    (millis <= Timestamp::MAX.as_millis()).then(|| Timestamp::from_millis(millis))
}

/// Whether something of this age limit has expired. It has in the very millisecond in which it reaches the limit.
pub(super) fn is_expired(created_at: Timestamp, max_age: Duration, now: Timestamp) -> bool {
    expires_at(created_at, max_age).is_some_and(|at| at <= now)
}

/// Topics in the order in which they have to be looked at for what is too old.
///
/// A topic's time here is a lower bound: a busy topic, whose oldest message changes with each publish, is not moved each
/// time but corrected when its time has come. The time is a part of the topic's row, so that a restored machine looks at
/// the same topics in the same entries.
#[derive(Debug, Default)]
pub(super) struct Due(BTreeSet<(Timestamp, TopicId)>);

impl Due {
    /// Moves a topic from one time to another.
    pub(super) fn reschedule(&mut self, id: TopicId, from: Option<Timestamp>, to: Option<Timestamp>) {
        if from == to {
            return;
        }
        if let Some(at) = from {
            self.0.remove(&(at, id));
        }
        if let Some(at) = to {
            self.0.insert((at, id));
        }
    }

    /// The topic whose time comes first.
    pub(super) fn first(&self) -> Option<(Timestamp, TopicId)> {
        self.0.first().copied()
    }
}

//! What a topic keeps.

use serde::{Deserialize, Serialize};

/// What a topic keeps, whichever bound is reached first. Evictions follow from the log's content and the log's time, so
/// they are the same on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Messages. 0 keeps none: the topic is live only.
    pub max_messages: u64,
    /// Bytes of JSON, headers and type, as [`crate::domain::Message::size_bytes`] counts them.
    pub max_bytes: u64,
    /// Seconds of log time since a message was published.
    pub max_age_seconds: u64,
}

impl Default for Retention {
    /// 1,000 messages, 16 MiB, one day.
    fn default() -> Self {
        Self { max_messages: 1_000, max_bytes: 16 * 1024 * 1024, max_age_seconds: 86_400 }
    }
}

/// New values for some of a topic's bounds; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionChange {
    /// See [`Retention::max_messages`].
    pub max_messages: Option<u64>,
    /// See [`Retention::max_bytes`].
    pub max_bytes: Option<u64>,
    /// See [`Retention::max_age_seconds`].
    pub max_age_seconds: Option<u64>,
}

impl RetentionChange {
    /// The bounds after the change.
    #[must_use]
    pub fn applied_to(self, retention: Retention) -> Retention {
        Retention {
            max_messages: self.max_messages.unwrap_or(retention.max_messages),
            max_bytes: self.max_bytes.unwrap_or(retention.max_bytes),
            max_age_seconds: self.max_age_seconds.unwrap_or(retention.max_age_seconds),
        }
    }
}

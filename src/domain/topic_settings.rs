//! What a topic is set to.

use serde::{Deserialize, Serialize};

use super::{Retention, RetentionChange};

/// What a topic is set to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSettings {
    /// What it keeps.
    pub retention: Retention,
    /// Whether the cluster knows who reads it.
    pub presence: bool,
}

impl From<Retention> for TopicSettings {
    fn from(retention: Retention) -> Self {
        Self { retention, ..Self::default() }
    }
}

/// New values for some of a topic's settings; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    /// See [`TopicSettings::retention`].
    pub retention: RetentionChange,
    /// See [`TopicSettings::presence`].
    pub presence: Option<bool>,
}

impl SettingsChange {
    /// The settings after the change.
    #[must_use]
    pub fn applied_to(self, settings: TopicSettings) -> TopicSettings {
        TopicSettings {
            retention: self.retention.applied_to(settings.retention),
            presence: self.presence.unwrap_or(settings.presence),
        }
    }
}

impl From<RetentionChange> for SettingsChange {
    fn from(retention: RetentionChange) -> Self {
        Self { retention, ..Self::default() }
    }
}

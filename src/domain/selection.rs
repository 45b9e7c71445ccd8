//! What a stream subscribes to.

use std::collections::BTreeSet;

use super::{Pattern, TopicName};

/// The topics of a stream: names, which need not exist yet, and patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Topics by name.
    pub topics: BTreeSet<TopicName>,
    /// Patterns; a topic that one of them matches belongs to the selection from its creation on.
    pub patterns: BTreeSet<Pattern>,
}

impl Selection {
    /// A single topic.
    #[must_use]
    pub fn topic(name: TopicName) -> Self {
        Self { topics: BTreeSet::from([name]), patterns: BTreeSet::new() }
    }

    /// Whether the topic belongs to the selection.
    #[must_use]
    pub fn contains(&self, name: &TopicName) -> bool {
        self.topics.contains(name) || self.patterns.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether it selects nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.patterns.is_empty()
    }
}

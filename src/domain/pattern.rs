//! Patterns over topic names (`match=`).

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::{TopicName, TopicNameError};

/// A pattern over topic names. `*` stands for exactly one level, a final `**` for one or more; every other level stands
/// for itself. Both stand for whole levels only. Matching is linear in the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// Why a text is not a [`Pattern`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    /// `**` anywhere but at the end: matching would no longer be linear.
    #[error("`**` may only be the last level of a pattern")]
    RestNotLast,
    /// `*` as a part of a level.
    #[error("`*` stands for a whole level, between `:`: `orders:*`")]
    PartOfLevel,
    /// Its text breaks a rule of topic names that no topic could satisfy.
    #[error("not a pattern over topic names")]
    Name(#[source] TopicNameError),
}

impl Pattern {
    /// # Errors
    /// Longer than a topic name may be, empty, a control character, or `**` before the end.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        match TopicName::parse(text) {
            Ok(_) => {}
            Err(TopicNameError::Reserved) if text == "*" => {}
            Err(error) => return Err(PatternError::Name(error)),
        }
        let mut levels = text.split(':').rev();
        if levels.clone().any(|level| level.contains('*') && !matches!(level, "*" | "**")) {
            return Err(PatternError::PartOfLevel);
        }
        levels.next();
        if levels.any(|level| level == "**") {
            return Err(PatternError::RestNotLast);
        }
        Ok(Self(text.into()))
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern stands for this name.
    #[must_use]
    pub fn matches(&self, name: &TopicName) -> bool {
        let mut wanted = self.0.split(':');
        let mut found = name.levels();
        loop {
            match (wanted.next(), found.next()) {
                (Some("**"), Some(_)) | (None, None) => return true,
                (Some(want), Some(have)) if want == "*" || want == have => {}
                (_, _) => return false,
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_level_and_two_are_the_rest() {
        let cases = [
            ("orders:*", "orders:1", true),
            ("orders:*", "orders", false),
            ("orders:*", "orders:1:2", false),
            ("orders:**", "orders:1:2", true),
            ("orders:**", "orders", false),
            ("**", "anything:at:all", true),
            ("*", "one", true),
            ("*", "one:two", false),
            ("*:x", "a:x", true),
            ("a", "a", true),
            ("a:", "a:", true),
            ("a:*", "a:", true),
        ];
        for (pattern, name, expected) in cases {
            let matches = Pattern::parse(pattern).expect(pattern).matches(&TopicName::parse(name).expect(name));
            assert_eq!(matches, expected, "{pattern} over {name}");
        }
    }

    #[test]
    fn what_hardly_a_name_could_match_is_refused() {
        for text in ["a*", "*a:b", "a:b*", "***", "a:***"] {
            assert_eq!(Pattern::parse(text), Err(PatternError::PartOfLevel), "{text}");
        }
        assert_eq!(Pattern::parse("a:**:b"), Err(PatternError::RestNotLast));
        assert_eq!(Pattern::parse(""), Err(PatternError::Name(TopicNameError::Empty)));
        assert_eq!(Pattern::parse("repl.*"), Err(PatternError::Name(TopicNameError::Reserved)));
    }
}

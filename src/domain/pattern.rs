//! Patterns over topic names (`match=`).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{TopicName, TopicNameError, UserId};

/// A pattern over topic names. `*` stands for exactly one level, a final `**` for one or more; every other level stands
/// for itself. Both stand for whole levels only. Matching is linear in the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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
        !name.is_internal() && self.stands_for(name.as_str())
    }

    /// Whether the pattern, as one over users, stands for this one.
    #[must_use]
    pub fn matches_user(&self, user: &UserId) -> bool {
        self.stands_for(user.as_str())
    }

    fn stands_for(&self, text: &str) -> bool {
        let mut wanted = self.0.split(':');
        let mut found = text.split(':');
        loop {
            match (wanted.next(), found.next()) {
                (Some("**"), Some(_)) | (None, None) => return true,
                (Some(want), Some(have)) if want == "*" || want == have => {}
                (_, _) => return false,
            }
        }
    }

    /// The pattern for the names that both stand for, if there can be any. Linear in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let (mut one, mut two) = (self.0.split(':').peekable(), other.0.split(':').peekable());
        let mut both: Vec<&str> = Vec::new();
        loop {
            match (one.peek().copied(), two.peek().copied()) {
                (None, None) => break,
                (Some("**"), Some(_)) => {
                    both.extend(two);
                    break;
                }
                (Some(_), Some("**")) => {
                    both.extend(one);
                    break;
                }
                (Some("*"), Some(level)) | (Some(level), Some("*")) => both.push(level),
                (Some(level), Some(same)) if level == same => both.push(level),
                (Some(_) | None, Some(_) | None) => return None,
            }
            one.next();
            two.next();
        }
        // No topic has a longer name.
        let both = both.join(":");
        (both.len() <= TopicName::LEN_BYTES_MAX).then(|| Self(both.into()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_ref().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn an_intersection_is_one_pattern_or_none() {
        let cases = [
            ("**", "orders:*", Some("orders:*")),
            ("orders:**", "*:1", Some("orders:1")),
            ("orders:*", "orders:**", Some("orders:*")),
            ("a:*:**", "*:b:**", Some("a:b:**")),
            ("a:**", "a", None),
            ("a:*", "b:*", None),
            ("a:*", "a:b:c", None),
            ("a", "a", Some("a")),
        ];
        for (one, two, expected) in cases {
            let (one, two) = (Pattern::parse(one).expect(one), Pattern::parse(two).expect(two));
            let expected = expected.map(|text| Pattern::parse(text).expect(text));
            assert_eq!(one.intersection(&two), expected, "{one} and {two}");
            assert_eq!(two.intersection(&one), expected, "{two} and {one}");
        }
    }

    proptest! {
        #[test]
        fn what_an_intersection_stands_for_both_stand_for(
            one in "[ab*](:[ab*]){0,3}(:\\*\\*)?",
            two in "[ab*](:[ab*]){0,3}(:\\*\\*)?",
            name in "[ab](:[ab]){0,4}",
        ) {
            let (one, two) = (Pattern::parse(&one).expect("a pattern"), Pattern::parse(&two).expect("a pattern"));
            let name = TopicName::parse(&name).expect("a name");
            let both = one.intersection(&two);
            if let Some(both) = &both {
                prop_assert_eq!(Pattern::parse(both.as_str()), Ok(both.clone()));
            }
            let in_both = both.is_some_and(|both| both.matches(&name));
            prop_assert_eq!(in_both, one.matches(&name) && two.matches(&name));
        }
    }
}

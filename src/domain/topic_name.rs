//! Names of topics.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::UserId;

/// A topic name: 1 to 255 bytes of UTF-8 without control characters, not `.`, `..` or `*`, not starting with
/// `repl.` or `$`. `:` separates levels (`comments:42`). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

/// The first level of the names of inboxes.
const INBOX: &str = "inbox";

/// Why a text is not a [`TopicName`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TopicNameError {
    /// No character at all.
    #[error("a topic name has at least one character")]
    Empty,
    /// Longer than [`TopicName::LEN_BYTES_MAX`].
    #[error("a topic name has at most {} bytes, this one has {len_bytes}", TopicName::LEN_BYTES_MAX)]
    TooLong {
        /// The length of the refused text.
        len_bytes: usize,
    },
    /// A character of Unicode's category Cc.
    #[error("a topic name holds no control characters")]
    ControlCharacter,
    /// `*`, or a prefix kept for the broker.
    #[error("`*` and names that start with `repl.` or `$` are reserved")]
    Reserved,
    /// `.` or `..`: browsers take them out of every path, percent-encoded or not.
    #[error("`.` and `..` can't be names: no browser could ask for them")]
    Dots,
}

impl TopicName {
    /// In bytes. Keeps a storage key within one page.
    pub const LEN_BYTES_MAX: usize = 255;

    /// # Errors
    /// See [`TopicNameError`].
    pub fn parse(text: &str) -> Result<Self, TopicNameError> {
        if text.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if text.len() > Self::LEN_BYTES_MAX {
            return Err(TopicNameError::TooLong { len_bytes: text.len() });
        }
        if text.chars().any(char::is_control) {
            return Err(TopicNameError::ControlCharacter);
        }
        if text == "*" || text.starts_with("repl.") || text.starts_with('$') {
            return Err(TopicNameError::Reserved);
        }
        if matches!(text, "." | "..") {
            return Err(TopicNameError::Dots);
        }
        Ok(Self(text.into()))
    }

    /// A name that no topic has: under it the broker keeps the changes of who is present in this topic.
    pub(crate) fn presence(&self) -> Self {
        Self(format!("$presence:{self}").into())
    }

    /// A name that no topic has: under it the broker keeps when this user comes and goes.
    pub(crate) fn status_of(user: &UserId) -> Self {
        Self(format!("$user:{user}").into())
    }

    /// Whether it is one of the broker's own names, which no text can be parsed to.
    pub(super) fn is_internal(&self) -> bool {
        self.0.starts_with('$')
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The inbox of a user, if his id can be a level of a name.
    #[must_use]
    pub fn inbox(user: &UserId) -> Option<Self> {
        let name = Self::parse(&format!("{INBOX}:{user}")).ok()?;
        name.is_inbox().then_some(name)
    }

    /// Whether it is the inbox of some user.
    #[must_use]
    pub fn is_inbox(&self) -> bool {
        let mut levels = self.levels();
        let is_inbox = levels.next() == Some(INBOX) && levels.next().is_some_and(|user| !user.is_empty());
        is_inbox && levels.next().is_none()
    }

    /// Its levels: the parts between `:`.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split(':')
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TopicName {
    type Error = TopicNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> Self {
        name.0.as_ref().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &Result<(), TopicNameError>) {
        assert_eq!(&TopicName::parse(text).map(|name| assert_eq!(name.as_str(), text)), expected, "{text:?}");
    }

    #[test]
    fn names_that_keep_the_rule_are_kept_as_sent() {
        for text in ["orders", "comments:42", "☕/ä b", "...", "a*b", "repl", "**", ":", "a::b"] {
            check(text, &Ok(()));
        }
        check(&"x".repeat(255), &Ok(()));
    }

    #[test]
    fn an_inbox_is_one_level_below_and_has_one_user() {
        let inbox = |user: &str| TopicName::inbox(&UserId::parse(user).expect(user)).map(String::from);
        assert_eq!(inbox("ada").as_deref(), Some("inbox:ada"));
        assert_eq!((inbox("a:b"), inbox(&"x".repeat(250))), (None, None));
        let is_inbox = |name: &str| TopicName::parse(name).expect(name).is_inbox();
        assert!(is_inbox("inbox:ada") && is_inbox("inbox:*"));
        assert!(!["inbox", "inbox:", "inbox:a:b", "inboxes:a", "x:inbox"].into_iter().any(is_inbox));
    }

    #[test]
    fn names_that_break_the_rule_say_which() {
        check("", &Err(TopicNameError::Empty));
        check(&"ä".repeat(128), &Err(TopicNameError::TooLong { len_bytes: 256 }));
        for text in ["a\nb", "a\rb", "a\0", "\u{7f}", "\u{85}"] {
            check(text, &Err(TopicNameError::ControlCharacter));
        }
        for text in ["*", "repl.x", "$sys", "$"] {
            check(text, &Err(TopicNameError::Reserved));
        }
        for text in [".", ".."] {
            check(text, &Err(TopicNameError::Dots));
        }
    }
}

//! Who users are.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::JsonText;

/// Whoever tokens speak for: their `sub`. 1 to 255 bytes without control characters. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(Arc<str>);

/// The text is no [`UserId`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a user has 1 to {} bytes and no control characters", UserId::LEN_BYTES_MAX)]
pub struct UserIdError;

impl UserId {
    /// In bytes. A user may be a level of a topic's name.
    pub const LEN_BYTES_MAX: usize = 255;

    /// # Errors
    /// Empty, too long, or a control character.
    pub fn parse(text: &str) -> Result<Self, UserIdError> {
        let is_user = !text.is_empty() && text.len() <= Self::LEN_BYTES_MAX && !text.chars().any(char::is_control);
        if is_user { Ok(Self(text.into())) } else { Err(UserIdError) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for UserId {
    type Error = UserIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<UserId> for String {
    fn from(user: UserId) -> Self {
        user.0.as_ref().into()
    }
}

/// What others see of a member of a topic besides who he is: any JSON, such as a name to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberData(JsonText);

/// The data is too large.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("data that others see has at most {} bytes", MemberData::LEN_BYTES_MAX)]
pub struct MemberDataError;

impl MemberData {
    /// In bytes. Every watcher of a topic is sent it for each member.
    pub const LEN_BYTES_MAX: usize = 1_024;

    /// # Errors
    /// Too large.
    pub fn new(data: JsonText) -> Result<Self, MemberDataError> {
        if data.as_str().len() <= Self::LEN_BYTES_MAX { Ok(Self(data)) } else { Err(MemberDataError) }
    }

    /// The data as a part of another document.
    #[must_use]
    pub fn as_raw(&self) -> &RawValue {
        serde_json::from_str(self.0.as_str()).expect("it was checked to be JSON")
    }

    /// The data as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_any_short_text_in_one_line() {
        for text in ["ada", "auth0|5f7c8ec7", "a b:c/*", &"x".repeat(255)] {
            assert_eq!(UserId::parse(text).map(|user| user.as_str().to_owned()).as_deref(), Ok(text));
        }
        for text in ["", "a\nb", "\0", &"x".repeat(256)] {
            assert_eq!(UserId::parse(text), Err(UserIdError), "{text:?}");
        }
    }

    #[test]
    fn data_is_bounded() {
        let data =
            |bytes: usize| MemberData::new(JsonText::parse(&format!("\"{}\"", "x".repeat(bytes - 2))).expect("JSON"));
        assert!(data(1_024).is_ok());
        assert_eq!(data(1_025), Err(MemberDataError));
    }
}

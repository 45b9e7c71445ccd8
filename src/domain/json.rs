//! JSON that is checked once and then only copied.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A JSON text without insignificant whitespace, and so without line breaks: it fits in one `data:` line. Otherwise it
/// is as its author sent it: numbers, escapes, key order and duplicate keys are never touched.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(Box<str>);

/// Why a text is not a [`JsonText`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JsonError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// Nested deeper than [`JsonText::DEPTH_MAX`].
    #[error("nested deeper than {} levels", JsonText::DEPTH_MAX)]
    TooDeep,
}

impl JsonText {
    /// Arrays and objects inside one another. Half of the depth at which common parsers stop, so that whoever receives
    /// the message inside another document can read it.
    pub const DEPTH_MAX: usize = 64;

    /// Checks a text and drops its insignificant whitespace.
    ///
    /// # Errors
    /// Not JSON, or nested too deep.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| JsonError::Syntax(error.to_string()))?;
        Self::from_valid(text)
    }

    /// Takes what a JSON parser has found to be a value.
    ///
    /// # Errors
    /// Nested too deep.
    pub fn from_raw(value: &serde_json::value::RawValue) -> Result<Self, JsonError> {
        Self::from_valid(value.get())
    }

    fn from_valid(text: &str) -> Result<Self, JsonError> {
        let mut compact = String::with_capacity(text.len());
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        let mut kept_from = 0;
        for (at, byte) in text.bytes().enumerate() {
            if in_string {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => in_string = true,
                b'{' | b'[' => {
                    depth += 1;
                    if depth > Self::DEPTH_MAX {
                        return Err(JsonError::TooDeep);
                    }
                }
                b'}' | b']' => depth -= 1,
                b' ' | b'\t' | b'\n' | b'\r' => {
                    compact.push_str(text.get(kept_from..at).expect("ASCII whitespace ends a character"));
                    kept_from = at + 1;
                }
                _ => {}
            }
        }
        compact.push_str(text.get(kept_from..).expect("ASCII whitespace ends a character"));
        Ok(Self(compact.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads stay out of logs.
        write!(f, "JsonText({} bytes)", self.0.len())
    }
}

/// What a parser says, and where. Of a line that is a part of something else, it is not "line 1".
#[must_use]
pub fn json_error(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let place = if line > 1 { format!(" (line {line}, column {column})") } else { format!(" (column {column})") };
    error.to_string().replace(&format!(" at line {line} column {column}"), &place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(JsonText::parse(text).as_ref().map(JsonText::as_str), Ok(expected), "{text}");
    }

    #[test]
    fn only_insignificant_whitespace_goes() {
        check(" [ 1.00 , -0e+1 ,\r\n 123456789012345678901234567890 ] ", "[1.00,-0e+1,123456789012345678901234567890]");
        check("{ \"b\" : \" x \\\" y \\\\\" , \"a\":1, \"a\" :2 }", "{\"b\":\" x \\\" y \\\\\",\"a\":1,\"a\":2}");
        check(r#""\u00e4\/\ud83d ä☕""#, r#""\u00e4\/\ud83d ä☕""#);
        check("null", "null");
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(JsonText::parse(&nested(64)).is_ok());
        assert_eq!(JsonText::parse(&nested(65)), Err(JsonError::TooDeep));
        assert!(JsonText::parse(&format!("{:?}", nested(65))).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_kept_is_one_line_of_the_same_meaning(text in "[\\[\\]{}:,\"\\\\ \n\r\t0-9a-zäe.+-]{0,40}") {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
            match JsonText::parse(&text) {
                Ok(json) => {
                    prop_assert!(!json.as_str().contains(['\n', '\r']));
                    let meaning: serde_json::Value = serde_json::from_str(json.as_str()).expect("still JSON");
                    if let Ok(parsed) = parsed {
                        prop_assert_eq!(meaning, parsed);
                    }
                }
                Err(_) => prop_assert!(parsed.is_err()),
            }
        }
    }
}

//! Messages: as published, and as stored.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{Cursor, Epoch, JsonError, JsonText, Position, Seq, Timestamp, TopicName};

/// An SSE event name chosen by a publisher: 1 to 255 bytes without control characters, not starting with `repl.`.
/// nor `open` or `error`. It can't hold CR, LF or NUL, so it can't forge a field of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventType(Box<str>);

/// Why a text is not an [`EventType`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EventTypeError {
    /// Empty, or longer than [`EventType::LEN_BYTES_MAX`].
    #[error("a type has 1 to {} bytes", EventType::LEN_BYTES_MAX)]
    Length,
    /// A character of Unicode's category Cc.
    #[error("a type holds no control characters")]
    ControlCharacter,
    /// Kept for events of the broker itself.
    #[error("types that start with `repl.` are reserved")]
    Reserved,
    /// An event that an `EventSource` makes itself: pages would take a message for a loss of their connection.
    #[error("`open` and `error` are events that an EventSource makes itself")]
    OfEventSource,
}

impl EventType {
    /// In bytes.
    pub const LEN_BYTES_MAX: usize = 255;

    /// # Errors
    /// See [`EventTypeError`].
    pub fn parse(text: &str) -> Result<Self, EventTypeError> {
        if text.is_empty() || text.len() > Self::LEN_BYTES_MAX {
            return Err(EventTypeError::Length);
        }
        if text.chars().any(char::is_control) {
            return Err(EventTypeError::ControlCharacter);
        }
        if text.starts_with("repl.") {
            return Err(EventTypeError::Reserved);
        }
        if matches!(text, "open" | "error") {
            return Err(EventTypeError::OfEventSource);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EventType {
    type Error = EventTypeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<EventType> for String {
    fn from(kind: EventType) -> Self {
        kind.0.into()
    }
}

/// The headers of a message: a JSON object whose values are strings, kept as sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(JsonText);

/// Why a JSON text is not [`Headers`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HeadersError {
    /// Not an object of strings.
    #[error("headers are an object whose values are strings")]
    NotStrings,
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
}

impl Headers {
    /// # Errors
    /// Not an object, or one of its values is not a string.
    pub fn from_raw(value: &serde_json::value::RawValue) -> Result<Self, HeadersError> {
        serde_json::from_str::<BTreeMap<String, String>>(value.get()).map_err(|_| HeadersError::NotStrings)?;
        Ok(Self(JsonText::from_raw(value)?))
    }

    /// The object as JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Default for Headers {
    fn default() -> Self {
        Self(JsonText::parse("{}").expect("an object"))
    }
}

/// What a publisher sends under so that a retry is not stored twice: 1 to 255 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(Box<str>);

/// The text is not an [`IdempotencyKey`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("an idempotency key has 1 to {} bytes and no control characters", IdempotencyKey::LEN_BYTES_MAX)]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// In bytes.
    pub const LEN_BYTES_MAX: usize = 255;

    /// # Errors
    /// Empty, too long, or a control character.
    pub fn parse(text: &str) -> Result<Self, IdempotencyKeyError> {
        if text.is_empty() || text.len() > Self::LEN_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(IdempotencyKeyError);
        }
        Ok(Self(text.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Tells whether two messages that share an idempotency key are the same: 128 bits of SHA-256 over type, headers and
/// value. Whoever makes two of them collide only fools himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint([u8; 16]);

/// A message on its way to the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMessage {
    /// The payload.
    pub value: JsonText,
    /// Headers, `{}` if there are none.
    pub headers: Headers,
    /// The SSE event name, if any.
    pub kind: Option<EventType>,
    /// Stored once for each key, within the window in which keys are remembered. The fingerprint is computed by the
    /// node that took the message, so that the one thread that applies entries needn't.
    pub key: Option<(IdempotencyKey, Fingerprint)>,
}

impl NewMessage {
    /// A message, with its fingerprint if it has a key.
    #[must_use]
    pub fn new(value: JsonText, headers: Headers, kind: Option<EventType>, key: Option<IdempotencyKey>) -> Self {
        let key = key.map(|key| {
            let fingerprint = Fingerprint::of(&value, &headers, kind.as_ref());
            (key, fingerprint)
        });
        Self { value, headers, kind, key }
    }

    /// What [`Message::size_bytes`] will be once it is stored.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        size_bytes(&self.value, &self.headers, self.kind.as_ref())
    }
}

impl Fingerprint {
    /// The bits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn of(value: &JsonText, headers: &Headers, kind: Option<&EventType>) -> Self {
        let mut hash = Sha256::new();
        // None of the three holds a line feed, so the separator is unambiguous.
        hash.update(kind.map_or("", EventType::as_str));
        hash.update("\n");
        hash.update(headers.as_str());
        hash.update("\n");
        hash.update(value.as_str());
        let digest = hash.finalize();
        let mut fingerprint = [0; 16];
        fingerprint.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        Self(fingerprint)
    }
}

fn size_bytes(value: &JsonText, headers: &Headers, kind: Option<&EventType>) -> usize {
    value.as_str().len() + headers.as_str().len() + kind.map_or(0, |kind| kind.as_str().len())
}

/// A message as the cluster keeps it. The same on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its place in the cluster's one order.
    pub position: Position,
    /// Its topic.
    pub topic: TopicName,
    /// Its place in the topic.
    pub seq: Seq,
    /// The leader's clock when it was proposed, never before that of the message ahead of it.
    pub created_at: Timestamp,
    /// The payload.
    pub value: JsonText,
    /// Headers, `{}` if there are none.
    pub headers: Headers,
    /// The SSE event name, if any.
    pub kind: Option<EventType>,
}

impl Message {
    /// What it counts towards a topic's retention: the bytes of value, headers and type.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        size_bytes(&self.value, &self.headers, self.kind.as_ref())
    }

    /// Writes the message as one line of JSON, the form of the API and of the stream.
    pub fn write_json(&self, epoch: Epoch, out: &mut String) {
        let id = Cursor { epoch, position: self.position };
        let Self { topic, seq, created_at, value, headers, .. } = self;
        let _ = write!(out, r#"{{"id":"{id}","topic":"#);
        write_json_string(topic.as_str(), out);
        let _ = write!(out, r#","seq":{seq},"value":{},"headers":{}"#, value.as_str(), headers.as_str());
        let _ = write!(out, r#","createdAt":"{created_at}""#);
        if let Some(kind) = &self.kind {
            out.push_str(r#","type":"#);
            write_json_string(kind.as_str(), out);
        }
        out.push('}');
    }
}

/// Writes a text that holds no control characters as a JSON string.
fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(topic: &str, kind: Option<&str>) -> Message {
        Message {
            position: Position::new(42),
            topic: TopicName::parse(topic).expect(topic),
            seq: Seq::new(7),
            created_at: Timestamp::from_millis(0),
            value: JsonText::parse("[1, 2]").expect("JSON"),
            headers: Headers::default(),
            kind: kind.map(|kind| EventType::parse(kind).expect(kind)),
        }
    }

    #[test]
    fn a_message_is_one_line_of_json() {
        let mut line = String::new();
        message("orders", Some("paid")).write_json(Epoch::from_seed([0; 16]), &mut line);
        assert_eq!(
            line,
            r#"{"id":"00000000-42","topic":"orders","seq":7,"value":[1,2],"headers":{},"createdAt":"1970-01-01T00:00:00.000Z","type":"paid"}"#
        );
    }

    proptest! {
        #[test]
        fn names_and_types_survive_json(text in "\\PC{1,20}") {
            prop_assume!(TopicName::parse(&text).is_ok());
            let mut line = String::new();
            message(&text, EventType::parse(&text).is_ok().then_some(&text)).write_json(Epoch::from_seed([0; 16]), &mut line);
            let parsed: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            prop_assert_eq!(parsed.get("topic").and_then(|topic| topic.as_str()), Some(text.as_str()));
        }
    }

    #[test]
    fn headers_are_an_object_of_strings() {
        let headers = |text: &str| {
            Headers::from_raw(&serde_json::from_str::<Box<serde_json::value::RawValue>>(text).expect("JSON"))
        };
        assert_eq!(headers(r#"{ "a": "b" }"#).expect("headers").as_str(), r#"{"a":"b"}"#);
        for text in ["[]", "null", r#"{"a":1}"#, r#"{"a":{}}"#] {
            assert_eq!(headers(text), Err(HeadersError::NotStrings), "{text}");
        }
    }

    #[test]
    fn a_type_can_not_forge_a_field() {
        for text in ["", "a\nb", "a\rb", "a\0b", "repl.gap", "open", "error"] {
            assert!(EventType::parse(text).is_err(), "{text:?}");
        }
    }
}

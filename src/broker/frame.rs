//! What goes over the wire of a stream: the bytes of Server-Sent Events.
//!
//! Framed here, because the usual writers break user payloads (CRLF doubled, empty data dropped, a panic on a line break
//! in a type). Two rules come from measuring eight clients: every event has an `id:` of its own, and nothing that is not
//! an event is followed by a blank line, for several clients make an empty event of that.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::{Cursor, Epoch, MemberData, Message, Timestamp, TopicName, UserId};
use crate::state::{Member, Roster, RosterChange};

/// A comment: keeps proxies from closing a quiet stream, and shows nothing to any client.
pub const COMMENT: &str = ":\n";

/// What a message's event carries as `data:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The whole message.
    Full,
    /// Only its value.
    Value,
}

/// An event of the broker itself. A bare `EventSource` doesn't show it unless asked to, but remembers its id.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Control<'a> {
    /// `repl.gap`: between the cursor that was asked for and the first message to come, some are missing.
    Gap {
        /// Where the client wanted to go on.
        #[serde(serialize_with = "as_text")]
        requested: Cursor,
        /// The first message it can still get.
        #[serde(serialize_with = "as_text")]
        first_available: Cursor,
        /// Why they are missing.
        reason: GapReason,
        /// The topics that miss some.
        topics: &'a [TopicName],
    },
    /// `repl.ready`: the history has been sent, from here on the stream is live.
    Ready {
        /// The id of this event once more, for code that sees only data.
        #[serde(serialize_with = "as_text")]
        cursor: Cursor,
    },
    /// `repl.cursor`: nothing happened on this stream up to here.
    Cursor {
        /// The id of this event once more, for code that sees only data.
        #[serde(serialize_with = "as_text")]
        cursor: Cursor,
    },
    /// `repl.topic`: a topic was deleted.
    Topic {
        /// Its name.
        topic: &'a TopicName,
        /// Always true.
        deleted: bool,
    },
    /// `repl.presence`: who is there, of a topic that is watched.
    Roster {
        /// The topic.
        topic: &'a TopicName,
        /// Changes up to this one are contained.
        version: u64,
        /// All members.
        members: Vec<MemberBody<'a>>,
    },
    /// `repl.presence`: who came and went, of a topic that is watched.
    Presence {
        /// The topic.
        topic: &'a TopicName,
        /// Rises with every change.
        version: u64,
        /// Who came.
        joined: Vec<MemberBody<'a>>,
        /// Who has other data.
        updated: Vec<MemberBody<'a>>,
        /// Who went.
        left: &'a [UserId],
    },
    /// `repl.presence`: whether a user who is watched is there.
    Status {
        /// Who.
        user: &'a UserId,
        /// Rises with every change.
        version: u64,
        /// Whether he is.
        online: bool,
        /// Since when, if he is.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<String>,
    },
    /// `repl.auth`: whoever opened the stream may not read it any longer. It ends behind this.
    Auth {
        /// Why.
        reason: AuthReason,
    },
    /// `repl.move`: this node is about to stop, or has too much to do; go on at another one.
    Move {
        /// The client addresses of nodes that will take the stream.
        nodes: &'a [String],
        /// How long this node waits before it closes the stream.
        within_ms: u64,
    },
}

/// A member of a topic, as others see him.
#[derive(Clone, Debug, Serialize)]
pub struct MemberBody<'a> {
    id: &'a UserId,
    /// RFC 3339, in milliseconds.
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl<'a> From<&'a Member> for MemberBody<'a> {
    fn from(Member { user, since, data }: &'a Member) -> Self {
        Self { id: user, since: since.to_string(), data: data.as_ref().map(MemberData::as_raw) }
    }
}

/// Why messages are missing from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// They are older than what the topic keeps.
    Retention,
    /// The cursor counts in another history.
    Epoch,
    /// The client was slower than retention.
    Overrun,
    /// They were deleted with their topic. There may be a new one of its name.
    Recreated,
}

/// Why a stream may not be read any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthReason {
    /// The time of the token has passed.
    Expired,
    /// The token was revoked.
    Revoked,
}

impl<'a> Control<'a> {
    /// All members of a topic.
    #[must_use]
    pub fn roster(topic: &'a TopicName, roster: &'a Roster) -> Self {
        Self::Roster { topic, version: roster.version, members: roster.members.iter().map(Into::into).collect() }
    }

    /// What has changed among the members of a topic.
    #[must_use]
    pub fn presence(topic: &'a TopicName, version: u64, change: &'a RosterChange) -> Self {
        let bodies = |members: &'a [Member]| members.iter().map(Into::into).collect();
        let RosterChange { joined, updated, left } = change;
        Self::Presence { topic, version, joined: bodies(joined), updated: bodies(updated), left }
    }

    /// Whether a user is a member of some topic, and since when.
    #[must_use]
    pub fn status(user: &'a UserId, version: u64, since: Option<Timestamp>) -> Self {
        Self::Status { user, version, online: since.is_some(), since: since.map(|since| since.to_string()) }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "repl.gap",
            Self::Ready { .. } => "repl.ready",
            Self::Cursor { .. } => "repl.cursor",
            Self::Topic { .. } => "repl.topic",
            Self::Roster { .. } | Self::Presence { .. } | Self::Status { .. } => "repl.presence",
            Self::Auth { .. } => "repl.auth",
            Self::Move { .. } => "repl.move",
        }
    }
}

/// Writes the event of a message.
pub fn message(message: &Message, epoch: Epoch, format: Format, out: &mut String) {
    let id = Cursor { epoch, position: message.position };
    if let Some(kind) = &message.kind {
        line(out, "event", format_args!("{}", kind.as_str()));
    }
    line(out, "id", format_args!("{id}"));
    match format {
        Format::Full => {
            out.push_str("data: ");
            message.write_json(epoch, out);
            out.push('\n');
        }
        Format::Value => line(out, "data", format_args!("{}", message.value.as_str())),
    }
    out.push('\n');
}

/// Writes an event of the broker. A client that reconnects after it resumes from `id`.
pub fn control(control: &Control<'_>, id: Cursor, out: &mut String) {
    let data = serde_json::to_string(control).expect("texts and numbers always have a JSON form");
    line(out, "event", format_args!("{}", control.name()));
    line(out, "id", format_args!("{id}"));
    line(out, "data", format_args!("{data}"));
    out.push('\n');
}

/// Writes how long a client waits before it reconnects. It must stand before an event or a comment.
pub fn retry(wait: Duration, out: &mut String) {
    line(out, "retry", format_args!("{}", wait.as_millis()));
}

fn line(out: &mut String, field: &str, value: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "{field}: {value}");
}

fn as_text<S: serde::Serializer>(cursor: &Cursor, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cursor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{EventType, Headers, JsonText, Position, Seq, Timestamp};

    /// An event as a client sees it.
    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        kind: String,
        id: String,
        data: String,
    }

    /// The algorithm of the HTML standard, section 9.2.6, step by step. It also reports what several clients, other than
    /// the standard, show as an event: a blank line behind a block without data.
    fn parse(stream: &str) -> Vec<Seen> {
        let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
        let (mut seen, mut event, mut last_id, mut data) = (Vec::new(), String::new(), String::new(), None::<String>);
        // Normalising the three line ends first finds the same lines; what follows the last one is never dispatched.
        let lines = stream.replace("\r\n", "\n").replace('\r', "\n");
        for line in lines.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            if line.is_empty() {
                let data =
                    data.take().expect("a blank line ends a block with data, or some clients make a ghost of it");
                let kind = if event.is_empty() { "message".to_owned() } else { std::mem::take(&mut event) };
                let data = data.strip_suffix('\n').unwrap_or(&data).to_owned();
                seen.push(Seen { kind, id: last_id.clone(), data });
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event),
                "data" => {
                    let data = data.get_or_insert_default();
                    data.push_str(value);
                    data.push('\n');
                }
                "id" if !value.contains('\0') => value.clone_into(&mut last_id),
                "retry" => assert!(value.bytes().all(|byte| byte.is_ascii_digit())),
                other => assert_eq!(other, "", "only comments have no known field"),
            }
        }
        assert_eq!((event, data), (String::new(), None), "a stream ends between events");
        seen
    }

    fn epoch() -> Epoch {
        Epoch::from_seed([3; 16])
    }

    fn at(position: u64) -> Cursor {
        Cursor { epoch: epoch(), position: Position::new(position) }
    }

    fn json() -> impl Strategy<Value = JsonText> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
            Just("\r\n\n\rdata: x\n\nid: 9\n\u{2028}\u{85}\u{feff}\0".into()),
        ];
        let tree = leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..3)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        });
        (tree, any::<bool>()).prop_map(|(value, spread)| {
            let text = if spread { format!("\r\n {value:#}\n") } else { value.to_string() };
            JsonText::parse(&text).expect("JSON")
        })
    }

    prop_compose! {
        fn any_message()(
            topic in "\\PC{1,40}".prop_filter_map("legal", |text| TopicName::parse(&text).ok()),
            kind in prop::option::of("[ :\u{feff}\u{2028}]?\\PC{1,40}".prop_filter_map("legal", |text| EventType::parse(&text).ok())),
            value in json(),
            position: u64,
        ) -> Message {
            Message {
                position: Position::new(position),
                topic,
                seq: Seq::new(7),
                created_at: Timestamp::from_millis(0),
                value,
                headers: Headers::default(),
                kind,
            }
        }
    }

    proptest! {
        #[test]
        fn every_message_is_read_back_as_exactly_one_event(
            messages in prop::collection::vec((any_message(), any::<bool>()), 1..4),
        ) {
            let mut stream = String::from(COMMENT);
            retry(Duration::from_millis(1_500), &mut stream);
            let mut expected = Vec::new();
            for (sent, full) in messages {
                message(&sent, epoch(), if full { Format::Full } else { Format::Value }, &mut stream);
                stream.push_str(COMMENT);
                let mut json = String::new();
                sent.write_json(epoch(), &mut json);
                expected.push(Seen {
                    kind: sent.kind.as_ref().map_or("message", EventType::as_str).to_owned(),
                    id: at(sent.position.get()).to_string(),
                    data: if full { json } else { sent.value.as_str().to_owned() },
                });
            }
            prop_assert_eq!(parse(&stream), expected);
        }
    }

    #[test]
    fn the_preamble_and_comments_are_no_event() {
        let mut stream = String::from(COMMENT);
        retry(Duration::from_millis(250), &mut stream);
        stream.push_str(COMMENT);
        assert_eq!(stream, ":\nretry: 250\n:\n");
        assert_eq!(parse(&stream), []);
    }

    #[test]
    fn control_events_have_a_name_an_id_and_one_line_of_json() {
        let topics = ["a\"b", "c:\\d"].map(|name| TopicName::parse(name).expect(name));
        let cases = [
            (
                Control::Gap { requested: at(3), first_available: at(9), reason: GapReason::Overrun, topics: &topics },
                "repl.gap",
                r#"{"requested":"EPOCH-3","firstAvailable":"EPOCH-9","reason":"overrun","topics":["a\"b","c:\\d"]}"#,
            ),
            (Control::Ready { cursor: at(8) }, "repl.ready", r#"{"cursor":"EPOCH-8"}"#),
            (Control::Cursor { cursor: at(8) }, "repl.cursor", r#"{"cursor":"EPOCH-8"}"#),
            (Control::Topic { topic: &topics[0], deleted: true }, "repl.topic", r#"{"topic":"a\"b","deleted":true}"#),
            (
                Control::Move { nodes: &["http://127.0.0.1:7375".to_owned()], within_ms: 5_000 },
                "repl.move",
                r#"{"nodes":["http://127.0.0.1:7375"],"withinMs":5000}"#,
            ),
        ];
        for (event, kind, data) in cases {
            let mut stream = String::new();
            control(&event, at(8), &mut stream);
            // The epoch is whatever the seed gives; the rest is spelled out.
            let data = data.replace("EPOCH", epoch().as_str());
            assert_eq!(parse(&stream), [Seen { kind: kind.to_owned(), id: at(8).to_string(), data }]);
        }
    }
}

//! Publishing: one message as JSON, or a batch as NDJSON.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::access::{self, Topic};
use super::body::{self, JSON, Json, Object};
use super::history::Message;
use super::party::Asking;
use super::path::TopicPath;
use super::{App, Code, Problem};
use crate::domain::{Cursor, EventType, Headers, IdempotencyKey, JsonText, NewMessage};
use crate::node::{Stored, WriteError};
use crate::state::Refusal;

/// Lines of a batch. A batch is one entry of the log, so this bounds an entry.
pub(super) const BATCH_LINES_MAX: usize = 1_000;

/// Bytes of a batch; an entry of the log is hardly larger.
pub(super) const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The media type of a batch: JSON, one document a line.
const NDJSON: &str = "application/x-ndjson";

/// Under which name a message is stored once, however often it is sent.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A message to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewMessage)]
pub(super) struct MessageBody<'a> {
    /// Any JSON, kept as sent but for insignificant whitespace; at most 64 levels deep.
    #[serde(borrow)]
    #[schema(value_type = serde_json::Value)]
    value: &'a RawValue,
    /// Strings that travel with it.
    #[serde(borrow, default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    headers: Option<&'a RawValue>,
    /// The name of the SSE event.
    #[serde(borrow, rename = "type", default)]
    #[schema(min_length = 1, max_length = 255, pattern = r"^(?!repl\.|open$|error$)[^\u0000-\u001f\u007f-\u009f]+$")]
    kind: Option<Cow<'a, str>>,
    /// An idempotency key; what the `Idempotency-Key` header is to a single message.
    #[serde(borrow, default)]
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    key: Option<Cow<'a, str>>,
}

/// What became of a message, or of a batch.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a description; a message writes itself")]
enum Published {
    Message(Message),
    Batch(BatchBody),
}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchBody {
    /// One for each line, in their order.
    messages: Vec<BatchMessage>,
}

/// What became of one line.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchMessage {
    /// The message's cursor.
    id: String,
    /// Its number within the topic.
    seq: u64,
    /// Whether it had been stored under its key before.
    repeated: bool,
}

/// Publish
///
/// One message, or, as `application/x-ndjson`, a batch of them: all are stored, next to each other, or none is. The
/// answer comes once the messages are on the disks of most nodes, and can be read from this one.
#[utoipa::path(post, path = "/topics/{topic}", operation_id = "publish", tag = "messages",
    params(
        TopicPath,
        ("Idempotency-Key" = Option<String>, Header, description = "Stored once under this key, however often it is \
            sent. Not for batches: their lines have a `key`", min_length = 1, max_length = 255)),
    request_body(content(
        (MessageBody<'static> = "application/json"),
        (MessageBody<'static> = "application/x-ndjson"))),
    responses(
        (status = 201, description = "Stored: the message, or what became of each line", body = Published),
        (status = 200, description = "Was stored before under the same key: the first message. Of a batch: every line \
            was", body = Published)))]
pub(super) async fn publish(
    State(app): State<Arc<App>>,
    topic: Topic<access::Publish>,
    asking: Asking,
    publication: Publication,
) -> Result<Response, Problem> {
    let batch = matches!(publication, Publication::Batch(_));
    let messages = match publication {
        Publication::One(message) => vec![message],
        Publication::Batch(messages) => messages,
    };
    app.check_publish_rate(&asking, messages.len())?;
    if app.node.creates_topics() {
        app.check_topic_rate(&asking, &topic.name)?;
    }
    let stored = app.node.publish(topic.name, messages, app.write_deadline()).await.map_err(|error| match error {
        WriteError::Refused(Refusal::KeyReused { line }) if batch => Problem::from(error).at_line(line + 1),
        _ => error.into(),
    })?;
    let repeated = stored.iter().filter(|stored| stored.repeated).count();
    app.metrics.messages_published(stored.len() - repeated, repeated);
    let status = if repeated == stored.len() { StatusCode::OK } else { StatusCode::CREATED };
    Ok(match stored.as_slice() {
        [one] if !batch => (status, [(CONTENT_TYPE, JSON)], app.message_json(&one.message)).into_response(),
        stored => {
            let messages = stored.iter().map(|stored| app.batch_message(stored)).collect();
            (status, Json(BatchBody { messages })).into_response()
        }
    })
}

/// What a request asks to publish.
#[derive(Debug)]
pub(super) enum Publication {
    One(NewMessage),
    Batch(Vec<NewMessage>),
}

impl FromRequest<Arc<App>> for Publication {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let message_bytes_max = app.options.message_bytes_max;
        let key = key_header(&parts.headers)?;
        match body::media_type(&parts.headers)?.as_str() {
            JSON => {
                let text = body::read(body, message_bytes_max).await?;
                Ok(Self::One(message(&text, key)?))
            }
            NDJSON if key.is_some() => Err(Problem::new(
                Code::InvalidKey,
                "Give each line of the batch a `key` instead of sending an Idempotency-Key header.",
            )),
            NDJSON => {
                let text = body::read(body, BATCH_BYTES_MAX).await?;
                Ok(Self::Batch(batch(&text, message_bytes_max)?))
            }
            _ => Err(body::unsupported("application/json` or `application/x-ndjson")),
        }
    }
}

fn key_header(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).into_iter();
    let key = values.next().map(|value| std::str::from_utf8(value.as_bytes()));
    match (key, values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(key)), None) => Ok(Some(IdempotencyKey::parse(key)?)),
        (Some(_), _) => Err(Problem::new(Code::InvalidKey, "Send one Idempotency-Key header, in UTF-8.")),
    }
}

pub(super) fn batch(text: &[u8], message_bytes_max: usize) -> Result<Vec<NewMessage>, Problem> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    // Counted before the first line is parsed: a batch of four million empty lines costs one pass.
    if text.split(|byte| *byte == b'\n').count() > BATCH_LINES_MAX {
        let problem = Problem::new(Code::TooLarge, format!("Send at most {BATCH_LINES_MAX} lines."));
        return Err(problem.with("maxLines", BATCH_LINES_MAX));
    }
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    lines
        .map(|(at, line)| {
            let message = if line.len() > message_bytes_max {
                Err(body::too_large(message_bytes_max))
            } else if line.trim_ascii().is_empty() {
                Err(Problem::new(Code::InvalidBody, "Send one message a line, and no empty line."))
            } else {
                message(line, None)
            };
            message.map_err(|problem| problem.at_line(at + 1))
        })
        .collect()
}

pub(super) fn message(text: &[u8], key: Option<IdempotencyKey>) -> Result<NewMessage, Problem> {
    let Object(body): Object<MessageBody<'_>> = serde_json::from_slice(text)?;
    let key = match (key, body.key) {
        (key, None) => key,
        (None, Some(key)) => Some(IdempotencyKey::parse(&key)?),
        (Some(_), Some(_)) => {
            return Err(Problem::new(Code::InvalidKey, "Give the key as `key` or as Idempotency-Key, not as both."));
        }
    };
    Ok(NewMessage::new(
        JsonText::from_raw(body.value)?,
        body.headers.map(Headers::from_raw).transpose()?.unwrap_or_default(),
        body.kind.map(|kind| EventType::parse(&kind)).transpose()?,
        key,
    ))
}

impl App {
    fn batch_message(&self, stored: &Stored) -> BatchMessage {
        BatchMessage {
            id: Cursor { epoch: self.node.epoch(), position: stored.message.position }.to_string(),
            seq: stored.message.seq.get(),
            repeated: stored.repeated,
        }
    }
}

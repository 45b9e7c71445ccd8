//! History: what a topic keeps, a page at a time.

#![expect(unused_qualifications, reason = "in what utoipa makes of the parameters")]

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::{IntoParams, ToSchema};

use super::access::{self, Topic};
use super::body::JSON;
use super::path::{NameText, TopicPath};
use super::query::{FromParameters, Parameters, QueryString};
use super::{App, Code, Problem};
use crate::domain::{Cursor, Position};
use crate::node::{HistoryPage, HistoryQuery};

/// Messages on one page, at most.
const PAGE_MESSAGES_MAX: usize = 1_000;

/// Messages on one page unless the client says how many.
const PAGE_MESSAGES_DEFAULT: usize = 100;

/// A place in the cluster's one order of messages. Opaque: send it back as it came.
#[derive(Debug, ToSchema)]
#[schema(as = Cursor, pattern = "^[0123456789abcdefghjkmnpqrstvwxyz]{8}-(0|[1-9][0-9]{0,19})$")]
#[expect(dead_code, reason = "a description")]
pub(super) struct CursorText(String);

// Only described here: the one of `domain` writes itself, so that a message is the same bytes in a page, in a stream, and as
// the answer to its publisher.
/// A stored message.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct Message {
    /// Its cursor: reading may go on after it, on any node.
    id: CursorText,
    /// Its topic.
    topic: NameText,
    /// Its number within the topic: 1, 2, 3 …
    seq: u64,
    /// The value as it was sent.
    value: serde_json::Value,
    /// Strings that travel with it.
    headers: std::collections::BTreeMap<String, String>,
    /// RFC 3339, in milliseconds; by the leader's clock.
    #[schema(rename = "createdAt", format = DateTime)]
    created_at: String,
    /// The name of the SSE event, if it has one.
    #[schema(rename = "type")]
    kind: Option<String>,
}

/// A page of messages.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "a description; the page is written next to its messages")]
pub(super) struct MessagePage {
    /// Oldest first, or newest first if asked for in reverse.
    messages: Vec<Message>,
    /// What to send for the next page: as `after`, in reverse as `before`. Absent on the last one.
    next: Option<CursorText>,
}

/// The query of a page.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MessagesQuery {
    /// Only messages after this cursor.
    #[param(value_type = Option<CursorText>)]
    after: Option<Cursor>,
    /// Only messages before this cursor.
    #[param(value_type = Option<CursorText>)]
    before: Option<Cursor>,
    /// Messages on the page.
    #[param(required = false, minimum = 1, maximum = 1000, default = 100)]
    limit: usize,
    /// Newest first.
    #[param(required = false, default = false)]
    reverse: bool,
}

impl FromParameters for MessagesQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            after: parameters.one("after")?.map(|cursor| Cursor::parse(&cursor)).transpose()?,
            before: parameters.one("before")?.map(|cursor| Cursor::parse(&cursor)).transpose()?,
            limit: parameters.count("limit", PAGE_MESSAGES_MAX)?.unwrap_or(PAGE_MESSAGES_DEFAULT),
            reverse: parameters.parsed("reverse", "true or false")?.unwrap_or_default(),
        })
    }
}

/// Read history
#[utoipa::path(get, path = "/topics/{topic}/messages", operation_id = "readMessages", tag = "messages",
    params(TopicPath, MessagesQuery),
    responses((status = 200, description = "A page of messages", body = MessagePage)))]
pub(super) async fn page(
    State(app): State<Arc<App>>,
    topic: Topic<access::Subscribe>,
    QueryString(query): QueryString<MessagesQuery>,
) -> Result<Response, Problem> {
    let MessagesQuery { after, before, limit, reverse } = query;
    let (after, before) = (app.position(after)?, app.position(before)?);
    let HistoryPage { messages, next } =
        app.node.history(&topic.name, HistoryQuery { after, before, limit, reverse }).await?;

    let mut page = String::from(r#"{"messages":["#);
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            page.push(',');
        }
        message.write_json(app.node.epoch(), &mut page);
    }
    page.push(']');
    if let Some(position) = next {
        let next = Cursor { epoch: app.node.epoch(), position };
        let _ = write!(page, r#","next":"{next}""#);
    }
    page.push_str("}\n");
    Ok(([(CONTENT_TYPE, JSON)], page).into_response())
}

impl App {
    /// The position of a cursor, which must count in the cluster's present history.
    fn position(&self, cursor: Option<Cursor>) -> Result<Option<Position>, Problem> {
        match cursor {
            Some(cursor) if cursor.epoch != self.node.epoch() => Err(Problem::new(
                Code::ForeignCursor,
                "The cluster was founded anew since. Read again without a cursor.",
            )),
            cursor => Ok(cursor.map(|cursor| cursor.position)),
        }
    }

    /// A message as a line of JSON.
    pub(super) fn message_json(&self, message: &crate::domain::Message) -> String {
        let mut json = String::new();
        message.write_json(self.node.epoch(), &mut json);
        json.push('\n');
        json
    }
}

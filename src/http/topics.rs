//! Topics: list, create, inspect, change retention, delete.

#![expect(unused_qualifications, reason = "in what utoipa makes of the parameters")]

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::{self, Caller, Topic};
use super::body::{Json, Object};
use super::party::Asking;
use super::path::{self, NameText, TopicPath};
use super::query::{FromParameters, Parameters, QueryString};
use super::{App, Problem};
use crate::domain::{Retention, RetentionChange, SettingsChange, TopicName, TopicSettings};
use crate::node::{Created, TopicView};
use crate::state::TopicInfo;

/// Topics on one page, at most; also the default.
pub(super) const PAGE_TOPICS_MAX: usize = 1_000;

/// What a topic keeps, whichever bound is reached first.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Retention)]
pub(super) struct RetentionBody {
    /// Messages. 0: none, the topic is live only.
    #[schema(format = "uint64")]
    max_messages: Option<u64>,
    /// Bytes of value, headers and type.
    #[schema(format = "uint64")]
    max_bytes: Option<u64>,
    /// Age in seconds.
    #[schema(format = "uint64")]
    max_age_seconds: Option<u64>,
}

/// A topic to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTopic {
    /// Its name.
    #[schema(value_type = NameText)]
    name: String,
    /// Bounds that are left out take the node's defaults.
    #[schema(value_type = Option<RetentionBody>)]
    retention: Option<Object<RetentionBody>>,
    /// Whether the cluster knows who reads it. Left out: as the node says.
    presence: Option<bool>,
}

/// Changes to a topic.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicChange {
    /// Bounds that are left out stay as they are.
    #[schema(value_type = Option<RetentionBody>)]
    retention: Option<Object<RetentionBody>>,
    /// Whether the cluster knows who reads it.
    presence: Option<bool>,
}

/// A topic.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Topic)]
pub(super) struct TopicBody {
    /// Its name.
    name: String,
    /// Messages kept.
    messages: u64,
    /// Bytes of their values, headers and types.
    bytes: u64,
    /// The `seq` of the first message kept, or `nextSeq` if none is.
    first_seq: u64,
    /// The `seq` that the next message will get.
    next_seq: u64,
    /// Streams on this node that have named the topic or match it.
    subscribers: usize,
    /// What it keeps.
    retention: RetentionBody,
    /// Whether the cluster knows who reads it.
    presence: bool,
    /// RFC 3339, in milliseconds.
    #[schema(format = DateTime)]
    created_at: String,
}

/// A page of topics, in the order of their names' bytes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TopicPage {
    topics: Vec<TopicBody>,
    /// What to send as `after` for the next page. Absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// `true` if no token was sent where there are tokens: topics that need one are not shown. Else absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    anonymous: Option<bool>,
}

/// The query of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TopicsQuery {
    /// Only topics whose names start with this.
    #[param(required = false)]
    prefix: String,
    /// Only topics whose names come after this one: the `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<TopicName>,
    /// Topics on the page.
    #[param(required = false, minimum = 1, maximum = 1000, default = 1000)]
    limit: usize,
}

impl FromParameters for TopicsQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            prefix: parameters.one("prefix")?.unwrap_or_default(),
            after: parameters.one("after")?.map(|name| TopicName::parse(&name)).transpose()?,
            limit: parameters.count("limit", PAGE_TOPICS_MAX)?.unwrap_or(PAGE_TOPICS_MAX),
        })
    }
}

/// List topics
///
/// Those that the caller has any right to.
#[utoipa::path(get, path = "/topics", operation_id = "listTopics", tag = "topics", params(TopicsQuery),
    responses((status = 200, description = "A page of topics", body = TopicPage)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    QueryString(query): QueryString<TopicsQuery>,
) -> Response {
    // One more than asked for tells whether there is a next page.
    let mut topics = app.topics_seen(&caller, &query.prefix, query.after, query.limit + 1);
    let more = topics.len() > query.limit;
    topics.truncate(query.limit);
    let next = topics.last().filter(|_| more).map(|topic| topic.info.name.as_str().to_owned());
    let anonymous = matches!(caller, Caller::Anonymous(_)).then_some(true);
    Json(TopicPage { topics: topics.into_iter().map(TopicBody::from).collect(), next, anonymous }).into_response()
}

/// Create a topic
///
/// Creating one that exists does nothing if the settings that the request names are those of the topic, so a retry is
/// safe.
#[utoipa::path(post, path = "/topics", operation_id = "createTopic", tag = "topics", request_body = NewTopic,
    responses(
        (status = 201, description = "The topic was created", body = TopicBody,
            headers(("Location" = String, description = "Its path"))),
        (status = 200, description = "The topic exists, with the settings that were named", body = TopicBody)))]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    asking: Asking,
    Json(topic): Json<NewTopic>,
) -> Result<Response, Problem> {
    let name = TopicName::parse(&topic.name)?;
    caller.check_creation(&name)?;
    app.check_topic_rate(&asking, &name)?;
    let settings = settings_change(topic.retention, topic.presence);
    Ok(match app.node.create_topic(name, settings, app.write_deadline()).await? {
        Created::New(topic) => {
            let location = [(LOCATION, path::of_topic(&topic.name))];
            (StatusCode::CREATED, location, Json(app.describe(topic))).into_response()
        }
        Created::Existing(topic) => Json(app.describe(topic)).into_response(),
    })
}

/// Inspect a topic
#[utoipa::path(get, path = "/topics/{topic}", operation_id = "getTopic", tag = "topics",
    params(TopicPath),
    responses((status = 200, description = "The topic", body = TopicBody)))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    topic: Topic<access::Inspect>,
) -> Result<Json<TopicBody>, Problem> {
    let topic = app.node.topic(&topic.name).ok_or_else(Problem::topic_not_found)?;
    Ok(Json(topic.into()))
}

/// Change a topic's settings
///
/// After a 504 it may have been changed: look at it before you repeat the request.
#[utoipa::path(patch, path = "/topics/{topic}", operation_id = "changeTopic", tag = "topics",
    params(TopicPath), request_body = TopicChange,
    responses((status = 200, description = "The topic after the change", body = TopicBody)))]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    topic: Topic<access::Manage>,
    Json(change): Json<TopicChange>,
) -> Result<Json<TopicBody>, Problem> {
    let change = settings_change(change.retention, change.presence);
    let topic = app.node.change_topic(topic.name, change, app.write_deadline()).await?;
    Ok(Json(app.describe(topic)))
}

/// Delete a topic
///
/// Its subscribers are told, with a `repl.topic` event. After a 504 it may be gone: look at it before you repeat the
/// request, which could delete its successor.
#[utoipa::path(delete, path = "/topics/{topic}", operation_id = "deleteTopic", tag = "topics",
    params(TopicPath),
    responses((status = 204, description = "The topic and its messages are gone")))]
pub(super) async fn delete(State(app): State<Arc<App>>, topic: Topic<access::Manage>) -> Result<StatusCode, Problem> {
    app.node.delete_topic(topic.name, app.write_deadline()).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl App {
    /// Topics in the order of their names, of those that the caller learns of.
    fn topics_seen(&self, caller: &Caller, prefix: &str, mut after: Option<TopicName>, limit: usize) -> Vec<TopicView> {
        let mut seen = Vec::new();
        loop {
            let page = self.node.topics(prefix, after.as_ref(), limit);
            let is_last = page.len() < limit;
            after = page.last().map(|topic| topic.info.name.clone());
            seen.extend(page.into_iter().filter(|topic| caller.sees(&topic.info.name)));
            if is_last || seen.len() >= limit {
                seen.truncate(limit);
                return seen;
            }
        }
    }

    /// A topic as a write left it, with its subscribers here.
    fn describe(&self, info: TopicInfo) -> TopicBody {
        let subscribers = self.node.topic(&info.name).map_or(0, |topic| topic.subscribers);
        TopicView { info, subscribers }.into()
    }
}

fn settings_change(retention: Option<Object<RetentionBody>>, presence: Option<bool>) -> SettingsChange {
    let retention = retention.map(|Object(retention)| retention.into()).unwrap_or_default();
    SettingsChange { retention, presence }
}

impl From<TopicView> for TopicBody {
    fn from(TopicView { info, subscribers }: TopicView) -> Self {
        let TopicSettings { retention, presence } = info.settings;
        Self {
            name: info.name.into(),
            messages: info.messages,
            bytes: info.bytes,
            first_seq: info.first_seq.get(),
            next_seq: info.next_seq.get(),
            subscribers,
            retention: retention.into(),
            presence,
            created_at: info.created_at.to_string(),
        }
    }
}

impl From<Retention> for RetentionBody {
    fn from(retention: Retention) -> Self {
        let Retention { max_messages, max_bytes, max_age_seconds } = retention;
        Self { max_messages: Some(max_messages), max_bytes: Some(max_bytes), max_age_seconds: Some(max_age_seconds) }
    }
}

impl From<RetentionBody> for RetentionChange {
    fn from(body: RetentionBody) -> Self {
        let RetentionBody { max_messages, max_bytes, max_age_seconds } = body;
        Self { max_messages, max_bytes, max_age_seconds }
    }
}

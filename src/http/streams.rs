//! The open streams of this node, for operators: whose they are, what they read, and which are slow.

#![expect(unused_qualifications, reason = "in what utoipa makes of the parameters")]

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::access::Operator;
use super::body::Json;
use super::query::{FromParameters, Parameters, QueryString};
use super::{App, Problem};
use crate::node::{StreamPhase, StreamView};

/// Streams on one page, at most.
const PAGE_STREAMS_MAX: usize = 1_000;

/// Streams on one page unless the client says how many.
const PAGE_STREAMS_DEFAULT: usize = 100;

/// Topics and patterns of a stream that a page names.
const SELECTED_SHOWN_MAX: usize = 10;

/// The query of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamsQuery {
    /// Only streams that came after this one: the `next` of the page before.
    #[param(required = false, default = 0)]
    after: u64,
    /// Streams on the page.
    #[param(required = false, minimum = 1, maximum = 1000, default = 100)]
    limit: usize,
    /// Only those that are slow.
    #[param(required = false, default = false)]
    slow: bool,
}

impl FromParameters for StreamsQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            after: parameters.parsed("after", "the `next` of a page")?.unwrap_or_default(),
            limit: parameters.count("limit", PAGE_STREAMS_MAX)?.unwrap_or(PAGE_STREAMS_DEFAULT),
            slow: parameters.parsed("slow", "`true` or `false`")?.unwrap_or_default(),
        })
    }
}

/// An open stream.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OpenStream)]
pub(super) struct StreamBody {
    /// Its number on this node. Later streams have higher ones.
    id: u64,
    /// Where its client connects from. Behind a proxy, that is the proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// Who reads it: the `sub` of the token, or what `as=` said where nobody is asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The first topics that it names.
    topics: Vec<String>,
    /// The first of its patterns; together with the topics, at most 10.
    #[serde(rename = "match")]
    patterns: Vec<String>,
    /// How many more topics and patterns it has.
    more: usize,
    /// Topics and users whose presence it tells.
    watched: usize,
    /// When it was opened. RFC 3339, in milliseconds.
    #[schema(format = DateTime)]
    since: String,
    phase: PhaseBody,
    /// Whether it is too slow for what is in memory and catches up, or takes nothing for a second.
    slow: bool,
    /// Bytes of events that it was given.
    bytes: u64,
    /// Messages of the cluster since the last one that it was given. 0: it has all of its topics.
    behind: u64,
    /// For how many milliseconds its client has not taken what it was given. After 25,000 it is closed.
    blocked_ms: u64,
}

/// What a stream is doing: `waiting` for this node to have what its client saw elsewhere; reading `history` that was kept
/// when it came; `catching-up` from there, since it was too slow; `live`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = StreamPhase)]
enum PhaseBody {
    Waiting,
    History,
    CatchingUp,
    Live,
}

/// A page of streams, in the order in which they were opened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Streams)]
pub(super) struct StreamPage {
    streams: Vec<StreamBody>,
    /// What to send as `after` for the next page. Absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// List open streams
///
/// Those of this node, at this moment; for operators. Nobody is slowed down by it.
#[utoipa::path(get, path = "/streams", operation_id = "listStreams", tag = "operations", params(StreamsQuery),
    responses((status = 200, description = "A page of streams", body = StreamPage)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    _: Operator,
    QueryString(query): QueryString<StreamsQuery>,
) -> Json<StreamPage> {
    // One more than asked for tells whether there is a next page.
    let mut streams = app.node.streams(query.after, query.limit + 1, query.slow);
    let more = streams.len() > query.limit;
    streams.truncate(query.limit);
    let next = streams.last().filter(|_| more).map(|stream| stream.id);
    Json(StreamPage { streams: streams.into_iter().map(StreamBody::from).collect(), next })
}

impl From<StreamView> for StreamBody {
    fn from(view: StreamView) -> Self {
        let slow = view.is_slow();
        let StreamView { id, profile, since, phase, bytes, behind, blocked } = view;
        let selection = &profile.selection;
        let topics = selection.topics.iter().take(SELECTED_SHOWN_MAX).map(|name| name.as_str().to_owned());
        let topics: Vec<_> = topics.collect();
        let patterns = selection.patterns.iter().take(SELECTED_SHOWN_MAX - topics.len());
        let patterns: Vec<_> = patterns.map(|pattern| pattern.as_str().to_owned()).collect();
        Self {
            id,
            address: profile.address.map(|address| address.to_string()),
            user: profile.user.map(String::from),
            more: selection.topics.len() + selection.patterns.len() - topics.len() - patterns.len(),
            topics,
            patterns,
            watched: profile.watched,
            since: since.to_string(),
            phase: match phase {
                StreamPhase::Waiting => PhaseBody::Waiting,
                StreamPhase::History => PhaseBody::History,
                StreamPhase::CatchingUp => PhaseBody::CatchingUp,
                StreamPhase::Live => PhaseBody::Live,
            },
            slow,
            bytes,
            behind,
            blocked_ms: u64::try_from(blocked.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

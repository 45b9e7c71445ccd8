//! Streams: Server-Sent Events of one topic or of many.
//!
//! A native `EventSource` gives up for good on any status but 200. So only faults that asking again can't mend are
//! problems here; a node that can't serve *now* answers 200, when to come back, and the end: a soft refusal.

#![expect(unused_qualifications, reason = "in what utoipa makes of the parameters")]

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use thiserror::Error;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::debug;
use utoipa::IntoParams;

use super::access::{self, Caller, Topic};
use super::metrics::{Admission, Open};
use super::party::{Asking, Party};
use super::path::TopicPath;
use super::places::{Place, Places};
use super::query::{self, FromParameters, Parameters, QueryString};
use super::start::{self, LastEventId};
use super::{App, Code, Options, Problem};
use crate::broker::{Chunk, Format, frame};
use crate::domain::{Pattern, Selection, TopicName, UserId};
use crate::node::{NotServing, Start, Stream, StreamRequest, Watched};

/// Topics and patterns of one stream, together. A published message is matched against each of them.
const SELECTED_MAX: usize = 256;

/// The largest `?tail=`.
const TAIL_MAX: usize = 1_000;

/// When a client whose stream ended comes back: at random between these two, so that the clients of a node that was
/// stopped don't all come at once.
const RETRY_MS: RangeInclusive<u64> = 1_000..=3_000;

/// What keeps proxies from holding a stream back: nginx buffers without the second, some compress without `no-transform`.
pub(super) const STREAM_HEADERS: [(HeaderName, &str); 3] = [
    (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
    (CACHE_CONTROL, "no-store, no-transform"),
    (HeaderName::from_static("x-accel-buffering"), "no"),
];

/// How to read a stream.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// Where to start: after a cursor, `earliest`, `now`, how long ago (`10m`), or an RFC 3339 time. The
    /// `Last-Event-ID` header goes before it.
    #[param(value_type = String, required = false, default = "now")]
    after: Start,
    /// First the last so many messages of each topic. Does not apply to a stream that resumes from a cursor.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    tail: Option<u64>,
    /// `message`: whole messages; `value`: only their values.
    #[param(value_type = String, required = false, default = "message", pattern = "^(message|value)$")]
    format: Format,
    /// Who reads the stream, where nobody is asked for a token: a member of the topics that it names, if they have presence.
    #[param(value_type = Option<String>, rename = "as", min_length = 1, max_length = 255)]
    reader: Option<UserId>,
    /// What `POST /tickets` has made, for an `EventSource` that can send no token.
    #[expect(dead_code, reason = "a description: it has let the caller in")]
    ticket: Option<String>,
}

/// What a stream of many topics selects.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SelectionQuery {
    /// A topic; it need not exist yet. Repeat it for more.
    #[param(value_type = Option<Vec<String>>, rename = "topic", style = Form, explode)]
    topics: Vec<TopicName>,
    /// A pattern over topic names: `*` is one level, a final `**` all the rest. Repeat it for more.
    #[param(value_type = Option<Vec<String>>, rename = "match", style = Form, explode)]
    patterns: Vec<Pattern>,
    /// A topic of which to tell the members, as they come and go. Repeat it for more.
    #[param(value_type = Option<Vec<String>>, rename = "presence", style = Form, explode)]
    presence: Vec<TopicName>,
    /// A user of whom to tell whether he is there. Repeat it for more.
    #[param(value_type = Option<Vec<String>>, rename = "user", style = Form, explode)]
    users: Vec<UserId>,
}

impl FromParameters for StreamQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        let after = parameters.one("after")?.map(|after| start::parse(&after)).transpose()?;
        let tail = parameters.count("tail", TAIL_MAX)?;
        if tail.is_some() && matches!(after, Some(Start::Earliest | Start::Since(_))) {
            return Err(query::invalid("tail", "it starts a stream already; leave `after` out"));
        }
        let format = match parameters.one("format")?.as_deref() {
            None | Some("message") => Format::Full,
            Some("value") => Format::Value,
            Some(_) => return Err(query::invalid("format", "`message` or `value`")),
        };
        let tail = tail.and_then(|tail| u64::try_from(tail).ok());
        let reader = parameters.one("as")?.map(|user| UserId::parse(&user)).transpose()?;
        let ticket = parameters.one(access::TICKET)?;
        Ok(Self { after: after.unwrap_or(Start::Now), tail, format, reader, ticket })
    }
}

impl FromParameters for SelectionQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        let (topics, patterns) = (parameters.all("topic"), parameters.all("match"));
        let (presence, users) = (parameters.all("presence"), parameters.all("user"));
        match topics.len() + patterns.len() + presence.len() + users.len() {
            0 => {
                let detail = "Name at least one `topic`, `match`, `presence` or `user`.";
                return Err(Problem::new(Code::InvalidQuery, detail));
            }
            selected if selected > SELECTED_MAX => {
                let expected = format!("at most {SELECTED_MAX} of `topic`, `match`, `presence` and `user` together");
                return Err(query::invalid("topic", &expected));
            }
            _ => {}
        }
        Ok(Self {
            topics: topics.iter().map(|name| TopicName::parse(name)).collect::<Result<_, _>>()?,
            patterns: patterns.iter().map(|pattern| Pattern::parse(pattern)).collect::<Result<_, _>>()?,
            presence: presence.iter().map(|name| TopicName::parse(name)).collect::<Result<_, _>>()?,
            users: users.iter().map(|user| UserId::parse(user)).collect::<Result<_, _>>()?,
        })
    }
}

/// Stream one topic
///
/// As Server-Sent Events. Ends only between events; an `EventSource` comes back by itself and resumes.
#[utoipa::path(get, path = "/topics/{topic}/sse", operation_id = "streamTopic", tag = "streams",
    params(TopicPath, StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event received")),
    responses((status = 200, description = "Events, without end; or none, if the node can't serve now",
        body = String, content_type = "text/event-stream")))]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Topic { name: topic, .. }: Topic<access::Subscribe>,
    caller: Caller,
    asking: Asking,
    QueryString(query): QueryString<StreamQuery>,
    resume: LastEventId,
) -> Result<Response, Problem> {
    let request = query.request(Selection::topic(topic.clone()), Watched::default(), &resume, &caller, &app.options)?;
    let stream = app.open(request, &asking).await;
    if stream.is_ok() {
        // An `EventSource` takes a 404 for the last word, so this node's own may not be enough.
        match app.node.has_topic(&topic).await {
            Some(true) => {}
            Some(false) => return Err(Problem::topic_not_found()),
            None => return Ok(refuse().await),
        }
    }
    Ok(answer(&app, stream))
}

/// Stream many topics
///
/// In the one order of the cluster. Topics that don't exist yet join the stream when they are created. A pattern stands
/// for no more than the caller may read.
#[utoipa::path(get, path = "/sse", operation_id = "stream", tag = "streams",
    params(SelectionQuery, StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event received")),
    responses((status = 200, description = "Events, without end; or none, if the node can't serve now",
        body = String, content_type = "text/event-stream")))]
pub(super) async fn many(
    State(app): State<Arc<App>>,
    caller: Caller,
    asking: Asking,
    QueryString((selection, query)): QueryString<(SelectionQuery, StreamQuery)>,
    resume: LastEventId,
) -> Result<Response, Problem> {
    let SelectionQuery { topics, patterns, presence, users } = selection;
    let watched = Watched { topics: presence.into_iter().collect(), users: users.into_iter().collect() };
    caller.check_watched(&watched)?;
    let selection = Selection { topics: topics.into_iter().collect(), patterns: patterns.into_iter().collect() };
    let selection = caller.readable(selection)?;
    if selection.topics.len() + selection.patterns.len() > SELECTED_MAX {
        return Err(query::invalid("match", "with the patterns of the token it stands for too many; narrow it"));
    }
    let request = query.request(selection, watched, &resume, &caller, &app.options)?;
    Ok(answer(&app, app.open(request, &asking).await))
}

impl StreamQuery {
    /// A stream that resumes has had its tail, and an `EventSource` asks for the same URL again.
    fn request(
        self,
        selection: Selection,
        watched: Watched,
        resume: &LastEventId,
        caller: &Caller,
        options: &Options,
    ) -> Result<StreamRequest, Problem> {
        let start = resume.0.map_or(self.after, Start::Cursor);
        let tail = self.tail.filter(|_| !matches!(start, Start::Cursor(_)));
        let (lease, reader) = (caller.lease(), caller.reader(self.reader)?);
        let (format, history_bytes_max) = (self.format, options.replay_bytes_max);
        Ok(StreamRequest { selection, format, start, tail, lease, reader, watched, history_bytes_max, address: None })
    }
}

/// How many streams one party may have on this node; by default there is no bound. Clones share what is left.
#[derive(Clone, Debug)]
pub struct StreamPlaces(Arc<Places<Party>>);

impl StreamPlaces {
    /// So many streams for each party.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Places::new(max))
    }
}

impl Default for StreamPlaces {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

/// Why there is no stream now.
#[derive(Debug, Error)]
pub(super) enum NotOpened {
    /// The node has none.
    #[error(transparent)]
    NotServing(#[from] NotServing),
    /// Whoever asks has too many.
    #[error("the subject or address has as many streams as one may have")]
    TooMany,
}

/// A stream, and its place among those of its party.
pub(super) type Opened = (Stream, Option<Place<Party>>);

impl App {
    async fn open(&self, mut request: StreamRequest, asking: &Asking) -> Result<Opened, NotOpened> {
        let take = |party| self.options.stream_places.0.take(party).ok_or(NotOpened::TooMany);
        let place = asking.party().map(take).transpose()?;
        request.address = asking.address();
        self.node.open_inbox(&request).await;
        Ok((self.node.stream(request)?, place))
    }
}

/// Headers and the first bytes at once; then events.
pub(super) fn answer(app: &Arc<App>, opened: Result<Opened, NotOpened>) -> Response {
    let admission = match &opened {
        Ok(_) => Admission::Served,
        Err(NotOpened::NotServing(_)) => Admission::Refused,
        Err(NotOpened::TooMany) => Admission::TooMany,
    };
    app.metrics.stream_asked_for(admission);
    let opened =
        opened.inspect_err(|reason| debug!(error = reason as &dyn std::error::Error, "refused a stream softly"));
    let Ok((stream, place)) = opened else { return refusal() };
    let events = Unclaimed::new(Events {
        preamble: Some(preamble().as_bytes().into()),
        stream,
        stop: Box::pin(app.stop.clone().cancelled_owned()),
        _open: app.metrics.stream_opened(),
        _place: place,
        app: Arc::clone(app),
    });
    (STREAM_HEADERS, Extension(events.clone()), events.into_body()).into_response()
}

/// What one client is sent, whoever writes it: hyper as the body of an answer, or a connection by itself.
#[derive(Debug)]
pub(super) struct Events {
    preamble: Option<Chunk>,
    stream: Stream,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    _open: Open,
    _place: Option<Place<Party>>,
    app: Arc<App>,
}

impl Events {
    /// The next blocks. `None`: the node has no more, or the server stops, or there was enough history for one request.
    /// Whatever ends the stream, it ends between two events: they come whole from the node. If the future is dropped, the
    /// events are too.
    pub(super) async fn next(&mut self) -> Option<Chunk> {
        if let Some(preamble) = self.preamble.take() {
            return Some(preamble);
        }
        let chunk = tokio::select! {
            biased;
            () = self.stop.as_mut() => return None,
            chunk = self.stream.next() => chunk,
        };
        if chunk.is_none() && self.stream.has_enough_history() {
            self.app.metrics.replay_cut();
        }
        chunk
    }
}

/// The events of an answer that nobody has begun to write. Whoever claims them first writes them.
#[derive(Clone, Debug)]
pub(super) struct Unclaimed(Arc<Mutex<Option<Events>>>);

impl Unclaimed {
    fn new(events: Events) -> Self {
        Self(Arc::new(Mutex::new(Some(events))))
    }

    pub(super) fn claim(&self) -> Option<Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Claims them when it is read first.
    fn into_body(self) -> Body {
        let blocks = stream::unfold(None, move |events| {
            let events = events.or_else(|| self.claim());
            async move {
                let mut events: Events = events?;
                let chunk = events.next().await?;
                Some((Ok::<_, Infallible>(chunk.blocks()), Some(events)))
            }
        });
        Body::from_stream(blocks)
    }
}

/// A stream of a node that has not started.
pub(super) async fn refuse() -> Response {
    refusal()
}

/// When to come back, and the end.
pub(super) fn refusal() -> Response {
    (STREAM_HEADERS, preamble()).into_response()
}

/// A comment, so that proxies pass the headers on, and when to come back after the end. Not followed by a blank line:
/// several clients make an event of that.
fn preamble() -> String {
    let mut preamble = frame::COMMENT.to_owned();
    frame::retry(Duration::from_millis(fastrand::u64(RETRY_MS)), &mut preamble);
    preamble
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Cursor;

    #[test]
    fn a_cursor_outranks_the_query_and_its_tail() {
        let query = |after| StreamQuery { after, tail: Some(5), format: Format::Full, reader: None, ticket: None };
        let cursor = Cursor::parse("00000000-7").expect("a cursor");
        let request = |after, resume| {
            let (selection, watched, resume) = (Selection::default(), Watched::default(), LastEventId(resume));
            let request = query(after).request(selection, watched, &resume, &Caller::Trusted, &Options::default());
            request.expect("nobody is asked who he is")
        };

        assert_eq!((request(Start::Now, None).start, request(Start::Now, None).tail), (Start::Now, Some(5)));
        let resumed = request(Start::Now, Some(cursor));
        assert_eq!((resumed.start, resumed.tail), (Start::Cursor(cursor), None));
        assert_eq!(request(Start::Cursor(cursor), None).tail, None);
    }
}

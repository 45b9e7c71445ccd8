//! Errors as clients see them: `application/problem+json` (RFC 9457).

use std::error::Error;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use tracing::{debug, error};

use super::Code;
use super::topics::RetentionBody;
use crate::auth::TokenError;
use crate::domain::{
    CursorError, EventTypeError, HeadersError, IdempotencyKeyError, JsonError, NodeId, PatternError, TopicNameError,
    UserIdError, json_error,
};
use crate::node::{HistoryError, NotReady, OrderError, OrderRefused, VOTERS_MAX, WriteError};
use crate::state::Refusal;
use crate::trace;

/// The media type of every error.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// `type` is this and the code. A URN, because it names a kind of problem wherever the documentation moves to.
const TYPE_PREFIX: &str = "urn:repl:problem:";

/// Why a request was not done, in a form that is safe to send: its `detail` tells the client what to do, and what only
/// the operator may see has gone to the log when the problem was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    code: Code,
    detail: String,
    extras: Vec<(&'static str, Value)>,
}

impl Problem {
    /// A problem with a sentence that says what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), extras: Vec::new() }
    }

    /// With a further member.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.extras.push((name, value.into()));
        self
    }

    /// The problem of one line of a batch, counted from 1.
    #[must_use]
    pub fn at_line(mut self, line: usize) -> Self {
        self.detail = format!("Line {line}: {}", self.detail);
        self.with("line", line)
    }

    /// A fault of ours: the client learns that it happened, the log what it was.
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        error!(error, "a request failed");
        Self::failed()
    }

    /// A fault of ours whose cause is in the log already.
    pub fn failed() -> Self {
        Self::new(
            Code::Internal,
            "The fault is the server's; its log says more. Retry a write only with an Idempotency-Key.",
        )
    }

    /// The client speaks to a port of TLS without it.
    pub(super) fn tls_required() -> Self {
        Self::new(Code::TlsRequired, "Speak TLS to this port: its URLs begin with https.")
    }

    /// There is no such topic.
    pub fn topic_not_found() -> Self {
        Self::new(
            Code::TopicNotFound,
            "There is no topic of this name. `POST /topics` creates one; with `--auto-create` a publish does.",
        )
    }

    /// Nobody is present in a topic that is not asked who reads it.
    pub fn presence_off() -> Self {
        Self::new(
            Code::PresenceOff,
            "Nobody keeps who reads this topic. Turn it on with `PATCH /topics/{topic}` and `{\"presence\":true}`.",
        )
    }

    /// As the last answer of a connection on which nobody speaks HTTP.
    pub(super) fn to_http_1(&self) -> Vec<u8> {
        let (status, body) = (self.code.status(), self.body());
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), &body].concat()
    }

    fn body(&self) -> Vec<u8> {
        let mut body = serde_json::to_vec(self).expect("a problem is text and numbers under text keys");
        body.push(b'\n');
        body
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("{TYPE_PREFIX}{}", self.code.as_str()))?;
        map.serialize_entry("title", self.code.title())?;
        map.serialize_entry("status", &self.code.status().as_u16())?;
        map.serialize_entry("code", self.code.as_str())?;
        map.serialize_entry("detail", &self.detail)?;
        for (name, value) in &self.extras {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.code;
        debug!(code = code.as_str(), "refused");
        // By which the lines of the log are found.
        let problem = match trace::current() {
            Some(context) => self.with("traceId", context.trace.to_string()),
            None => self,
        };
        let mut response = Response::new(Body::from(problem.body()));
        *response.status_mut() = code.status();
        // For whoever counts answers.
        response.extensions_mut().insert(code);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = code.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = code.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(refusal) => refusal.into(),
            WriteError::NoLeader => Self::new(
                Code::NoLeader,
                "Nothing was written. Retry: a leader is elected within seconds, as long as most voters run and reach each \
                 other; see /cluster.",
            ),
            WriteError::Stopping => Self::new(Code::Stopping, "Nothing was written. Retry at another node."),
            WriteError::Unknown { waited } => Self::new(
                Code::OutcomeUnknown,
                format!(
                    "The cluster did not confirm the write within {} ms; it may still take effect. To create a topic \
                     again is safe, and to publish again under the same Idempotency-Key. Look at the topic before you \
                     change or delete it again.",
                    waited.as_millis()
                ),
            )
            .with("outcome", "unknown"),
        }
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Refused(refused) => refused.into(),
            OrderError::NoLeader => Self::new(
                Code::NoLeader,
                "Nothing has changed, as far as is known. Try again: a leader is elected within seconds, as long as most \
                 voters run and reach each other.",
            ),
            OrderError::Unreachable { node } => Self::new(
                Code::NodeUnreachable,
                format!(
                    "Node {node} did not answer. Try again, or look whether it runs; a node that is gone for good can \
                         be removed."
                ),
            ),
        }
    }
}

impl From<OrderRefused> for Problem {
    fn from(refused: OrderRefused) -> Self {
        match refused {
            OrderRefused::NotLeader => OrderError::NoLeader.into(),
            OrderRefused::UnknownNode { node } => {
                Self::new(Code::NodeNotFound, format!("No member has the id {node}. See /cluster for those there are."))
            }
            OrderRefused::LastVoter { node } => Self::new(
                Code::LastVoter,
                format!("Node {node} is the only one that votes, and holds the cluster. Let another one in first."),
            ),
            OrderRefused::QuorumAtRisk { node, voters, answering } => Self::new(
                Code::QuorumAtRisk,
                format!(
                    "Without node {node} there would be {voters} voters, of which {answering} answer: nothing could be \
                     written. Bring the others back, or remove first those that are gone for good. If they are about to \
                     come back, force it."
                ),
            )
            .with("voters", voters)
            .with("answering", answering),
            OrderRefused::VotersFull => Self::new(
                Code::VotersFull,
                format!("{} nodes vote, and more would only make writes slower. Remove one of them first.", VOTERS_MAX),
            ),
            OrderRefused::NotCaughtUp { node } => Self::new(
                Code::NotCaughtUp,
                format!("Node {node} does not answer, or lacks what the leader has. Wait until its lag in /cluster is 0."),
            ),
            OrderRefused::NotVoter { node } => {
                Self::new(Code::NotVoter, format!("Node {node} is a learner. Promote it first, or choose a voter."))
            }
            OrderRefused::NoSuccessor => Self::new(
                Code::NotCaughtUp,
                "No other voter answers, so nobody could lead. Start one, or let another node in.",
            ),
            OrderRefused::Busy => Self::new(
                Code::Busy,
                "Another change of the membership is under way, or this one has not ended yet. Look at /cluster, and \
                 try again.",
            ),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TopicNotFound => Self::topic_not_found(),
            Refusal::TopicExists { existing } => Self::new(
                Code::TopicExists,
                "Take the topic as it is, or change its settings with `PATCH /topics/{topic}`.",
            )
            .with(
                "existing",
                serde_json::json!({
                    "retention": RetentionBody::from(existing.retention),
                    "presence": existing.presence,
                }),
            ),
            Refusal::TicketsFull => Self::new(
                Code::TicketsFull,
                "There are as many tickets as the cluster keeps. Try again later: they expire.",
            ),
            Refusal::RevocationsFull => Self::new(
                Code::RevocationsFull,
                "There are as many revocations as the cluster keeps. They expire with the tokens that they name; replace the key \
                 that proves the tokens instead.",
            ),
            Refusal::TopicsFull => Self::new(
                Code::TopicsFull,
                "There are as many topics as the operator allows (`--max-topics`). Delete one that nobody needs.",
            ),
            Refusal::SubjectTicketsFull => Self::new(
                Code::SubjectTicketsFull,
                "There are as many tickets of this subject as the operator allows. Use those that are there: each opens as \
                 many streams as you like until it expires.",
            ),
            Refusal::Revoked => Self::new(Code::InvalidToken, "The token was revoked."),
            Refusal::KeyReused { .. } => Self::new(
                Code::KeyReused,
                "Send another message under another key, and a retry exactly as it was sent first.",
            ),
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        match &error {
            HistoryError::TopicNotFound => Self::topic_not_found(),
            HistoryError::Storage(_) => Self::internal(&error),
        }
    }
}

impl From<NotReady> for Problem {
    fn from(reason: NotReady) -> Self {
        let problem = Self::new(Code::NotReady, format!("Send traffic to another node for now: {reason}."));
        match reason {
            NotReady::NoMajority { voters, missing } => {
                let missing: Vec<u64> = missing.into_iter().map(NodeId::get).collect();
                problem.with("voters", voters).with("answering", voters - missing.len()).with("missing", missing)
            }
            NotReady::Starting
            | NotReady::CatchingUp { .. }
            | NotReady::NoRoom
            | NotReady::NoLeader
            | NotReady::Stopping => problem,
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Self::new(Code::InvalidToken, sentence(&error))
    }
}

impl From<TopicNameError> for Problem {
    fn from(error: TopicNameError) -> Self {
        Self::new(Code::InvalidTopicName, sentence(&error))
    }
}

impl From<UserIdError> for Problem {
    fn from(error: UserIdError) -> Self {
        Self::new(Code::InvalidUser, sentence(&error))
    }
}

impl From<PatternError> for Problem {
    fn from(error: PatternError) -> Self {
        match &error {
            PatternError::RestNotLast | PatternError::PartOfLevel => Self::new(Code::InvalidPattern, sentence(&error)),
            PatternError::Name(source) => Self::new(Code::InvalidPattern, sentence(source)),
        }
    }
}

impl From<CursorError> for Problem {
    fn from(error: CursorError) -> Self {
        Self::new(Code::InvalidCursor, sentence(&error))
    }
}

impl From<IdempotencyKeyError> for Problem {
    fn from(error: IdempotencyKeyError) -> Self {
        Self::new(Code::InvalidKey, sentence(&error))
    }
}

impl From<EventTypeError> for Problem {
    fn from(error: EventTypeError) -> Self {
        Self::new(Code::InvalidBody, sentence(&error))
    }
}

impl From<HeadersError> for Problem {
    fn from(error: HeadersError) -> Self {
        Self::new(Code::InvalidBody, sentence(&error))
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax(_) => Self::new(Code::MalformedJson, sentence(&error)),
            JsonError::TooDeep => Self::new(Code::InvalidBody, sentence(&error)),
        }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        let code = if error.is_data() { Code::InvalidBody } else { Code::MalformedJson };
        Self::new(code, sentence(&json_error(&error)))
    }
}

/// An error's message as a sentence: our errors are lower case and without a final dot.
fn sentence(error: &dyn ToString) -> String {
    let message = error.to_string();
    let mut characters = message.chars();
    let first = characters.next().map(char::to_uppercase).into_iter().flatten();
    first.chain(characters).chain(['.']).collect()
}

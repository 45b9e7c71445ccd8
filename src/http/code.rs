//! The catalogue of problems: every `code` that a client may meet, as data.

use axum::http::StatusCode;

/// One line a problem: what it is called in Rust, its status, its stable text, its title.
macro_rules! catalogue {
    ($($(#[doc = $doc:literal])* $code:ident: $status:ident, $text:literal, $title:literal;)*) => {
        /// The stable name of a problem. Clients branch on it, so a code is never renamed and never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])* $code,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The code as a client sees it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $text,)*
                }
            }

            /// The status of the answer.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$code => StatusCode::$status,)*
                }
            }

            /// One line for people, the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$code => $title,)*
                }
            }

            /// What it means, for the reference.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$code => concat!($($doc),*),)*
                }
            }
        }
    };
}

catalogue! {
    /// The body is not JSON, or not UTF-8.
    MalformedJson: BAD_REQUEST, "malformed-json", "The body is not JSON";
    /// The body is JSON, but not what the route takes.
    InvalidBody: BAD_REQUEST, "invalid-body", "The body is not what this route takes";
    /// The body ended early.
    IncompleteBody: BAD_REQUEST, "incomplete-body", "The body ended early";
    /// A text breaks the rules of topic names.
    InvalidTopicName: BAD_REQUEST, "invalid-topic-name", "Not a topic name";
    /// A text breaks the rules of patterns.
    InvalidPattern: BAD_REQUEST, "invalid-pattern", "Not a pattern over topic names";
    /// A text can't be a user.
    InvalidUser: BAD_REQUEST, "invalid-user", "Not a user";
    /// A text is neither a cursor nor another place where reading may start.
    InvalidCursor: BAD_REQUEST, "invalid-cursor", "Not a cursor";
    /// An idempotency key breaks its rules, or was given twice.
    InvalidKey: BAD_REQUEST, "invalid-key", "Not an idempotency key";
    /// A query parameter is unknown, missing, repeated, or has a value it can't have.
    InvalidQuery: BAD_REQUEST, "invalid-query", "The query is not what this route takes";
    /// The port serves TLS, and the client speaks without.
    TlsRequired: BAD_REQUEST, "tls-required", "The port serves TLS only";
    /// There is no token, and this needs one.
    Unauthenticated: UNAUTHORIZED, "unauthenticated", "A token is needed";
    /// The token is not genuine, not of this time, not for this broker, or revoked.
    InvalidToken: UNAUTHORIZED, "invalid-token", "The token is not accepted";
    /// The token is good, but does not allow this.
    Forbidden: FORBIDDEN, "forbidden", "The token does not allow this";
    /// A cookie came with a request of a page that is not admitted.
    OriginNotAllowed: FORBIDDEN, "origin-not-allowed", "Pages of this origin may not use the cookie";
    /// The path is none of this API.
    RouteNotFound: NOT_FOUND, "route-not-found", "No such route";
    /// There is no such topic.
    TopicNotFound: NOT_FOUND, "topic-not-found", "No such topic";
    /// No member of the cluster has this id.
    NodeNotFound: NOT_FOUND, "node-not-found", "No such node";
    /// The path has other methods.
    MethodNotAllowed: METHOD_NOT_ALLOWED, "method-not-allowed", "The route does not have this method";
    /// The body did not arrive in time.
    BodyTimeout: REQUEST_TIMEOUT, "body-timeout", "The body took too long";
    /// The topic exists with other settings.
    TopicExists: CONFLICT, "topic-exists", "The topic exists with other settings";
    /// The topic has no presence.
    PresenceOff: CONFLICT, "presence-off", "The topic has no presence";
    /// The node is the only one that votes.
    LastVoter: CONFLICT, "last-voter", "The node is the only voter";
    /// Fewer than a majority of the voters would answer.
    QuorumAtRisk: CONFLICT, "quorum-at-risk", "The cluster would lose its majority";
    /// As many nodes vote as may.
    VotersFull: CONFLICT, "voters-full", "There is no room for another voter";
    /// The node lacks what it would need, or doesn't answer.
    NotCaughtUp: CONFLICT, "not-caught-up", "The node has not caught up";
    /// The node is a learner.
    NotVoter: CONFLICT, "not-voter", "The node does not vote";
    /// The cursor counts in a history that is not the cluster's any more.
    ForeignCursor: GONE, "foreign-cursor", "The cursor is of another history";
    /// The body, or one message of it, is too large.
    TooLarge: PAYLOAD_TOO_LARGE, "too-large", "Too large";
    /// The body is of a media type or an encoding that the route doesn't take.
    UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Not a media type this route takes";
    /// The `Host` does not name this machine.
    HostNotAllowed: MISDIRECTED_REQUEST, "host-not-allowed", "The host is not served here";
    /// The idempotency key belongs to another message.
    KeyReused: UNPROCESSABLE_ENTITY, "key-reused", "The idempotency key belongs to another message";
    /// The party has published too much.
    PublishRate: TOO_MANY_REQUESTS, "publish-rate", "Published too fast";
    /// The party has created too much.
    CreationRate: TOO_MANY_REQUESTS, "creation-rate", "Created too fast";
    /// The cluster has as many topics as it may.
    TopicsFull: TOO_MANY_REQUESTS, "topics-full", "There are too many topics";
    /// The subject has as many tickets as one may have.
    SubjectTicketsFull: TOO_MANY_REQUESTS, "subject-tickets-full", "The subject has too many tickets";
    /// A fault of the server.
    Internal: INTERNAL_SERVER_ERROR, "internal", "The server failed";
    /// The cluster has no leader at the moment.
    NoLeader: SERVICE_UNAVAILABLE, "no-leader", "The cluster has no leader";
    /// The node that is to do it does not answer.
    NodeUnreachable: SERVICE_UNAVAILABLE, "node-unreachable", "The node does not answer";
    /// The membership is being changed.
    Busy: SERVICE_UNAVAILABLE, "busy", "The cluster is being changed";
    /// The node can't serve yet.
    NotReady: SERVICE_UNAVAILABLE, "not-ready", "The node is not ready";
    /// The cluster keeps as many tickets as it may.
    TicketsFull: SERVICE_UNAVAILABLE, "tickets-full", "There are too many tickets";
    /// The cluster keeps as many revocations as it may.
    RevocationsFull: SERVICE_UNAVAILABLE, "revocations-full", "There are too many revocations";
    /// The node is about to stop.
    Stopping: SERVICE_UNAVAILABLE, "stopping", "The node is stopping";
    /// The write was handed to the cluster and may or may not be stored.
    OutcomeUnknown: GATEWAY_TIMEOUT, "outcome-unknown", "The outcome of the write is unknown";
}

impl Code {
    /// What to tell a client about tokens (RFC 6750, section 3).
    #[must_use]
    pub const fn challenge(self) -> Option<&'static str> {
        match self {
            Self::Unauthenticated => Some("Bearer realm=\"repl\""),
            Self::InvalidToken => Some("Bearer realm=\"repl\", error=\"invalid_token\""),
            Self::Forbidden => Some("Bearer realm=\"repl\", error=\"insufficient_scope\""),
            _ => None,
        }
    }

    /// After how many seconds asking again may help. An election takes one or two, so nothing changes sooner; for room
    /// something has to be deleted or to expire.
    #[must_use]
    pub fn retry_after_seconds(self) -> Option<u64> {
        let is_passing = matches!(
            self.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        let is_full = matches!(self, Self::TopicsFull | Self::SubjectTicketsFull);
        is_passing.then_some(if is_full { 60 } else { 1 })
    }
}

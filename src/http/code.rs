//! The catalogue of problems: every `code` that a client may meet, as data.

use axum::http::StatusCode;

/// A problem: when it comes, and what to do then; what it is called in Rust, its status, its stable text, its title.
macro_rules! catalogue {
    ($(
        #[doc = $occasion:literal]
        #[doc = $advice:literal]
        $code:ident: $status:ident, $text:literal, $title:literal;
    )*) => {
        /// The stable name of a problem. Clients branch on it, so a code is never renamed and never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $occasion] $code,)*
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

            /// When it comes, for the reference.
            #[must_use]
            pub const fn occasion(self) -> &'static str {
                match self {
                    $(Self::$code => $occasion,)*
                }
            }

            /// What whoever meets it should do, for the reference.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self {
                    $(Self::$code => $advice,)*
                }
            }
        }
    };
}

catalogue! {
    /// The body is not JSON, or not UTF-8.
    /// Send JSON in UTF-8. `detail` says where it breaks off.
    MalformedJson: BAD_REQUEST, "malformed-json", "The body is not JSON";
    /// The body is JSON, but not what the route takes.
    /// Compare it with the route in `/openapi.json`. A field that the route doesn't know is refused, too.
    InvalidBody: BAD_REQUEST, "invalid-body", "The body is not what this route takes";
    /// The body ended early.
    /// Send it again, whole. Nothing was done.
    IncompleteBody: BAD_REQUEST, "incomplete-body", "The body ended early";
    /// A text breaks the rules of topic names.
    /// A name has 1 to 255 bytes, no control characters, and doesn't begin with `repl.` or `$`.
    InvalidTopicName: BAD_REQUEST, "invalid-topic-name", "Not a topic name";
    /// A text breaks the rules of patterns.
    /// `*` stands for one whole level between `:`, and `**` only for the last ones: `orders:*`, `orders:**`.
    InvalidPattern: BAD_REQUEST, "invalid-pattern", "Not a pattern over topic names";
    /// A text can't be a user.
    /// A user has 1 to 255 bytes and no control characters, and is percent-encoded once in a path.
    InvalidUser: BAD_REQUEST, "invalid-user", "Not a user";
    /// A text is neither a cursor nor another place where reading may start.
    /// Send an `id` as it came, `earliest`, `now`, how long ago (`10m`) or a time of RFC 3339.
    InvalidCursor: BAD_REQUEST, "invalid-cursor", "Not a cursor";
    /// An idempotency key breaks its rules, or was given twice.
    /// Send one key, of 1 to 255 bytes: in the header, or as the `key` of a message.
    InvalidKey: BAD_REQUEST, "invalid-key", "Not an idempotency key";
    /// A query parameter is unknown, missing, repeated, or has a value it can't have.
    /// Look at `parameter` and `detail`.
    InvalidQuery: BAD_REQUEST, "invalid-query", "The query is not what this route takes";
    /// The port serves TLS, and the client speaks without.
    /// Use `https` in the URL.
    TlsRequired: BAD_REQUEST, "tls-required", "The port serves TLS only";
    /// There is no token, and this needs one.
    /// Send `Authorization: Bearer …`. The TypeScript client asks its `token` for one.
    Unauthenticated: UNAUTHORIZED, "unauthenticated", "A token is needed";
    /// The token is not genuine, not of this time, not for this broker, or revoked.
    /// Fetch a new token and ask once more. `detail` says what is wrong, and so does `repl token verify`.
    InvalidToken: UNAUTHORIZED, "invalid-token", "The token is not accepted";
    /// The token is good, but does not allow this.
    /// Ask whoever issues tokens for one with this right.
    Forbidden: FORBIDDEN, "forbidden", "The token does not allow this";
    /// A cookie came with a request of a page that is not admitted.
    /// Name the page's origin with `--cors-origin`, or send the token in `Authorization`.
    OriginNotAllowed: FORBIDDEN, "origin-not-allowed", "Pages of this origin may not use the cookie";
    /// The path is none of this API.
    /// Compare the path with `/openapi.json`. Names in a path are percent-encoded.
    RouteNotFound: NOT_FOUND, "route-not-found", "No such route";
    /// There is no such topic.
    /// Create it with `POST /topics`, or start nodes with `--auto-create`. Or the token has no right to it.
    TopicNotFound: NOT_FOUND, "topic-not-found", "No such topic";
    /// No member of the cluster has this id.
    /// Look at `/cluster` for the ids that there are.
    NodeNotFound: NOT_FOUND, "node-not-found", "No such node";
    /// The path has other methods.
    /// Use one of those in the `Allow` header.
    MethodNotAllowed: METHOD_NOT_ALLOWED, "method-not-allowed", "The route does not have this method";
    /// The body did not arrive in time.
    /// Send it again. If it comes again, the network is too slow for a body of this size: send less at once.
    BodyTimeout: REQUEST_TIMEOUT, "body-timeout", "The body took too long";
    /// The topic exists with other settings.
    /// Take the topic as it is (`existing`), or change its settings with `PATCH /topics/{topic}`.
    TopicExists: CONFLICT, "topic-exists", "The topic exists with other settings";
    /// The topic has no presence.
    /// Turn it on: `PATCH /topics/{topic}` with `{"presence": true}`.
    PresenceOff: CONFLICT, "presence-off", "The topic has no presence";
    /// The node is the only one that votes.
    /// Let another node in first, then remove this one.
    LastVoter: CONFLICT, "last-voter", "The node is the only voter";
    /// Fewer than a majority of the voters would answer.
    /// Bring the other voters back, or remove first those that are gone for good.
    QuorumAtRisk: CONFLICT, "quorum-at-risk", "The cluster would lose its majority";
    /// As many nodes vote as may.
    /// Leave the node a learner, or remove a voter first.
    VotersFull: CONFLICT, "voters-full", "There is no room for another voter";
    /// The node lacks what it would need, or doesn't answer.
    /// Wait until its `lag` in `/cluster` is 0, and try again.
    NotCaughtUp: CONFLICT, "not-caught-up", "The node has not caught up";
    /// The node is a learner.
    /// Promote it first (`repl cluster promote`), or choose a voter.
    NotVoter: CONFLICT, "not-voter", "The node does not vote";
    /// The cursor counts in a history that is not the cluster's any more.
    /// Read again without a cursor, or from `earliest`: the cluster was founded anew since.
    ForeignCursor: GONE, "foreign-cursor", "The cursor is of another history";
    /// The body, or one message of it, is too large.
    /// Send less: `maxBytes` or `maxLines` says how much. For messages it is `--message-bytes-max`.
    TooLarge: PAYLOAD_TOO_LARGE, "too-large", "Too large";
    /// The body is of a media type or an encoding that the route doesn't take.
    /// Send the `Content-Type` that `detail` names, and no `Content-Encoding`.
    UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Not a media type this route takes";
    /// The `Host` does not name this machine.
    /// Address the node as localhost. A proxy in front of it has to send such a `Host`.
    HostNotAllowed: MISDIRECTED_REQUEST, "host-not-allowed", "The host is not served here";
    /// The idempotency key belongs to another message.
    /// Send another message under another key, and a retry exactly as it was sent first.
    KeyReused: UNPROCESSABLE_ENTITY, "key-reused", "The idempotency key belongs to another message";
    /// The party has published too much.
    /// Slow down, and send it again under the same key after `Retry-After`.
    PublishRate: TOO_MANY_REQUESTS, "publish-rate", "Published too fast";
    /// The party has created too much.
    /// Slow down, and ask again after `Retry-After`.
    CreationRate: TOO_MANY_REQUESTS, "creation-rate", "Created too fast";
    /// The cluster has as many topics as it may.
    /// Delete topics that nobody needs, or raise `--max-topics`.
    TopicsFull: TOO_MANY_REQUESTS, "topics-full", "There are too many topics";
    /// The subject has as many tickets as one may have.
    /// Use the tickets that there are: each opens any number of streams until it expires.
    SubjectTicketsFull: TOO_MANY_REQUESTS, "subject-tickets-full", "The subject has too many tickets";
    /// A fault of the server.
    /// Look at the node's log, and please report it. Repeat a write only under an `Idempotency-Key`.
    Internal: INTERNAL_SERVER_ERROR, "internal", "The server failed";
    /// The cluster has no leader at the moment.
    /// Nothing was written. Ask again: a leader is elected within seconds, as long as most voters are up.
    NoLeader: SERVICE_UNAVAILABLE, "no-leader", "The cluster has no leader";
    /// The node that is to do it does not answer.
    /// Look whether the node runs, and try again; remove one that is gone for good.
    NodeUnreachable: SERVICE_UNAVAILABLE, "node-unreachable", "The node does not answer";
    /// The membership is being changed.
    /// Look at `/cluster` whether it has ended, and try again.
    Busy: SERVICE_UNAVAILABLE, "busy", "The cluster is being changed";
    /// The node can't serve yet.
    /// Send traffic to another node for now. `detail` says why; `missing` names voters to start again, of `voters` in all.
    NotReady: SERVICE_UNAVAILABLE, "not-ready", "The node is not ready";
    /// The cluster keeps as many tickets as it may.
    /// Ask again later: tickets expire.
    TicketsFull: SERVICE_UNAVAILABLE, "tickets-full", "There are too many tickets";
    /// The cluster keeps as many revocations as it may.
    /// They expire with what they name. If it can't wait, replace the key that proves the tokens.
    RevocationsFull: SERVICE_UNAVAILABLE, "revocations-full", "There are too many revocations";
    /// The node is about to stop.
    /// Nothing was written. Ask another node.
    Stopping: SERVICE_UNAVAILABLE, "stopping", "The node is stopping";
    /// The write was handed to the cluster and may or may not be stored.
    /// Send it again under the same `Idempotency-Key`; without one, look first whether it was done.
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

//! The topic or the user in a path.

use axum::extract::{FromRequestParts as _, RawPathParams};
use axum::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use utoipa::{IntoParams, ToSchema};

use super::{Code, Problem};
use crate::domain::{TopicName, UserId};

/// A topic name: 1 to 255 bytes of UTF-8 without control characters, not `.`, `..` or `*`, not starting with `repl.` or `$`.
#[derive(Debug, ToSchema)]
#[schema(as = TopicName, min_length = 1, max_length = 255, pattern = r"^(?!\*$|\.\.?$|repl\.|\$)[^\u0000-\u001f\u007f-\u009f]+$")]
#[expect(dead_code, reason = "a description")]
pub(super) struct NameText(String);

/// The path of a route of one topic.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "a description of what `topic` reads")]
pub(super) struct TopicPath {
    /// The topic's name, percent-encoded once.
    topic: NameText,
}

/// The path of a route of one user.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "a description of what `user` reads")]
pub(super) struct UserPath {
    /// The user: the `sub` of tokens, percent-encoded once.
    #[param(min_length = 1, max_length = 255)]
    user: String,
}

/// The `{user}` of a path, percent-decoded exactly once.
pub(super) async fn user(parts: &mut Parts) -> Result<UserId, Problem> {
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| Problem::new(Code::InvalidUser, "Percent-encode the user as UTF-8."))?;
    let (_, user) = params.iter().next().expect("only routes with a user ask for it");
    Ok(UserId::parse(user)?)
}

/// The `{topic}` of a path, percent-decoded exactly once: `%2F` is part of the name, `%252F` is the name `%2F`.
pub(super) async fn topic(parts: &mut Parts) -> Result<TopicName, Problem> {
    // The router has decoded the segment and looks for nothing in it; only a segment that isn't UTF-8 fails.
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| Problem::new(Code::InvalidTopicName, "Percent-encode the topic's name as UTF-8."))?;
    let (_, name) = params.iter().next().expect("only routes with a topic ask for it");
    Ok(TopicName::parse(name)?)
}

/// The path of a topic.
pub(super) fn of_topic(name: &TopicName) -> String {
    /// All but what RFC 3986 calls unreserved.
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    format!("/topics/{}", utf8_percent_encode(name.as_str(), RESERVED))
}

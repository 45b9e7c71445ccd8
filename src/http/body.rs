//! Bodies. A request's is read within a limit and a time, and only if it is of the media type that the route takes.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Code, Problem};

/// The time a body has to arrive in, from head to end. A publisher on a bad line gets 4 MiB through; a slow-loris attack
/// holds a connection no longer than this.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest body that is not a message: a topic's settings take a few hundred bytes.
const SETTINGS_BYTES_MAX: usize = 16 * 1024;

/// JSON.
pub(super) const JSON: &str = "application/json";

/// A JSON body: of a request, then its type says which fields there are and all others are refused, or of an answer.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if media_type(request.headers())? != JSON {
            return Err(unsupported(JSON));
        }
        let text = read(request.into_body(), SETTINGS_BYTES_MAX).await?;
        let Object(body) = serde_json::from_slice(&text)?;
        Ok(Self(body))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut text = serde_json::to_vec(&self.0).expect("our types are text and numbers under text keys");
        // For those who read it in a terminal.
        text.push(b'\n');
        ([(CONTENT_TYPE, JSON)], text).into_response()
    }
}

/// A JSON object. A type that derives `Deserialize` would also take an array, as its fields in their order.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// The media type of a body, without its parameters and in lower case; empty if there is none.
///
/// A body must say what it is. A page of any origin can send one that doesn't, or that calls itself a form or plain
/// text, and no browser asks the server first; `application/json` makes it ask.
pub(super) fn media_type(headers: &HeaderMap) -> Result<String, Problem> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Problem::new(Code::UnsupportedMediaType, "Send the body without Content-Encoding."));
    }
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The problem of a body of another type than the route takes.
pub(super) fn unsupported(expected: &str) -> Problem {
    Problem::new(Code::UnsupportedMediaType, format!("Send `Content-Type: {expected}`."))
}

/// Reads a body of at most `bytes_max`. One that announces to be larger is refused before any of it is read.
pub(super) async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        return Err(too_large(bytes_max));
    }
    match timeout(READ_TIMEOUT, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(bytes_max)),
        Ok(Err(_)) => Err(Problem::new(Code::IncompleteBody, "Send the whole body.")),
        Err(_) => Err(Problem::new(
            Code::BodyTimeout,
            format!("Send the whole body within {} seconds.", READ_TIMEOUT.as_secs()),
        )),
    }
}

/// The problem of a body, or a line, of more than `bytes_max`.
pub(super) fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Code::TooLarge, format!("Send at most {bytes_max} bytes.")).with("maxBytes", bytes_max)
}

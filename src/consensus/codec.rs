//! Bytes of this module's own types, in memory and on the wire: [postcard](https://postcard.jamesmunns.com/wire-format).

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The bytes are not what they should be.
#[derive(Debug, Error)]
#[error("the bytes are of another version, or damaged")]
pub struct CodecError(#[source] pub(super) Option<postcard::Error>);

pub(crate) fn encode<T: Serialize>(message: &T) -> Bytes {
    postcard::to_stdvec(message).expect("messages hold nothing that postcard can't write").into()
}

/// What stands behind the message is passed over: a later version may have put it there.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_first(bytes).map(|(message, _)| message)
}

/// A message, and what stands behind it.
pub(super) fn decode_first<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), CodecError> {
    postcard::take_from_bytes(bytes).map_err(|error| CodecError(Some(error)))
}

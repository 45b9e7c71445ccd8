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

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    postcard::from_bytes(bytes).map_err(|error| CodecError(Some(error)))
}

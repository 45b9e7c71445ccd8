//! Bytes that name their format: a version, then [postcard](https://postcard.jamesmunns.com/wire-format).

use std::ops::RangeInclusive;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Bytes that this program can't read. Whoever meets them in the log must stop: to skip an entry would be to disagree
/// with the other nodes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CodecError {
    /// Written by another version of the program.
    #[error("format version {found} is not known to this program, which reads version {expected}")]
    Version {
        /// The version the bytes claim.
        found: u8,
        /// The version this program reads.
        expected: u8,
    },
    /// No version byte.
    #[error("there are no bytes")]
    Empty,
    /// The bytes don't follow the format.
    #[error("the bytes are damaged")]
    Malformed(#[source] postcard::Error),
    /// Bytes follow where the value ends.
    #[error("{bytes} bytes follow the end of the value")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// The version, then the value.
pub(super) fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    append(vec![version], value)
}

/// The value behind its version, and nothing else.
pub(super) fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, CodecError> {
    decode_bare(versioned(version, bytes)?)
}

/// The same, if the version is one of several that the value is the same in.
pub(super) fn decode_any<T: DeserializeOwned>(versions: RangeInclusive<u8>, bytes: &[u8]) -> Result<T, CodecError> {
    let found = bytes.first().copied().filter(|found| versions.contains(found));
    decode(found.unwrap_or(*versions.end()), bytes)
}

/// The value without a version, for rows, whose version stands in the meta row.
pub(super) fn encode_bare<T: Serialize>(value: &T) -> Vec<u8> {
    append(Vec::new(), value)
}

/// A value without a version.
pub(super) fn decode_bare<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, rest) = take(bytes)?;
    end(rest)?;
    Ok(value)
}

/// Appends the value to what is there.
pub(super) fn append<T: Serialize>(bytes: Vec<u8>, value: &T) -> Vec<u8> {
    postcard::to_extend(value, bytes).expect("our types serialise, and a vector takes any number of bytes")
}

/// The bytes behind the version.
pub(super) fn versioned(version: u8, bytes: &[u8]) -> Result<&[u8], CodecError> {
    match bytes.split_first() {
        Some((&found, body)) if found == version => Ok(body),
        Some((&found, _)) => Err(CodecError::Version { found, expected: version }),
        None => Err(CodecError::Empty),
    }
}

/// The value at the front, and what follows it.
pub(super) fn take<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), CodecError> {
    postcard::take_from_bytes(bytes).map_err(CodecError::Malformed)
}

/// Checks that nothing follows.
pub(super) fn end(rest: &[u8]) -> Result<(), CodecError> {
    if rest.is_empty() { Ok(()) } else { Err(CodecError::Trailing { bytes: rest.len() }) }
}

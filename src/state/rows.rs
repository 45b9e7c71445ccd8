//! The rows of a checkpoint: keys and values of an ordered store.
//!
//! Keys are a byte that tells the kind, then numbers in big-endian, so that rows stand in the order of their numbers:
//!
//! | kind      | key                           | value, in postcard                                             |
//! |-----------|-------------------------------|----------------------------------------------------------------|
//! | meta      | `01`                          | format version (one byte), then `MetaRow`                      |
//! | topic     | `02` topic id                 | `TopicRow`                                                     |
//! | messages  | `03` topic id, position of the first | of each: seq, time, value, headers, type                |
//! | keys      | `04` topic id, number of the first   | of each: key, fingerprint, position, seq, time          |
//! | tombstone | `05` number                   | name, last message, last position at its deletion              |
//! | ticket    | `06` number                   | id, bearer, patterns, expiry                                   |
//! | revocation | `07` number                  | whom, time, expiry                                             |
//! | member    | `08` number                   | topic id, user, times, data, nodes                             |
//! | –         | [`RESERVED_CONSENSUS`] …      | kept for consensus; opaque here                                |
//!
//! The fields are written in the order of the structs and functions below; a change of any of them raises the version.
//! Messages and keys stand in [bundles](super::bundle). A bundle may begin with some that are no longer retained.

use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bundle;
use super::codec::CodecError;
use super::digest::Digest;
use super::keys::KeyRecord;
use super::tombstones::End;
use super::topic::{Evicted, TopicId};
use crate::domain::{LogIndex, Message, NodeId, Position, Seq, Timestamp, TopicName, TopicSettings};

/// The version of the rows' format. It stands in the meta row and holds for all of them.
pub(super) const VERSION: u8 = 6;

/// The oldest version that is read: its bundles have one record each.
pub(super) const VERSION_MIN: u8 = 5;

/// Rows whose keys start with this byte belong to consensus: its last applied id and membership, which must change
/// together with the state. [`super::Machine::restore`] passes over them.
pub const RESERVED_CONSENSUS: u8 = 0x10;

const META: u8 = 0x01;
const TOPIC: u8 = 0x02;
const MESSAGES: u8 = 0x03;
const KEYS: u8 = 0x04;
const TOMBSTONE: u8 = 0x05;
const TICKET: u8 = 0x06;
const REVOCATION: u8 = 0x07;
const MEMBER: u8 = 0x08;

/// One change of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// Writes a row, new or not.
    Put {
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// Deletes a row, whether it is there or not.
    Delete {
        /// Its key.
        key: Vec<u8>,
    },
    /// Deletes the rows that are in a range before the change.
    DeleteRange {
        /// The first and the last key of the range.
        keys: RangeInclusive<Vec<u8>>,
        /// But for the last of them.
        keep_last: bool,
    },
}

/// What the store is to lose of the records of a kind that it has of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Those with lower numbers than one that it has.
    Before(u64),
    All,
}

impl Loss {
    pub(super) fn change(self, key: impl Fn(u64) -> RowKey) -> RowChange {
        let (last, keep_last) = match self {
            Self::Before(number) => (number, true),
            Self::All => (u64::MAX, false),
        };
        RowChange::DeleteRange { keys: key(0).encode()..=key(last).encode(), keep_last }
    }
}

/// The last row in this range is the one that has the message, if any has.
#[must_use]
pub fn message_row(topic: TopicId, position: Position) -> RangeInclusive<Vec<u8>> {
    RowKey::Messages(topic, Position::ZERO).encode()..=RowKey::Messages(topic, position).encode()
}

/// The messages in a row.
///
/// # Errors
/// The row is damaged.
pub fn decode_messages(topic: &TopicName, key: &[u8], value: &[u8]) -> Result<Vec<Message>, CodecError> {
    match RowKey::parse(key) {
        Some(RowKey::Messages(_, first)) => unpack_messages(topic, first, value),
        _ => Err(CodecError::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
    }
}

pub(super) fn unpack_messages(topic: &TopicName, first: Position, value: &[u8]) -> Result<Vec<Message>, CodecError> {
    let message = |(position, (seq, created_at, value, headers, kind))| {
        let (position, topic) = (Position::new(position), topic.clone());
        Message { position, topic, seq, created_at, value, headers, kind }
    };
    Ok(bundle::unpack(first.get(), value)?.into_iter().map(message).collect())
}

/// The rows of messages of one topic.
pub(super) fn pack_messages<'a>(
    id: TopicId,
    messages: impl Iterator<Item = &'a Message>,
) -> impl Iterator<Item = (RowKey, Vec<u8>)> {
    let records = messages.map(|message| {
        let Message { position, topic: _, seq, created_at, value, headers, kind } = message;
        (position.get(), (seq, created_at, value, headers, kind))
    });
    bundle::pack(records).map(move |(first, row)| (RowKey::Messages(id, Position::new(first)), row))
}

/// The rows of keys of one topic.
pub(super) fn pack_keys<'a>(
    id: TopicId,
    records: impl Iterator<Item = &'a (u64, KeyRecord)>,
) -> impl Iterator<Item = (RowKey, Vec<u8>)> {
    let records = records.map(|(number, record)| {
        let KeyRecord { key, fingerprint, position, seq, created_at } = record;
        (*number, (key.as_ref(), fingerprint, position, seq, created_at))
    });
    bundle::pack(records).map(move |(first, row)| (RowKey::Keys(id, first), row))
}

pub(super) fn unpack_keys(first: u64, value: &[u8]) -> Result<Vec<(u64, KeyRecord)>, CodecError> {
    let record = |(number, (key, fingerprint, position, seq, created_at))| {
        (number, KeyRecord { key: Arc::new(key), fingerprint, position, seq, created_at })
    };
    Ok(bundle::unpack(first, value)?.into_iter().map(record).collect())
}

/// A row's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKey {
    Meta,
    Topic(TopicId),
    Messages(TopicId, Position),
    Keys(TopicId, u64),
    Tombstone(u64),
    Ticket(u64),
    Revocation(u64),
    Member(u64),
    Consensus,
}

impl RowKey {
    pub(super) fn encode(self) -> Vec<u8> {
        let join = |kind: u8, numbers: &[u64]| {
            let mut key = Vec::with_capacity(1 + 8 * numbers.len());
            key.push(kind);
            numbers.iter().for_each(|number| key.extend_from_slice(&number.to_be_bytes()));
            key
        };
        match self {
            Self::Meta => join(META, &[]),
            Self::Topic(id) => join(TOPIC, &[id.get()]),
            Self::Messages(id, first) => join(MESSAGES, &[id.get(), first.get()]),
            Self::Keys(id, first) => join(KEYS, &[id.get(), first]),
            Self::Tombstone(number) => join(TOMBSTONE, &[number]),
            Self::Ticket(number) => join(TICKET, &[number]),
            Self::Revocation(number) => join(REVOCATION, &[number]),
            Self::Member(number) => join(MEMBER, &[number]),
            Self::Consensus => join(RESERVED_CONSENSUS, &[]),
        }
    }

    /// `None` if no row has such a key.
    pub(super) fn parse(key: &[u8]) -> Option<Self> {
        let (kind, rest) = key.split_first()?;
        let (numbers, odd) = rest.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|bytes| u64::from_be_bytes(*bytes));
        let mut next = || numbers.next();
        let parsed = match *kind {
            RESERVED_CONSENSUS => return Some(Self::Consensus),
            META => Self::Meta,
            TOPIC => Self::Topic(TopicId::new(next()?)),
            MESSAGES => Self::Messages(TopicId::new(next()?), Position::new(next()?)),
            KEYS => Self::Keys(TopicId::new(next()?), next()?),
            TOMBSTONE => Self::Tombstone(next()?),
            TICKET => Self::Ticket(next()?),
            REVOCATION => Self::Revocation(next()?),
            MEMBER => Self::Member(next()?),
            _ => return None,
        };
        (odd.is_empty() && next().is_none()).then_some(parsed)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MetaRow {
    pub(super) applied: LogIndex,
    pub(super) time: Timestamp,
    pub(super) position: Position,
    pub(super) last_node: NodeId,
    pub(super) next_topic: TopicId,
    pub(super) topics: u64,
    pub(super) tombstones: u64,
    pub(super) next_tombstone: u64,
    pub(super) tombstones_forgotten_up_to: Position,
    pub(super) tickets: u64,
    pub(super) next_ticket: u64,
    pub(super) revocations: u64,
    pub(super) next_revocation: u64,
    pub(super) members: u64,
    pub(super) next_member: u64,
    pub(super) presence_version: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TopicRow {
    pub(super) name: TopicName,
    pub(super) settings: TopicSettings,
    pub(super) created_at: Timestamp,
    pub(super) predecessors: End,
    pub(super) evicted: Evicted,
    pub(super) last_message: Position,
    pub(super) first_seq: Seq,
    pub(super) next_seq: Seq,
    pub(super) bytes: u64,
    pub(super) messages: Digest,
    pub(super) first_key: u64,
    pub(super) next_key: u64,
    pub(super) keys: Digest,
    pub(super) due: Option<Timestamp>,
}

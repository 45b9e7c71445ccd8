//! The rows of a checkpoint: keys and values of an ordered store.
//!
//! Keys are a byte that tells the kind, then numbers in big-endian, so that rows stand in the order of their numbers:
//!
//! | kind      | key                           | value, in postcard                                             |
//! |-----------|-------------------------------|----------------------------------------------------------------|
//! | meta      | `01`                          | format version (one byte), then `MetaRow`                      |
//! | topic     | `02` topic id                 | `TopicRow`                                                     |
//! | message   | `03` topic id, position       | seq, time, value, headers, type                                |
//! | key       | `04` topic id, number         | key, fingerprint, position, seq, time                          |
//! | tombstone | `05` number                   | name, last message, last position at its deletion              |
//! | ticket    | `06` number                   | id, bearer, patterns, expiry                                   |
//! | revocation | `07` number                  | whom, time, expiry                                             |
//! | member    | `08` number                   | topic id, user, times, data, nodes                             |
//! | –         | [`RESERVED_CONSENSUS`] …      | kept for consensus; opaque here                                |
//!
//! The fields are written in the order of the structs and functions below; a change of any of them raises the version.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};
use super::digest::Digest;
use super::keys::KeyRecord;
use super::tombstones::End;
use super::topic::{Evicted, TopicId};
use crate::domain::{LogIndex, Message, NodeId, Position, Seq, Timestamp, TopicName, TopicSettings};

/// The version of the rows' format. It stands in the meta row and holds for all of them.
pub(super) const VERSION: u8 = 5;

/// Rows whose keys start with this byte belong to consensus: its last applied id and membership, which must change
/// together with the state. [`super::Machine::restore`] passes over them.
pub const RESERVED_CONSENSUS: u8 = 0x10;

const META: u8 = 0x01;
const TOPIC: u8 = 0x02;
const MESSAGE: u8 = 0x03;
const KEY: u8 = 0x04;
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
}

/// The key of a stored message. All messages of one topic have neighbouring keys, in the order of their positions.
#[must_use]
pub fn message_key(topic: TopicId, position: Position) -> Vec<u8> {
    RowKey::Message(topic, position).encode()
}

/// The message in a row.
///
/// # Errors
/// The value is damaged.
pub fn decode_message(topic: TopicName, position: Position, value: &[u8]) -> Result<Message, CodecError> {
    let (seq, created_at, value, headers, kind) = codec::decode_bare(value)?;
    Ok(Message { position, topic, seq, created_at, value, headers, kind })
}

/// What [`decode_message`] reads; position and topic are known from the key.
pub(super) fn encode_message(message: &Message) -> Vec<u8> {
    let Message { position: _, topic: _, seq, created_at, value, headers, kind } = message;
    codec::encode_bare(&(seq, created_at, value, headers, kind))
}

pub(super) fn encode_key(record: &KeyRecord) -> Vec<u8> {
    let KeyRecord { key, fingerprint, position, seq, created_at } = record;
    codec::encode_bare(&(key.as_ref(), fingerprint, position, seq, created_at))
}

pub(super) fn decode_key(value: &[u8]) -> Result<KeyRecord, CodecError> {
    let (key, fingerprint, position, seq, created_at) = codec::decode_bare(value)?;
    Ok(KeyRecord { key: Arc::new(key), fingerprint, position, seq, created_at })
}

/// A row's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKey {
    Meta,
    Topic(TopicId),
    Message(TopicId, Position),
    Key(TopicId, u64),
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
            Self::Message(id, position) => join(MESSAGE, &[id.get(), position.get()]),
            Self::Key(id, number) => join(KEY, &[id.get(), number]),
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
            MESSAGE => Self::Message(TopicId::new(next()?), Position::new(next()?)),
            KEY => Self::Key(TopicId::new(next()?), next()?),
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

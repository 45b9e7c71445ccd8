//! Raft entries as bytes: what the log keeps and what travels to followers.
//!
//! ```text
//! kind u8 · term u64 big-endian · payload
//! kind 0  blank
//! kind 1  normal: an encoded `state::Entry`, not copied when decoded
//! kind 2  membership, postcard
//! ```
//!
//! The index is not part of the bytes: the log and the append request know it.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use openraft::EntryPayload;
use openraft::entry::RaftEntry as _;

use super::types::{LogId, Proposal, RaftEntry};

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

const HEADER_LEN: usize = 1 + size_of::<u64>();

pub(super) fn encode(entry: &RaftEntry) -> Bytes {
    let term = *entry.log_id.leader_id;
    let (kind, payload) = match &entry.payload {
        EntryPayload::Blank => (BLANK, Bytes::new()),
        EntryPayload::Normal(proposal) => (NORMAL, proposal.0.clone()),
        EntryPayload::Membership(membership) => (MEMBERSHIP, super::codec::encode(membership)),
    };
    let mut bytes = BytesMut::with_capacity(HEADER_LEN + payload.len());
    bytes.put_u8(kind);
    bytes.put_u64(term);
    bytes.put(payload);
    bytes.freeze()
}

/// # Errors
/// Not the bytes of an entry. Their checksum was right, so another version of the program wrote them.
pub(super) fn decode(index: u64, bytes: &Bytes) -> io::Result<RaftEntry> {
    let log_id = decode_log_id(index, bytes)?;
    let payload = bytes.slice(HEADER_LEN..);
    let payload = match bytes.first() {
        Some(&BLANK) => EntryPayload::Blank,
        Some(&NORMAL) => EntryPayload::Normal(Proposal(payload)),
        Some(&MEMBERSHIP) => EntryPayload::Membership(super::codec::decode(&payload).map_err(io::Error::other)?),
        _ => return Err(io::Error::other(format!("entry {index} is of a kind that this version doesn't know"))),
    };
    Ok(RaftEntry::new(log_id, payload))
}

/// Reads only the log id.
///
/// # Errors
/// Too short to be an entry.
pub(super) fn decode_log_id(index: u64, bytes: &Bytes) -> io::Result<LogId> {
    let term = bytes.get(1..HEADER_LEN).and_then(|term| <[u8; 8]>::try_from(term).ok());
    let term = term.ok_or_else(|| io::Error::other(format!("entry {index} is too short")))?;
    Ok(openraft::LogId { leader_id: u64::from_be_bytes(term).into(), index })
}

//! The replicated state: what a committed log entry does to the topics, the same on every node.
//!
//! [`Machine::apply`] takes an [`Entry`] of the log and gives back one [`Outcome`] for each of its commands, for whoever
//! proposed them, and the [`Event`]s that subscribers are told. It is a pure function of the log: no clock, no I/O, no
//! randomness, no order of a hash map. Time comes from the entries and never runs backwards, and so does the window
//! within which idempotency keys are remembered. A refusal is a result like any other: every node computes the same one.
//!
//! # What is kept where
//!
//! All of it is in memory but for the payloads of older messages. Every topic has an index of the messages it retains
//! (position, time, size, checksum: 24 bytes each), so that evicting is exact and needs no I/O. Payloads live in
//! *generations*: the current one takes what is published now; [`Machine::begin_checkpoint`] freezes it, its owner writes the rows of the
//! [`Checkpoint`] to a store without holding up `apply`, and [`Machine::end_checkpoint`] forgets the frozen payloads.
//! From then on a [`Slot`] says under which row the store has them. A message that left retention before the freeze is
//! never written at all.
//!
//! After a restart, [`Machine::restore`] builds the machine from those rows, and the entries behind them are applied
//! again. Whatever decides about the future is in the rows, down to the order in which topics are looked at for expiry:
//! a restored machine goes on exactly as one that never stopped. The rows after a checkpoint are the state's canonical
//! bytes; the property tests compare them.
//!
//! # Invariants
//!
//! - Positions are dense over the cluster and seqs over a topic; only an accepted, new message uses one.
//! - What a topic retains is the newest run of its messages, without a hole. So a seq needs no storing, and a message
//!   that is larger than `maxBytes` by itself takes all of its topic's messages with it when it goes, at once.
//! - Whether a reader has missed something is known for every cursor, however old: see [`Hole`].
//! - The work for one entry is bounded by its commands plus [`EXPIRY_STEPS_PER_ENTRY_MAX`], not by the time that passed.
//!
//! It is *not* the log (`storage`), it does not wake subscribers (`broker`), and it knows nothing of Raft.

mod access;
mod apply;
mod bundle;
mod checkpoint;
mod codec;
mod command;
mod digest;
mod entry;
mod expiring;
mod expiry;
mod history;
mod hole;
mod keys;
mod machine;
mod mark;
mod outcome;
mod payloads;
mod presence;
mod queue;
mod quotas;
mod restore;
pub mod rows;
#[cfg(test)]
mod tests;
mod tombstones;
mod topic;
mod topics;

pub use access::{REVOCATIONS_MAX, TICKETS_MAX, Ticket};
pub use checkpoint::Checkpoint;
pub use codec::CodecError;
pub use command::{Command, EncodedCommand, KeyWindow};
pub use digest::Digest;
pub use entry::Entry;
pub use expiry::EXPIRY_STEPS_PER_ENTRY_MAX;
pub use history::{HistoryRange, Page, PageLimit, Slot};
pub use hole::{Hole, Missed};
pub use machine::Machine;
pub use mark::{Holding, Mark};
pub use outcome::{Event, Outcome, Published, Refusal, Reply, decode_outcome, encode_outcome};
pub use presence::{
    Attendee, MEMBERS_MAX, MEMBERS_PER_TOPIC_MAX, MEMBERSHIPS_PER_USER_MAX, Member, Roster, RosterChange, UserStatus,
};
pub use quotas::Quotas;
pub use restore::{Contradiction, RestoreError};
pub use tombstones::TOMBSTONES_MAX;
pub use topic::{TopicId, TopicInfo};

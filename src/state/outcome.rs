//! What comes of a command: the reply to its proposer, and what subscribers are told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::codec::{self, CodecError};
use super::presence::RosterChange;
use super::topic::TopicInfo;
use crate::domain::{LogIndex, Message, NodeId, Position, Seq, Timestamp, TopicName, TopicSettings, UserId};

/// The version that the bytes of outcomes start with.
const VERSION: u8 = 4;

/// What a command came to, the same on every node.
pub type Outcome = Result<Reply, Refusal>;

/// The command was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The topic is new.
    TopicCreated(TopicInfo),
    /// The topic was there already, with equal settings.
    TopicExists(TopicInfo),
    /// The topic as it is now.
    TopicChanged(TopicInfo),
    /// The topic is gone.
    TopicDeleted,
    /// One for each message, in order.
    Published(Vec<Published>),
    /// The id of the new node.
    NodeAllotted(NodeId),
    /// The log's time has moved.
    Ticked,
    /// Each node that has applied this entry can tell its digest.
    Marked {
        /// The entry.
        entry: LogIndex,
    },
    /// The ticket is good on every node that has applied this.
    TicketCreated,
    /// Nobody who was named is let in by a node that has applied this.
    Revoked,
    /// What a node has told of its readers is noted.
    Attended {
        /// Readers for whom there is no room.
        passed_over: u64,
    },
    /// The node has no readers any more.
    Dismissed {
        /// Members who left by that.
        members: u64,
    },
}

/// What the cluster adds to a message when it stores it. With the [`crate::domain::NewMessage`] it makes the
/// [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Its place in the cluster's one order.
    pub position: Position,
    /// Its place in the topic.
    pub seq: Seq,
    /// The log's time when it was stored.
    pub created_at: Timestamp,
    /// The key was known: the numbers are those of the first message, and nothing was stored now.
    pub repeated: bool,
}

impl Published {
    /// The numbers of a message that was stored just now.
    pub(super) fn of(message: &Message) -> Self {
        let Message { position, seq, created_at, .. } = *message;
        Self { position, seq, created_at, repeated: false }
    }
}

/// The command changed nothing. Like every outcome it is computed from the log alone.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no topic of this name.
    #[error("the topic does not exist")]
    TopicNotFound,
    /// There is a topic of this name with other settings.
    #[error("the topic exists with other settings")]
    TopicExists {
        /// What it is set to.
        existing: TopicSettings,
    },
    /// The idempotency key is known with another message. Nothing of the batch was stored.
    #[error("the idempotency key of message {line} was used for another message")]
    KeyReused {
        /// Which message of the batch, counted from 0.
        line: usize,
    },
    /// There are as many tickets as there may be.
    #[error("there are too many tickets")]
    TicketsFull,
    /// There are as many revocations as there may be.
    #[error("there are too many revocations")]
    RevocationsFull,
    /// Whoever asks was turned away.
    #[error("the token was revoked")]
    Revoked,
    /// There are as many topics as there may be.
    #[error("there are too many topics")]
    TopicsFull,
    /// The subject has as many tickets as one may have.
    #[error("the subject has too many tickets")]
    SubjectTicketsFull,
}

/// What subscribers are told, in log order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A topic is there now.
    TopicCreated {
        /// Its name.
        name: TopicName,
        /// The last position given out before.
        position: Position,
    },
    /// A topic is gone.
    TopicDeleted {
        /// Its name.
        name: TopicName,
        /// The last position given out before.
        position: Position,
    },
    /// A message was stored.
    Published(Arc<Message>),
    /// Members of a topic came or went.
    Presence {
        /// The topic.
        topic: TopicName,
        /// The last position given out before.
        position: Position,
        /// See [`super::Roster::version`].
        version: u64,
        /// Who.
        change: Arc<RosterChange>,
    },
    /// A user became a member of a topic, of none before; or is a member of none any more.
    Status {
        /// Who.
        user: UserId,
        /// The last position given out before.
        position: Position,
        /// See [`super::Roster::version`].
        version: u64,
        /// Since when he is a member of some topic.
        since: Option<Timestamp>,
    },
}

/// An outcome as it travels back to the node that forwarded the command.
#[must_use]
pub fn encode_outcome(outcome: &Outcome) -> Vec<u8> {
    codec::encode(VERSION, outcome)
}

/// Reads an outcome back.
///
/// # Errors
/// The bytes are damaged or of a version that is not known.
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, CodecError> {
    codec::decode(VERSION, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_comes_back_from_its_bytes() {
        let published =
            Published { position: Position::new(7), seq: Seq::new(3), created_at: Timestamp::MAX, repeated: true };
        let outcomes = [
            Ok(Reply::Published(vec![published])),
            Ok(Reply::NodeAllotted(NodeId::new(2))),
            Err(Refusal::KeyReused { line: 3 }),
            Err(Refusal::TopicExists { existing: TopicSettings::default() }),
        ];
        for outcome in outcomes {
            assert_eq!(decode_outcome(&encode_outcome(&outcome)), Ok(outcome));
        }
        assert_eq!(decode_outcome(&[1]), Err(CodecError::Version { found: 1, expected: 4 }));
    }
}

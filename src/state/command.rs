//! What a node proposes to the log.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};
use super::{Attendee, Ticket};
use crate::domain::{
    NewMessage, NodeId, Revoked, SettingsChange, TicketId, Timestamp, TopicName, TopicSettings, UserId,
};

/// The version that the bytes of commands and entries start with.
pub(super) const VERSION: u8 = 6;

/// One change of the state. New variants go to the end and raise the version of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Creates a topic. One that exists is never disturbed.
    CreateTopic {
        /// Its name.
        name: TopicName,
        /// What its creator says of its settings. One that exists must have just those.
        settings: SettingsChange,
        /// What it is set to where its creator says nothing.
        default: TopicSettings,
    },
    /// Changes what a topic is set to, and evicts what it no longer keeps.
    ChangeTopic {
        /// Its name.
        name: TopicName,
        /// The settings to change.
        change: SettingsChange,
    },
    /// Deletes a topic, its messages and its keys.
    DeleteTopic {
        /// Its name.
        name: TopicName,
    },
    /// Publishes messages in their order, all or none of them.
    Publish {
        /// To which topic.
        topic: TopicName,
        /// The messages.
        messages: Vec<NewMessage>,
        /// Creates the topic with these settings if it is missing. Without them that is a refusal.
        create: Option<TopicSettings>,
    },
    /// Allots the id of a new node.
    AllotNode,
    /// Does nothing by itself. Its entry moves the log's time, so that what is too old goes.
    Tick,
    /// Has each node note the digest of its state, so that nodes can be compared at this entry.
    Mark,
    /// Lets whoever shows a ticket read what it allows.
    CreateTicket {
        /// Which one.
        id: TicketId,
        /// What it allows.
        ticket: Ticket,
        /// Until then.
        expires_at: Timestamp,
    },
    /// Turns somebody away who was let in.
    Revoke {
        /// Whom.
        whom: Revoked,
        /// When all that it names has expired by itself.
        until: Timestamp,
    },
    /// Notes which readers of topics with presence a node has gained and lost.
    Attend {
        /// The node.
        node: NodeId,
        /// Who reads there now, or has other data than before.
        joined: Vec<Attendee>,
        /// Who doesn't any more.
        left: Vec<(TopicName, UserId)>,
    },
    /// Notes that a node has no readers any more.
    Dismiss {
        /// The node.
        node: NodeId,
    },
}

/// How long idempotency keys are remembered. The leader's settings, which travel in each entry: so they are the same on
/// every node, and a change of them is a part of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyWindow {
    /// Milliseconds of log time since the message was published.
    pub max_age_ms: u64,
    /// The newest keys of each topic.
    pub max_keys: u64,
}

impl Default for KeyWindow {
    /// Ten minutes, 100,000 keys a topic.
    fn default() -> Self {
        Self { max_age_ms: 600_000, max_keys: 100_000 }
    }
}

impl KeyWindow {
    /// [`Self::max_age_ms`] as a duration.
    pub(super) fn max_age(self) -> Duration {
        Duration::from_millis(self.max_age_ms)
    }
}

impl Command {
    /// The command as it travels to the leader.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand(codec::encode(VERSION, self).into())
    }
}

/// A [`Command`] as bytes that are known to be readable. So a leader can put commands of several nodes into one entry
/// without writing them anew, and no node can poison the log with bytes that would stop all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedCommand(Bytes);

impl EncodedCommand {
    /// Takes bytes that came from another node.
    ///
    /// # Errors
    /// They are not a command, or one of another version.
    pub fn parse(bytes: Bytes) -> Result<Self, CodecError> {
        codec::decode::<Command>(VERSION, &bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes that [`Self::parse`] takes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The command without its version, which an entry has once for all of its commands.
    pub(super) fn body(&self) -> &[u8] {
        codec::versioned(VERSION, &self.0).expect("encoded in, or checked to have, this version")
    }
}

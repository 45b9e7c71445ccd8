//! Building the machine from the rows of its last checkpoint.

use std::collections::BTreeMap;

use thiserror::Error;

use super::Machine;
use super::access::{Access, RevocationItem, TicketItem};
use super::codec::{self, CodecError};
use super::keys::{KeyRecord, Keys};
use super::mark::Marks;
use super::payloads::Payloads;
use super::presence::{MemberRow, Presence};
use super::queue::Queue;
use super::rows::{self, MetaRow, RowKey, TopicRow};
use super::tombstones::{Tombstone, Tombstones};
use super::topic::{Kept, Topic, TopicId};
use super::topics::Topics;
use crate::domain::Message;

/// Why no machine can be built from the rows. The store is damaged, or was written by another version.
#[derive(Debug, Error)]
pub enum RestoreError<E> {
    /// The rows can't be read.
    #[error("the rows can't be read")]
    Read(#[source] E),
    /// There are rows, but not the one that says how to read them.
    #[error("the meta row is missing")]
    MetaMissing,
    /// A key that no row has.
    #[error("a row has a key that is not known")]
    UnknownKey {
        /// The key.
        key: Vec<u8>,
    },
    /// A row's value can't be read.
    #[error("a row can't be read")]
    Row {
        /// Its key.
        key: Vec<u8>,
        /// What is wrong.
        source: CodecError,
    },
    /// Rows contradict each other.
    #[error("the rows contradict each other: {0}")]
    Contradiction(Contradiction),
}

/// What rows can disagree about.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Contradiction {
    /// The meta row is there twice, or not the first.
    #[error("there is more than one meta row")]
    Meta,
    /// The meta row counts other topics.
    #[error("there are {found} topics instead of {expected}")]
    Topics {
        /// How many there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// A topic's id or name is there twice, or its id has not been given out.
    #[error("topic {0} clashes with another, or was never created")]
    Topic(TopicId),
    /// A message or key of a topic that isn't there.
    #[error("there are rows of topic {0}, but not its own")]
    Orphan(TopicId),
    /// A topic's messages are not those that its row names.
    #[error("the messages of topic {0} are not those that it retains")]
    Messages(TopicId),
    /// A topic's keys are not those that its row names.
    #[error("the keys of topic {0} are not those that it remembers")]
    Keys(TopicId),
    /// The meta row counts other tombstones, or one clashes with another.
    #[error("the tombstones are not those that the meta row counts")]
    Tombstones,
    /// The meta row counts other tickets or revocations, or one clashes with another.
    #[error("the tickets and revocations are not those that the meta row counts")]
    Access,
    /// The meta row counts other members, or one clashes with another or has no topic.
    #[error("the members are not those that the meta row counts")]
    Presence,
}

impl<E> From<Contradiction> for RestoreError<E> {
    fn from(contradiction: Contradiction) -> Self {
        Self::Contradiction(contradiction)
    }
}

impl Machine {
    /// Builds the machine from all rows of the store, in the order of their keys. No rows make a new machine. Then the
    /// entries of the log after [`Self::applied`] are to be applied.
    ///
    /// # Errors
    /// The rows can't be read, are damaged or of another version, or contradict each other.
    pub fn restore<E>(rows: impl IntoIterator<Item = Result<(Vec<u8>, Vec<u8>), E>>) -> Result<Self, RestoreError<E>> {
        let mut rebuilding: Option<Rebuilding> = None;
        for row in rows {
            let (key, value) = row.map_err(RestoreError::Read)?;
            let Some(parsed) = RowKey::parse(&key) else { return Err(RestoreError::UnknownKey { key }) };
            let damaged = |source| RestoreError::Row { key, source };
            match (parsed, &mut rebuilding) {
                (RowKey::Consensus, _) => {}
                (RowKey::Meta, None) => {
                    let versions = rows::VERSION_MIN..=rows::VERSION;
                    rebuilding = Some(Rebuilding::new(codec::decode_any(versions, &value).map_err(damaged)?));
                }
                (RowKey::Meta, Some(_)) => return Err(Contradiction::Meta.into()),
                (_, None) => return Err(RestoreError::MetaMissing),
                (RowKey::Topic(id), Some(machine)) => {
                    machine.topic(id, codec::decode_bare(&value).map_err(damaged)?)?;
                }
                (RowKey::Messages(id, first), Some(machine)) => {
                    let name = &machine.rebuilt(id)?.row.name;
                    for message in rows::unpack_messages(name, first, &value).map_err(damaged)? {
                        machine.message(id, &message)?;
                    }
                }
                (RowKey::Keys(id, first), Some(machine)) => {
                    for (number, record) in rows::unpack_keys(first, &value).map_err(damaged)? {
                        machine.key(id, number, record)?;
                    }
                }
                (RowKey::Tombstone(number), Some(machine)) => {
                    machine.tombstone(number, codec::decode_bare(&value).map_err(damaged)?)?;
                }
                (RowKey::Ticket(number), Some(machine)) => {
                    machine.ticket(number, codec::decode_bare(&value).map_err(damaged)?)?;
                }
                (RowKey::Revocation(number), Some(machine)) => {
                    machine.revocation(number, codec::decode_bare(&value).map_err(damaged)?)?;
                }
                (RowKey::Member(number), Some(machine)) => {
                    machine.member(number, codec::decode_bare(&value).map_err(damaged)?)?;
                }
            }
        }
        Ok(rebuilding.map_or_else(|| Ok(Self::new()), Rebuilding::finish)?)
    }
}

/// A machine of which only some rows have been seen.
struct Rebuilding {
    meta: MetaRow,
    topics: BTreeMap<TopicId, Rebuilt>,
    tombstones: Tombstones,
    access: Access,
    presence: Presence,
}

/// A topic whose messages and keys are still to come.
struct Rebuilt {
    topic: Topic,
    row: TopicRow,
}

impl Rebuilding {
    fn new(meta: MetaRow) -> Self {
        let tombstones = Tombstones::new(meta.next_tombstone, meta.tombstones_forgotten_up_to);
        let access = Access::starting_at(meta.next_ticket, meta.next_revocation);
        let presence = Presence::starting_at(meta.next_member, meta.presence_version);
        Self { meta, topics: BTreeMap::new(), tombstones, access, presence }
    }

    fn topic(&mut self, id: TopicId, row: TopicRow) -> Result<(), Contradiction> {
        let mut topic = Topic::new(id, row.name.clone(), row.settings, row.created_at, row.predecessors);
        topic.evicted = row.evicted;
        topic.last_message = row.evicted.position;
        topic.retained = Queue::starting_at(row.first_seq.get());
        topic.keys = Keys::starting_at(row.first_key);
        topic.due = row.due;
        let is_new = self.topics.insert(id, Rebuilt { topic, row }).is_none();
        if is_new && id < self.meta.next_topic { Ok(()) } else { Err(Contradiction::Topic(id)) }
    }

    fn rebuilt(&mut self, id: TopicId) -> Result<&mut Rebuilt, Contradiction> {
        self.topics.get_mut(&id).ok_or(Contradiction::Orphan(id))
    }

    fn message(&mut self, id: TopicId, message: &Message) -> Result<(), Contradiction> {
        let Rebuilt { topic, row } = self.rebuilt(id)?;
        if message.position <= topic.evicted.position {
            return Ok(());
        }
        if message.seq != topic.next_seq() || message.seq >= row.next_seq || message.position <= topic.last_message {
            return Err(Contradiction::Messages(id));
        }
        topic.retain(Kept::of(message));
        Ok(())
    }

    fn key(&mut self, id: TopicId, number: u64, record: KeyRecord) -> Result<(), Contradiction> {
        let Rebuilt { topic, row } = self.rebuilt(id)?;
        if number < row.first_key {
            return Ok(());
        }
        if number != topic.keys.remembered().end || number >= row.next_key {
            return Err(Contradiction::Keys(id));
        }
        topic.keys.restore(record);
        Ok(())
    }

    fn tombstone(&mut self, number: u64, tombstone: Tombstone) -> Result<(), Contradiction> {
        let is_new = number < self.meta.next_tombstone && self.tombstones.insert(number, tombstone);
        if is_new { Ok(()) } else { Err(Contradiction::Tombstones) }
    }

    fn ticket(&mut self, number: u64, ticket: TicketItem) -> Result<(), Contradiction> {
        if self.access.tickets.restore(number, ticket) { Ok(()) } else { Err(Contradiction::Access) }
    }

    fn revocation(&mut self, number: u64, revocation: RevocationItem) -> Result<(), Contradiction> {
        if self.access.revocations.restore(number, revocation) { Ok(()) } else { Err(Contradiction::Access) }
    }

    fn member(&mut self, number: u64, row: MemberRow) -> Result<(), Contradiction> {
        let has_topic = self.topics.get(&row.topic).is_some_and(|rebuilt| rebuilt.row.settings.presence);
        if self.presence.restore(number, row) && has_topic { Ok(()) } else { Err(Contradiction::Presence) }
    }

    /// All rows have been seen: checks that none is missing.
    fn finish(self) -> Result<Machine, Contradiction> {
        let Self { meta, topics: rebuilt, tombstones, access, presence } = self;
        let mut topics = Topics::new(meta.next_topic);
        for (id, Rebuilt { topic, row }) in rebuilt {
            let messages_match = topic.next_seq() == row.next_seq
                && topic.bytes == row.bytes
                && topic.digest == row.messages
                && topic.last_message == row.last_message
                && row.last_message <= meta.position;
            if !messages_match {
                return Err(Contradiction::Messages(id));
            }
            if topic.keys.remembered().end != row.next_key || topic.keys.digest() != row.keys {
                return Err(Contradiction::Keys(id));
            }
            if !topics.insert(topic) {
                return Err(Contradiction::Topic(id));
            }
        }
        let found = topics.len() as u64;
        if found != meta.topics {
            return Err(Contradiction::Topics { found, expected: meta.topics });
        }
        if tombstones.len() != meta.tombstones {
            return Err(Contradiction::Tombstones);
        }
        if (access.tickets.len(), access.revocations.len()) != (meta.tickets, meta.revocations) {
            return Err(Contradiction::Access);
        }
        if presence.len() as u64 != meta.members {
            return Err(Contradiction::Presence);
        }
        Ok(Machine {
            applied: meta.applied,
            time: meta.time,
            position: meta.position,
            last_node: meta.last_node,
            topics,
            payloads: Payloads::stored_up_to(meta.position),
            tombstones,
            access: access.restored(),
            presence,
            marks: Marks::default(),
        })
    }
}

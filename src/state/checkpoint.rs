//! Moving what has changed into the store.

use std::sync::Arc;

use serde::Serialize;

use super::access::RevokedAt;
use super::expiring::Changes;
use super::keys::KeyChanges;
use super::payloads::Generation;
use super::presence::MemberChanges;
use super::rows::{self, Loss, MetaRow, RowChange, RowKey, TopicRow};
use super::tombstones::Tombstone;
use super::topic::{Topic, TopicId};
use super::{Machine, Ticket, codec};
use crate::domain::{LogIndex, Position, Revoked, Seq, TicketId};

/// The difference between the store and the machine at one moment. It is taken in the time it takes to list the changed
/// rows; their bytes are made by [`Self::changes`], while the machine goes on.
#[derive(Debug)]
pub struct Checkpoint {
    meta: MetaRow,
    topics: Vec<ChangedTopic>,
    deleted: Vec<TopicId>,
    /// Retained when the checkpoint began, every one of them.
    messages: Arc<Generation>,
    tombstones: Vec<(u64, Option<Tombstone>)>,
    tickets: Changes<TicketId, Ticket>,
    revocations: Changes<Revoked, RevokedAt>,
    members: MemberChanges,
}

#[derive(Debug)]
struct ChangedTopic {
    id: TopicId,
    row: TopicRow,
    evicted: Option<Loss>,
    keys: KeyChanges,
}

impl Machine {
    /// Begins a checkpoint: all of its [`Checkpoint::changes`] are to be written to the store at once, and then
    /// [`Self::end_checkpoint`] called. `None` if one is under way.
    ///
    /// There is no way back: if the changes can't be written, the node must stop and start again from the store and the
    /// log.
    pub fn begin_checkpoint(&mut self) -> Option<Checkpoint> {
        let frozen = self.payloads.freeze(self.position)?;
        let (topics, deleted) = self.topics.take_changes(|topic, keys| {
            let first =
                topic.retained.oldest().map(|kept| kept.position).filter(|first| frozen.messages.follows(*first));
            let loss = first.map_or(Loss::All, |first| Loss::Before(first.get()));
            let evicted = frozen.evicted.contains(&topic.id).then_some(loss);
            ChangedTopic { id: topic.id, row: row(topic), evicted, keys }
        });
        let tombstones = self.tombstones.take_changes();
        let tickets = self.access.tickets.take_changes();
        let revocations = self.access.revocations.take_changes();
        let members = self.presence.take_changes();
        let messages = frozen.messages;
        Some(Checkpoint { meta: self.meta(), topics, deleted, messages, tombstones, tickets, revocations, members })
    }

    /// The store has everything of the checkpoint. The payloads it held are freed when the checkpoint is dropped, so
    /// that this call is short.
    pub fn end_checkpoint(&mut self, checkpoint: &Checkpoint) {
        debug_assert!(checkpoint.applied() <= self.applied, "the checkpoint that was begun");
        self.payloads.thaw();
    }

    /// About how many rows a checkpoint would write now, not counting keys.
    #[must_use]
    pub fn changed_rows(&self) -> usize {
        let topics = self.topics.changed_rows();
        topics
            + self.payloads.changed_rows(topics)
            + self.tombstones.changed_rows()
            + self.access.changed_rows()
            + self.presence.changed_rows()
    }

    /// Bytes of the messages that a checkpoint would write now. What was evicted in the meantime doesn't count.
    #[must_use]
    pub fn changed_bytes(&self) -> u64 {
        self.payloads.changed_bytes()
    }

    pub(super) fn meta(&self) -> MetaRow {
        MetaRow {
            applied: self.applied,
            time: self.time,
            position: self.position,
            last_node: self.last_node,
            next_topic: self.topics.next_id(),
            topics: self.topics.len() as u64,
            tombstones: self.tombstones.len(),
            next_tombstone: self.tombstones.next(),
            tombstones_forgotten_up_to: self.tombstones.forgotten_up_to(),
            tickets: self.access.tickets.len(),
            next_ticket: self.access.tickets.next(),
            revocations: self.access.revocations.len(),
            next_revocation: self.access.revocations.next(),
            members: self.presence.len() as u64,
            next_member: self.presence.next(),
            presence_version: self.presence.version(),
        }
    }
}

/// A topic as its row has it.
pub(super) fn row(topic: &Topic) -> TopicRow {
    let (seqs, keys) = (topic.retained.numbers(), topic.keys.remembered());
    TopicRow {
        name: topic.name.clone(),
        settings: topic.settings(),
        created_at: topic.created_at,
        predecessors: topic.predecessors,
        evicted: topic.evicted,
        last_message: topic.last_message,
        first_seq: Seq::new(seqs.start),
        next_seq: Seq::new(seqs.end),
        bytes: topic.bytes,
        messages: topic.digest,
        first_key: keys.start,
        next_key: keys.end,
        keys: topic.keys.digest(),
        due: topic.due,
    }
}

impl Checkpoint {
    /// The last entry of the log that the checkpoint contains.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.meta.applied
    }

    /// The changes, each made when it is asked for. They are one change of the store: all of them or none.
    pub fn changes(&self) -> impl Iterator<Item = RowChange> {
        let meta = put(RowKey::Meta, codec::encode(rows::VERSION, &self.meta));
        let topics = self.topics.iter().flat_map(ChangedTopic::changes);
        let deleted = self.deleted.iter().flat_map(|id| {
            [delete(RowKey::Topic(*id)), Loss::All.change(messages_of(*id)), Loss::All.change(keys_of(*id))]
        });
        let messages = self.messages.by_topic().into_iter().flat_map(|(id, messages)| {
            rows::pack_messages(id, messages.into_iter()).map(|(key, value)| put(key, value))
        });
        let tombstones = numbered(&self.tombstones, RowKey::Tombstone);
        let tickets = numbered(&self.tickets, RowKey::Ticket);
        let revocations = numbered(&self.revocations, RowKey::Revocation);
        let members = numbered(&self.members, RowKey::Member);
        let of_topics = std::iter::once(meta).chain(topics).chain(deleted).chain(messages);
        of_topics.chain(tombstones).chain(tickets).chain(revocations).chain(members)
    }
}

impl ChangedTopic {
    fn changes(&self) -> impl Iterator<Item = RowChange> {
        let row = put(RowKey::Topic(self.id), codec::encode_bare(&self.row));
        let evicted = self.evicted.map(|loss| loss.change(messages_of(self.id)));
        let forgotten = self.keys.forgotten.map(|loss| loss.change(keys_of(self.id)));
        let new = rows::pack_keys(self.id, self.keys.new.iter()).map(|(key, value)| put(key, value));
        std::iter::once(row).chain(evicted).chain(forgotten).chain(new)
    }
}

fn messages_of(id: TopicId) -> impl Fn(u64) -> RowKey {
    move |position| RowKey::Messages(id, Position::new(position))
}

fn keys_of(id: TopicId) -> impl Fn(u64) -> RowKey {
    move |number| RowKey::Keys(id, number)
}

/// Rows that have no topic.
fn numbered<T: Serialize>(changes: &[(u64, Option<T>)], key: fn(u64) -> RowKey) -> impl Iterator<Item = RowChange> {
    changes.iter().map(move |(number, value)| match value {
        Some(value) => put(key(*number), codec::encode_bare(value)),
        None => delete(key(*number)),
    })
}

fn put(key: RowKey, value: Vec<u8>) -> RowChange {
    RowChange::Put { key: key.encode(), value }
}

fn delete(key: RowKey) -> RowChange {
    RowChange::Delete { key: key.encode() }
}

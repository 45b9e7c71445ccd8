//! Presence: who reads which topic, through which nodes.
//!
//! A *member* of a topic is a user who reads it through at least one node. Nodes tell what has changed with their own
//! readers, in batches ([`super::Command::Attend`]); what a node that is gone had told is taken back at once
//! ([`super::Command::Dismiss`]). So a user who has moved from one node to another was never away. Nothing here depends
//! on time: when somebody counts as gone is decided before the log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Machine;
use super::outcome::{Event, Outcome, Reply};
use super::topic::TopicId;
use crate::domain::{MemberData, NodeId, Position, Timestamp, TopicName, UserId};

/// Members of one topic. Every new watcher is sent all of them.
pub const MEMBERS_PER_TOPIC_MAX: usize = 5_000;

/// Members of all topics together, at about half a kilobyte each without their data.
pub const MEMBERS_MAX: usize = 200_000;

/// Topics of which one user is a member: so many that nobody takes up the room of all others.
pub const MEMBERSHIPS_PER_USER_MAX: usize = 1_000;

/// Members that one event names: with the largest data a quarter of a megabyte.
const MEMBERS_PER_EVENT_MAX: usize = 256;

/// A user who reads a topic, as a node tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attendee {
    /// What he reads.
    pub topic: TopicName,
    /// Who he is.
    pub user: UserId,
    /// What others see of him.
    pub data: Option<MemberData>,
}

/// A member of a topic, as others see him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who he is.
    pub user: UserId,
    /// The log's time when he came.
    pub since: Timestamp,
    /// What his token says that others should see.
    pub data: Option<MemberData>,
}

/// The members of a topic, or some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Rises with every change of presence in the cluster. It contains those up to this one.
    pub version: u64,
    /// How many there are.
    pub count: usize,
    /// In the order of their ids.
    pub members: Vec<Member>,
}

/// What has changed among the members of a topic, in one entry of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterChange {
    /// Who was not there before.
    pub joined: Vec<Member>,
    /// Who has other data now.
    pub updated: Vec<Member>,
    /// Who is not there any more.
    pub left: Vec<UserId>,
}

/// Whether and where a user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserStatus {
    /// The log's time when he became a member of some topic, and has been of one or another ever since.
    pub since: Timestamp,
    /// The topics of which he is a member, when he came there, and the nodes through which he reads them.
    pub topics: Vec<(TopicName, Timestamp, Vec<NodeId>)>,
}

/// A membership, as its row has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberRow {
    pub(super) topic: TopicId,
    pub(super) user: UserId,
    since: Timestamp,
    /// Of the user, not of this membership.
    online_since: Timestamp,
    data: Option<MemberData>,
    nodes: BTreeSet<NodeId>,
}

/// Memberships, numbered in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Presence {
    by_number: BTreeMap<u64, MemberRow>,
    rosters: BTreeMap<TopicId, BTreeMap<UserId, u64>>,
    users: BTreeMap<UserId, BTreeSet<u64>>,
    nodes: BTreeMap<NodeId, BTreeSet<u64>>,
    next: u64,
    version: u64,
    /// Numbers whose rows differ from the store's.
    changed: BTreeSet<u64>,
    /// See [`Machine::presence_resets`]. Not a part of the state.
    resets: u64,
}

/// The rows that have changed: nothing for those to delete.
pub(super) type MemberChanges = Vec<(u64, Option<MemberRow>)>;

/// What one command changes.
#[derive(Debug, Default)]
struct Changes {
    topics: BTreeMap<TopicId, RosterChange>,
    /// Users who were members of no topic before.
    came: BTreeSet<UserId>,
    /// Users who may be members of none now.
    left: BTreeSet<UserId>,
}

impl MemberRow {
    fn member(&self) -> Member {
        Member { user: self.user.clone(), since: self.since, data: self.data.clone() }
    }
}

impl Presence {
    pub(super) fn starting_at(next: u64, version: u64) -> Self {
        Self { next, version, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// The number of the next one.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &MemberRow> {
        self.by_number.values()
    }

    /// Adds one that the store has. `false` if it clashes with another, or its number was never given out.
    pub(super) fn restore(&mut self, number: u64, row: MemberRow) -> bool {
        let is_known = self.by_number.contains_key(&number) || self.number(row.topic, &row.user).is_some();
        let is_good = number < self.next && !is_known && !row.nodes.is_empty();
        self.insert(number, row);
        is_good
    }

    pub(super) fn changed_rows(&self) -> usize {
        self.changed.len()
    }

    /// What has changed since the last call, or since the rows were read.
    pub(super) fn take_changes(&mut self) -> MemberChanges {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|number| (number, self.by_number.get(&number).cloned())).collect()
    }

    fn number(&self, topic: TopicId, user: &UserId) -> Option<u64> {
        self.rosters.get(&topic)?.get(user).copied()
    }

    fn get(&self, topic: TopicId, user: &UserId) -> Option<&MemberRow> {
        self.by_number.get(&self.number(topic, user)?)
    }

    fn members(&self, topic: TopicId) -> usize {
        self.rosters.get(&topic).map_or(0, BTreeMap::len)
    }

    /// Since when a user is a member of some topic.
    fn online_since(&self, user: &UserId) -> Option<Timestamp> {
        let number = self.users.get(user)?.first()?;
        Some(self.by_number.get(number)?.online_since)
    }

    /// A user reads a topic through a node. `false` if there is no room for him.
    fn join(&mut self, topic: TopicId, attendee: Attendee, node: NodeId, now: Timestamp, to: &mut Changes) -> bool {
        let Attendee { topic: _, user, data } = attendee;
        if let Some(number) = self.number(topic, &user) {
            let Some(row) = self.by_number.get_mut(&number) else { return true };
            let is_new_here = row.nodes.insert(node);
            let has_new_data = row.data != data;
            if has_new_data {
                row.data = data;
                to.topics.entry(topic).or_default().updated.push(row.member());
            }
            if is_new_here || has_new_data {
                self.changed.insert(number);
            }
            self.nodes.entry(node).or_default().insert(number);
            return true;
        }
        let of_user = self.users.get(&user).map_or(0, BTreeSet::len);
        let is_full = self.members(topic) >= MEMBERS_PER_TOPIC_MAX || self.len() >= MEMBERS_MAX;
        if is_full || of_user >= MEMBERSHIPS_PER_USER_MAX {
            return false;
        }
        let online_since = self.online_since(&user).unwrap_or_else(|| {
            to.came.insert(user.clone());
            now
        });
        let row = MemberRow { topic, user, since: now, online_since, data, nodes: BTreeSet::from([node]) };
        to.topics.entry(topic).or_default().joined.push(row.member());
        let number = self.next;
        self.next += 1;
        self.changed.insert(number);
        self.insert(number, row);
        true
    }

    /// A user doesn't read a topic through a node any more.
    fn leave(&mut self, number: u64, node: NodeId, to: &mut Changes) {
        let Some(row) = self.by_number.get_mut(&number) else { return };
        if !row.nodes.remove(&node) {
            return;
        }
        self.changed.insert(number);
        if row.nodes.is_empty() {
            self.remove(number, to);
        }
        if let Some(numbers) = self.nodes.get_mut(&node) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.nodes.remove(&node);
            }
        }
    }

    fn insert(&mut self, number: u64, row: MemberRow) {
        self.rosters.entry(row.topic).or_default().insert(row.user.clone(), number);
        self.users.entry(row.user.clone()).or_default().insert(number);
        for node in &row.nodes {
            self.nodes.entry(*node).or_default().insert(number);
        }
        self.by_number.insert(number, row);
    }

    fn remove(&mut self, number: u64, to: &mut Changes) {
        let Some(row) = self.by_number.remove(&number) else { return };
        self.changed.insert(number);
        if let Some(roster) = self.rosters.get_mut(&row.topic) {
            roster.remove(&row.user);
            if roster.is_empty() {
                self.rosters.remove(&row.topic);
            }
        }
        if let Some(numbers) = self.users.get_mut(&row.user) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.users.remove(&row.user);
            }
        }
        to.topics.entry(row.topic).or_default().left.push(row.user.clone());
        to.left.insert(row.user);
    }
}

impl Machine {
    /// What a node tells of its readers. First who came: a user who goes from one topic to another is online throughout.
    pub(super) fn attend(
        &mut self,
        node: NodeId,
        joined: Vec<Attendee>,
        left: Vec<(TopicName, UserId)>,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let mut changes = Changes::default();
        let mut passed_over = 0;
        for attendee in joined {
            let Some(topic) = self.topics.get(&attendee.topic).filter(|topic| topic.presence) else { continue };
            if !self.presence.join(topic.id, attendee, node, self.time, &mut changes) {
                passed_over += 1;
            }
        }
        for (topic, user) in left {
            let number = self.topics.get(&topic).and_then(|topic| self.presence.number(topic.id, &user));
            if let Some(number) = number {
                self.presence.leave(number, node, &mut changes);
            }
        }
        self.tell(changes, events);
        Ok(Reply::Attended { passed_over })
    }

    /// A node is gone, and with it all that it has told.
    pub(super) fn dismiss(&mut self, node: NodeId, events: &mut Vec<Event>) -> Outcome {
        let mut changes = Changes::default();
        for number in self.presence.nodes.get(&node).cloned().unwrap_or_default() {
            self.presence.leave(number, node, &mut changes);
        }
        self.presence.resets += 1;
        let members = changes.topics.values().map(|change| change.left.len() as u64).sum();
        self.tell(changes, events);
        Ok(Reply::Dismissed { members })
    }

    /// A topic has come, has gone, or has got or lost its presence: it has no members.
    pub(super) fn reset_presence(&mut self, topic: TopicId, events: &mut Vec<Event>) {
        self.presence.resets += 1;
        let numbers: Vec<u64> =
            self.presence.rosters.get(&topic).into_iter().flatten().map(|(_, number)| *number).collect();
        let mut changes = Changes::default();
        for number in numbers {
            let nodes = self.presence.by_number.get(&number).map(|row| row.nodes.clone()).unwrap_or_default();
            for node in nodes {
                self.presence.leave(number, node, &mut changes);
            }
        }
        self.tell(changes, events);
    }

    fn tell(&mut self, changes: Changes, events: &mut Vec<Event>) {
        let position = self.position;
        for (id, change) in changes.topics {
            let Some(topic) = self.topics.by_id(id).map(|topic| topic.name.clone()) else { continue };
            for change in change.split() {
                self.presence.version += 1;
                let version = self.presence.version;
                events.push(Event::Presence { topic: topic.clone(), position, version, change: Arc::new(change) });
            }
        }
        let is_online = |user: &UserId| self.presence.users.contains_key(user);
        let came = changes.came.iter().filter(|user| is_online(user));
        let gone = changes.left.iter().filter(|user| !is_online(user) && !changes.came.contains(user));
        for user in came.chain(gone).cloned().collect::<Vec<_>>() {
            self.presence.version += 1;
            let (since, version) = (self.presence.online_since(&user), self.presence.version);
            events.push(Event::Status { user, position, version, since });
        }
    }

    /// Whether a topic exists and has presence.
    #[must_use]
    pub fn has_presence(&self, topic: &TopicName) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.presence)
    }

    /// The members of a topic, as many as `limit` behind `after`. `None` if there is no such topic, or it has no presence.
    #[must_use]
    pub fn roster(&self, topic: &TopicName, after: Option<&UserId>, limit: usize) -> Option<Roster> {
        let topic = self.topics.get(topic).filter(|topic| topic.presence)?;
        let version = self.presence.version;
        let Some(roster) = self.presence.rosters.get(&topic.id) else {
            return Some(Roster { version, ..Roster::default() });
        };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let numbers = roster.range::<UserId, _>((start, Bound::Unbounded)).map(|(_, number)| number).take(limit);
        let members = numbers.filter_map(|number| self.presence.by_number.get(number)).map(MemberRow::member);
        Some(Roster { version, count: roster.len(), members: members.collect() })
    }

    /// Since when a user is a member of some topic.
    #[must_use]
    pub fn online_since(&self, user: &UserId) -> Option<Timestamp> {
        self.presence.online_since(user)
    }

    /// See [`Roster::version`].
    #[must_use]
    pub fn presence_version(&self) -> u64 {
        self.presence.version
    }

    /// Where a user is, if he is a member of any topic.
    #[must_use]
    pub fn user_status(&self, user: &UserId) -> Option<UserStatus> {
        let rows = self.presence.users.get(user)?.iter().filter_map(|number| self.presence.by_number.get(number));
        let topics = rows.filter_map(|row| {
            let name = self.topics.by_id(row.topic)?.name.clone();
            Some((name, row.since, row.nodes.iter().copied().collect()))
        });
        Some(UserStatus { since: self.presence.online_since(user)?, topics: topics.collect() })
    }

    /// Whether a user is known to read a topic through a node, and with which data.
    #[must_use]
    pub fn attendee(&self, topic: &TopicName, user: &UserId, node: NodeId) -> Option<Option<&MemberData>> {
        let row = self.presence.get(self.topics.get(topic)?.id, user)?;
        row.nodes.contains(&node).then_some(row.data.as_ref())
    }

    /// All who are known to read something through a node.
    pub fn attendees(&self, node: NodeId) -> impl Iterator<Item = (&TopicName, &UserId)> {
        let numbers = self.presence.nodes.get(&node).into_iter().flatten();
        let rows = numbers.filter_map(|number| self.presence.by_number.get(number));
        rows.filter_map(|row| Some((&self.topics.by_id(row.topic)?.name, &row.user)))
    }

    /// The nodes through which members read.
    pub fn attended_nodes(&self) -> impl Iterator<Item = NodeId> {
        self.presence.nodes.keys().copied()
    }

    /// How many members all topics have, together.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.presence.len()
    }

    /// Rises when nodes may have to tell again who reads what: a topic has got presence, or a node was dismissed that may
    /// be there after all.
    #[must_use]
    pub fn presence_resets(&self) -> u64 {
        self.presence.resets
    }
}

impl RosterChange {
    /// In parts that an event can hold.
    fn split(self) -> Vec<Self> {
        let count = self.joined.len() + self.updated.len() + self.left.len();
        if count <= MEMBERS_PER_EVENT_MAX {
            return vec![self];
        }
        let joined =
            self.joined.chunks(MEMBERS_PER_EVENT_MAX).map(|part| Self { joined: part.to_vec(), ..Self::default() });
        let updated =
            self.updated.chunks(MEMBERS_PER_EVENT_MAX).map(|part| Self { updated: part.to_vec(), ..Self::default() });
        let left = self.left.chunks(MEMBERS_PER_EVENT_MAX).map(|part| Self { left: part.to_vec(), ..Self::default() });
        joined.chain(updated).chain(left).collect()
    }
}

impl Event {
    /// The position behind which it happened.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::TopicCreated { position, .. }
            | Self::TopicDeleted { position, .. }
            | Self::Presence { position, .. }
            | Self::Status { position, .. } => *position,
            Self::Published(message) => message.position,
        }
    }
}

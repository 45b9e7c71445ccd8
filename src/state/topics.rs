//! All topics, by name and by id.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::KeyWindow;
use super::expiry::{Due, EXPIRY_STEPS_PER_ENTRY_MAX};
use super::keys::KeyChanges;
use super::payloads::Payloads;
use super::tombstones::End;
use super::topic::{Topic, TopicId};
use crate::domain::{Pattern, Selection, Timestamp, TopicName, TopicSettings};

/// The topics, with the bookkeeping that must not fall out of step with them: what is due, and what has changed since
/// the last checkpoint.
#[derive(Debug)]
pub(super) struct Topics {
    ids: BTreeMap<TopicName, TopicId>,
    by_id: BTreeMap<TopicId, Topic>,
    next_id: TopicId,
    due: Due,
    /// Topics whose rows differ from the store's. Some of them may be gone by now.
    changed: Vec<TopicId>,
    deleted: Vec<TopicId>,
}

impl Topics {
    pub(super) fn new(next_id: TopicId) -> Self {
        Self {
            ids: BTreeMap::new(),
            by_id: BTreeMap::new(),
            next_id,
            due: Due::default(),
            changed: Vec::new(),
            deleted: Vec::new(),
        }
    }

    pub(super) fn get(&self, name: &TopicName) -> Option<&Topic> {
        self.by_id.get(self.ids.get(name)?)
    }

    pub(super) fn by_id(&self, id: TopicId) -> Option<&Topic> {
        self.by_id.get(&id)
    }

    /// In the order of their ids.
    pub(super) fn all(&self) -> impl Iterator<Item = &Topic> {
        self.by_id.values()
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn next_id(&self) -> TopicId {
        self.next_id
    }

    /// When the first topic has to be looked at for its age.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| at)
    }

    /// The topics from a name on, in the order of their names.
    pub(super) fn from(&self, start: Bound<&str>) -> impl Iterator<Item = &Topic> {
        self.ids.range::<str, _>((start, Bound::Unbounded)).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// The topics of a selection, each once. Costs a seek for each name, and for each pattern a walk over the topics that
    /// share the levels before its first wildcard.
    pub(super) fn selected(&self, selection: &Selection) -> Vec<&Topic> {
        let named = selection.topics.iter().filter_map(|name| self.get(name));
        let matching = selection.patterns.iter().flat_map(|pattern| {
            let prefix = literal_prefix(pattern);
            self.from(Bound::Included(prefix))
                .take_while(move |topic| topic.name.as_str().starts_with(prefix))
                .filter(|topic| pattern.matches(&topic.name))
        });
        let mut topics: Vec<&Topic> = named.chain(matching).collect();
        topics.sort_unstable_by_key(|topic| topic.id);
        topics.dedup_by_key(|topic| topic.id);
        topics
    }

    /// Creates a topic. Its name must be free.
    pub(super) fn create(
        &mut self,
        name: TopicName,
        settings: TopicSettings,
        created_at: Timestamp,
        predecessors: End,
    ) -> &Topic {
        let id = self.next_id;
        self.next_id = TopicId::new(id.get() + 1);
        let topic = Topic::new(id, name.clone(), settings, created_at, predecessors);
        self.ids.insert(name, id);
        let topic = self.by_id.entry(id).or_insert(topic);
        mark_changed(&mut self.changed, topic);
        topic
    }

    /// Adds a topic with all that it has. `false` if its name or id is taken.
    pub(super) fn insert(&mut self, topic: Topic) -> bool {
        self.due.reschedule(topic.id, None, topic.due);
        let name_is_free = self.ids.insert(topic.name.clone(), topic.id).is_none();
        self.by_id.insert(topic.id, topic).is_none() && name_is_free
    }

    /// Takes a topic out.
    pub(super) fn remove(&mut self, name: &TopicName) -> Option<Topic> {
        let topic = self.by_id.remove(&self.ids.remove(name)?)?;
        self.due.reschedule(topic.id, topic.due, None);
        self.deleted.push(topic.id);
        Some(topic)
    }

    /// Changes a topic, and sees to it that it is looked at in time.
    pub(super) fn update<R>(
        &mut self,
        id: TopicId,
        window: KeyWindow,
        change: impl FnOnce(&mut Topic) -> R,
    ) -> Option<R> {
        let topic = self.by_id.get_mut(&id)?;
        let result = change(topic);
        mark_changed(&mut self.changed, topic);
        let next = topic.next_expiry(window);
        if next.is_some_and(|next| topic.due.is_none_or(|due| next < due)) {
            self.due.reschedule(topic.id, topic.due, next);
            topic.due = next;
        }
        Some(result)
    }

    /// Evicts and forgets what is too old, as much as one entry may.
    pub(super) fn expire(&mut self, now: Timestamp, window: KeyWindow, payloads: &mut Payloads) {
        let mut steps_left = EXPIRY_STEPS_PER_ENTRY_MAX;
        while steps_left > 0
            && let Some((due, id)) = self.due.first()
            && due <= now
        {
            let topic = self.by_id.get_mut(&id).expect("only topics that exist are due");
            steps_left -= 1;
            steps_left -= topic.expire(now, window, steps_left, payloads);
            mark_changed(&mut self.changed, topic);
            let next = topic.next_expiry(window);
            self.due.reschedule(id, topic.due, next);
            topic.due = next;
        }
    }

    /// Topic rows that a checkpoint would write now.
    pub(super) fn changed_rows(&self) -> usize {
        self.changed.len() + self.deleted.len()
    }

    /// What has changed since the last call, or since the rows were read: changed topics, each with what has changed of
    /// its keys, and deleted ones.
    pub(super) fn take_changes<R>(&mut self, mut row: impl FnMut(&Topic, KeyChanges) -> R) -> (Vec<R>, Vec<TopicId>) {
        let mut changed = std::mem::take(&mut self.changed);
        // In the order in which they lie in memory: apply waits for this.
        changed.sort_unstable();
        let mut rows = Vec::with_capacity(changed.len());
        for id in changed {
            if let Some(topic) = self.by_id.get_mut(&id) {
                topic.changed = false;
                let keys = topic.keys.take_changes();
                rows.push(row(topic, keys));
            }
        }
        (rows, std::mem::take(&mut self.deleted))
    }
}

fn mark_changed(changed: &mut Vec<TopicId>, topic: &mut Topic) {
    if !topic.changed {
        topic.changed = true;
        changed.push(topic.id);
    }
}

/// What every name that the pattern stands for starts with.
fn literal_prefix(pattern: &Pattern) -> &str {
    let text = pattern.as_str();
    let is_wild = |level: &str| matches!(level, "*" | "**");
    let literal: usize = text.split(':').take_while(|level| !is_wild(level)).map(|level| level.len() + 1).sum();
    text.get(..literal).unwrap_or(text)
}

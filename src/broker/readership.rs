//! Which topics are read in one format, and because of whom.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Common;
use super::frame::Format;
use super::inbox::{Followed, Inbox};
use super::topic_log::TopicLog;
use crate::domain::{Selection, TopicName};

/// The topics that somebody here reads in one format, each with its log.
///
/// Names are found by hash. Patterns are matched lazily: at a topic's next event against the patterns that came since its
/// last one. So a subscription with patterns costs nothing when it comes, and a message costs one or two look-ups however
/// many patterns there are.
#[derive(Debug)]
pub(super) struct Readership {
    format: Format,
    common: Arc<Common>,
    topics: HashMap<TopicName, Topic>,
    patterns: BTreeMap<PatternsId, Patterns>,
    newest: PatternsId,
    /// Topics without a log, and the last patterns that did not match them.
    unmatched: HashMap<TopicName, PatternsId>,
    /// Logs that were taken out, and not because their topic was deleted just now.
    orphans: Vec<Arc<TopicLog>>,
}

#[derive(Debug)]
struct Topic {
    log: Arc<TopicLog>,
    by_name: usize,
    by_pattern: usize,
    /// The last patterns it was matched against.
    matched: PatternsId,
    /// Gone, or not known to be there.
    deleted: bool,
}

/// The patterns of one subscription. The later the subscription, the higher the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PatternsId(u64);

impl PatternsId {
    const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[derive(Debug)]
struct Patterns {
    selection: Selection,
    inbox: Arc<Inbox>,
}

impl Readership {
    /// Topics that no pattern matches, remembered so that their next message isn't matched again. About 6 MiB.
    const UNMATCHED_MAX: usize = 65_536;

    pub(super) fn new(format: Format, common: Arc<Common>) -> Self {
        Self {
            format,
            common,
            topics: HashMap::new(),
            patterns: BTreeMap::new(),
            newest: PatternsId::default(),
            unmatched: HashMap::new(),
            orphans: Vec::new(),
        }
    }

    /// The log of a topic, for one more subscription that names it.
    pub(super) fn join(&mut self, name: &TopicName) -> Arc<TopicLog> {
        let topic = open(&mut self.topics, &mut self.unmatched, name, self.format, &self.common);
        topic.by_name += 1;
        Arc::clone(&topic.log)
    }

    /// The patterns of one more subscription. What they match goes to its inbox; what its names match doesn't.
    pub(super) fn add_patterns(&mut self, selection: Selection, inbox: Arc<Inbox>) -> PatternsId {
        self.newest = self.newest.next();
        self.patterns.insert(self.newest, Patterns { selection, inbox });
        self.newest
    }

    pub(super) fn remove_patterns(&mut self, id: PatternsId) {
        self.patterns.remove(&id);
        if self.patterns.is_empty() {
            self.unmatched = HashMap::new();
        }
    }

    /// One subscription less reads a log. What nobody reads is taken out, and what only patterns read of a deleted topic.
    pub(super) fn leave(&mut self, log: &Arc<TopicLog>, named: bool) {
        // A log that was taken out may have a successor.
        let Some(topic) = self.topics.get_mut(log.name()).filter(|topic| Arc::ptr_eq(&topic.log, log)) else { return };
        if named {
            topic.by_name -= 1;
        } else {
            topic.by_pattern -= 1;
        }
        let is_read = topic.by_name + topic.by_pattern > 0;
        if !is_read || topic.is_abandoned() {
            let abandoned = self.topics.remove(log.name()).filter(|_| is_read);
            self.orphans.extend(abandoned.map(|topic| topic.log));
        }
    }

    /// The log of a topic that has an event, if somebody reads it.
    pub(super) fn find(&mut self, name: &TopicName) -> Option<&Arc<TopicLog>> {
        self.attach_patterns(name);
        self.topics.get(name).map(|topic| &topic.log)
    }

    /// The topic is there.
    pub(super) fn revive(&mut self, name: &TopicName) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.deleted = false;
        }
    }

    /// The topic is gone. A log that only patterns keep goes with it, or a stream of short-lived topics would pile up in
    /// their subscriptions; who named it waits for its return.
    pub(super) fn forget(&mut self, name: &TopicName) {
        self.unmatched.remove(name);
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.deleted = true;
        if topic.is_abandoned() {
            self.orphans.extend(self.topics.remove(name).map(|topic| topic.log));
        }
    }

    /// Which topics there are is not known any more: only names keep logs. Answers the inboxes of all patterns, which may
    /// have missed topics that they never saw.
    pub(super) fn forget_all(&mut self) -> impl Iterator<Item = &Arc<Inbox>> {
        self.unmatched = HashMap::new();
        for (_, topic) in self.topics.extract_if(|_, topic| {
            topic.deleted = true;
            topic.is_abandoned()
        }) {
            self.orphans.push(topic.log);
        }
        self.patterns.values().map(|patterns| &patterns.inbox)
    }

    /// Logs that were taken out although somebody reads them. They get no event that comes after this call.
    pub(super) fn take_orphans(&mut self) -> Vec<Arc<TopicLog>> {
        std::mem::take(&mut self.orphans)
    }

    pub(super) fn logs(&self) -> impl Iterator<Item = &Arc<TopicLog>> {
        self.topics.values().map(|topic| &topic.log)
    }

    pub(super) fn subscribers(&self, name: &TopicName) -> usize {
        self.topics.get(name).map_or(0, |topic| topic.by_name + topic.by_pattern)
    }

    /// Lets the patterns that came since the topic's last event follow it.
    fn attach_patterns(&mut self, name: &TopicName) {
        let Some((&newest, _)) = self.patterns.last_key_value() else { return };
        let known = self.topics.get(name).map(|topic| topic.matched);
        let seen = known.or_else(|| self.unmatched.get(name).copied()).unwrap_or_default();
        if seen >= newest {
            return;
        }
        let mut matching = self
            .patterns
            .range(seen.next()..)
            .map(|(_, patterns)| patterns)
            .filter(|patterns| !patterns.selection.topics.contains(name) && patterns.selection.contains(name))
            .peekable();
        if known.is_none() && matching.peek().is_none() {
            if self.unmatched.len() >= Self::UNMATCHED_MAX {
                self.unmatched.clear();
            }
            self.unmatched.insert(name.clone(), newest);
            return;
        }
        let topic = open(&mut self.topics, &mut self.unmatched, name, self.format, &self.common);
        topic.matched = newest;
        for Patterns { inbox, .. } in matching {
            topic.by_pattern += 1;
            let log = Arc::clone(&topic.log);
            let seat = log.attach_follower(Arc::clone(inbox));
            inbox.attach(Followed { log, seat, named: false });
        }
    }
}

impl Topic {
    fn is_abandoned(&self) -> bool {
        self.deleted && self.by_name == 0
    }
}

/// Free of `self`, so that the patterns can be read meanwhile.
fn open<'a>(
    topics: &'a mut HashMap<TopicName, Topic>,
    unmatched: &mut HashMap<TopicName, PatternsId>,
    name: &TopicName,
    format: Format,
    common: &Arc<Common>,
) -> &'a mut Topic {
    topics.entry(name.clone()).or_insert_with(|| Topic {
        log: Arc::new(TopicLog::new(name.clone(), format, Arc::clone(common))),
        by_name: 0,
        by_pattern: 0,
        matched: unmatched.remove(name).unwrap_or_default(),
        deleted: false,
    })
}

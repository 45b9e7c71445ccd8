//! What each command does.

use std::collections::BTreeMap;

use super::keys::KeyRecord;
use super::outcome::{Event, Outcome, Published, Refusal, Reply};
use super::tombstones::{End, Tombstone};
use super::topic::Topic;
use super::{Command, Entry, KeyWindow, Machine, Quotas};
use crate::domain::{Fingerprint, IdempotencyKey, LogIndex, NewMessage, SettingsChange, TopicName, TopicSettings};

/// What becomes of one message of a batch. Decided for all of them before anything changes.
enum Line {
    /// It is stored.
    New,
    /// Its key is known.
    Known(Published),
    /// An earlier line of the batch has its key.
    Twin(usize),
}

/// Where a batch goes.
enum Place<'a> {
    Topic(&'a Topic),
    /// To a topic that is to be created, once the batch is known to be accepted.
    Missing(TopicSettings),
}

impl Machine {
    /// Applies a committed entry. The outcomes are those of its commands, in order; the events are appended in log
    /// order. Every node computes the same.
    ///
    /// First the log's time moves, and what is too old by then goes; publishing evicts by number and bytes only. So with
    /// an age limit of zero messages stay until the next entry, whatever its time.
    pub fn apply(&mut self, index: LogIndex, entry: Entry, events: &mut Vec<Event>) -> Vec<Outcome> {
        self.skip(index);
        self.time = self.time.max(entry.time);
        let Entry { time: _, key_window, quotas, commands } = entry;
        self.topics.expire(self.time, key_window, &mut self.payloads);
        self.access.expire(self.time);
        commands.into_iter().map(|command| self.execute(command, key_window, quotas, events)).collect()
    }

    /// Notes that an entry which doesn't concern the state was applied: one of Raft's own.
    pub fn skip(&mut self, index: LogIndex) {
        self.applied = index;
    }

    fn execute(&mut self, command: Command, window: KeyWindow, quotas: Quotas, events: &mut Vec<Event>) -> Outcome {
        match command {
            Command::CreateTopic { name, settings, default } => {
                self.create_topic(&name, settings, default, quotas, events)
            }
            Command::ChangeTopic { name, change } => self.change_topic(&name, change, window, events),
            Command::DeleteTopic { name } => self.delete_topic(name, events),
            Command::Publish { topic, messages, create } => {
                self.publish(&topic, messages, create, window, quotas, events)
            }
            Command::AllotNode => {
                self.last_node = self.last_node.next();
                Ok(Reply::NodeAllotted(self.last_node))
            }
            Command::Tick => Ok(Reply::Ticked),
            Command::Mark => {
                self.mark();
                Ok(Reply::Marked { entry: self.applied })
            }
            Command::CreateTicket { id, ticket, expires_at } => self.create_ticket(id, ticket, expires_at, quotas),
            Command::Revoke { whom, until } => self.revoke(whom, until),
            Command::Attend { node, joined, left } => self.attend(node, joined, left, events),
            Command::Dismiss { node } => self.dismiss(node, events),
        }
    }

    fn create_topic(
        &mut self,
        name: &TopicName,
        wanted: SettingsChange,
        default: TopicSettings,
        quotas: Quotas,
        events: &mut Vec<Event>,
    ) -> Outcome {
        match self.topics.get(name) {
            Some(topic) if topic.settings() == wanted.applied_to(topic.settings()) => {
                Ok(Reply::TopicExists(topic.info()))
            }
            Some(topic) => Err(Refusal::TopicExists { existing: topic.settings() }),
            None => {
                self.check_room_for_topic(quotas)?;
                Ok(Reply::TopicCreated(self.create(name, wanted.applied_to(default), events).info()))
            }
        }
    }

    fn check_room_for_topic(&self, quotas: Quotas) -> Result<(), Refusal> {
        if (self.topics.len() as u64) < quotas.topics { Ok(()) } else { Err(Refusal::TopicsFull) }
    }

    fn create(&mut self, name: &TopicName, settings: TopicSettings, events: &mut Vec<Event>) -> &Topic {
        let predecessors = self.tombstones.succeed(name);
        events.push(Event::TopicCreated { name: name.clone(), position: self.position });
        let id = self.topics.create(name.clone(), settings, self.time, predecessors).id;
        if settings.presence {
            self.reset_presence(id, events);
        }
        self.topics.by_id(id).expect("it was created just now")
    }

    fn change_topic(
        &mut self,
        name: &TopicName,
        change: SettingsChange,
        window: KeyWindow,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let topic = self.topics.get(name).ok_or(Refusal::TopicNotFound)?;
        let (id, before) = (topic.id, topic.settings());
        let settings = change.applied_to(before);
        let (now, payloads) = (self.time, &mut self.payloads);
        let info = self.topics.update(id, window, |topic| {
            topic.retention = settings.retention;
            topic.presence = settings.presence;
            topic.evict_surplus(payloads);
            topic.evict_expired(now, usize::MAX, payloads);
            topic.info()
        });
        if settings.presence != before.presence {
            self.reset_presence(id, events);
        }
        Ok(Reply::TopicChanged(info.expect("the topic is there")))
    }

    fn delete_topic(&mut self, name: TopicName, events: &mut Vec<Event>) -> Outcome {
        let id = self.topics.get(&name).filter(|topic| topic.presence).map(|topic| topic.id);
        if let Some(id) = id {
            self.reset_presence(id, events);
        }
        let topic = self.topics.remove(&name).ok_or(Refusal::TopicNotFound)?;
        for kept in topic.retained.range(topic.retained.numbers()) {
            self.payloads.evict(topic.id, kept.position);
        }
        let last_message = topic.last_message.max(topic.predecessors.last_message);
        let end = End { last_message, deleted_at: Some(self.position) };
        self.tombstones.bury(Tombstone { name: name.clone(), end });
        events.push(Event::TopicDeleted { name, position: self.position });
        Ok(Reply::TopicDeleted)
    }

    fn publish(
        &mut self,
        name: &TopicName,
        messages: Vec<NewMessage>,
        create: Option<TopicSettings>,
        window: KeyWindow,
        quotas: Quotas,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let place = match self.topics.get(name) {
            Some(topic) => Place::Topic(topic),
            None => {
                let retention = create.ok_or(Refusal::TopicNotFound)?;
                self.check_room_for_topic(quotas)?;
                Place::Missing(retention)
            }
        };
        let lines = plan(&messages, |key| match place {
            Place::Topic(topic) => topic.keys.get(key, window, self.time),
            Place::Missing(_) => None,
        })?;
        let id = match place {
            Place::Topic(topic) => topic.id,
            Place::Missing(settings) => self.create(name, settings, events).id,
        };
        let (now, position, payloads) = (self.time, &mut self.position, &mut self.payloads);
        let published = self.topics.update(id, window, |topic| {
            let mut published: Vec<Published> = Vec::with_capacity(lines.len());
            for (message, line) in messages.into_iter().zip(lines) {
                published.push(match line {
                    Line::New => {
                        *position = position.next();
                        let message = topic.append(message, *position, now, payloads);
                        let published = Published::of(&message);
                        events.push(Event::Published(message));
                        published
                    }
                    Line::Known(first) => first,
                    Line::Twin(line) => {
                        let first = published.get(line).expect("an earlier line of the batch");
                        Published { repeated: true, ..*first }
                    }
                });
            }
            topic.keys.forget_surplus(window);
            published
        });
        Ok(Reply::Published(published.expect("the topic was there, or was created")))
    }
}

/// What becomes of each message of a batch, given the keys that are known.
fn plan<'a>(
    messages: &[NewMessage],
    known: impl Fn(&IdempotencyKey) -> Option<&'a KeyRecord>,
) -> Result<Vec<Line>, Refusal> {
    let mut earlier: BTreeMap<&IdempotencyKey, (usize, Fingerprint)> = BTreeMap::new();
    let mut lines = Vec::with_capacity(messages.len());
    for (line, message) in messages.iter().enumerate() {
        let Some((key, fingerprint)) = &message.key else {
            lines.push(Line::New);
            continue;
        };
        let (first, becomes) = if let Some(record) = known(key) {
            (record.fingerprint, Line::Known(record.repeated()))
        } else if let Some((line, fingerprint)) = earlier.get(key) {
            (*fingerprint, Line::Twin(*line))
        } else {
            earlier.insert(key, (line, *fingerprint));
            (*fingerprint, Line::New)
        };
        if first != *fingerprint {
            return Err(Refusal::KeyReused { line });
        }
        lines.push(becomes);
    }
    Ok(lines)
}

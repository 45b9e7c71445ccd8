//! Publishers and subscribers, which write down what they are told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::history::{Attempt, Clock, Message, Outcome, Seen, Subscriber};
use super::wires::Wires;
use super::world::{Answer, Process};
use crate::broker::{Delivery, Format};
use crate::domain::{Headers, IdempotencyKey, JsonText, NewMessage, NodeId, Position, Retention, Selection, TopicName};
use crate::state::{Command, PageLimit, Published, Reply, Slot};

/// What each of them gets at a time before it goes on at another node.
const MESSAGES_PER_STREAM: usize = 50;

/// A subscriber looks after this time whether its node is still there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// All that is written down.
#[derive(Clone, Default)]
pub(super) struct Record {
    pub(super) clock: Clock,
    pub(super) attempts: Arc<Mutex<Vec<Attempt>>>,
}

/// One who publishes by way of random nodes.
pub(super) struct Publisher {
    pub(super) wires: Wires,
    pub(super) record: Record,
    pub(super) rng: fastrand::Rng,
    pub(super) name: String,
    pub(super) topics: Vec<String>,
}

impl Publisher {
    /// Until told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut acknowledged = Vec::new();
        for number in 0.. {
            if stop.is_cancelled() {
                return;
            }
            let topic = self.rng.choice(&self.topics).expect("a topic").clone();
            let key = format!("{}-{number}", self.name);
            let gives_up = self.rng.u32(..8) == 0;
            if self.publish(&topic, &key, gives_up).await {
                acknowledged.push((topic, key));
            }
            if self.rng.u32(..20) == 0
                && let Some((topic, key)) = self.rng.choice(&acknowledged).cloned()
            {
                self.publish(&topic, &key, true).await;
            }
            sleep(Duration::from_millis(self.rng.u64(..100))).await;
        }
    }

    /// Publishes a message until that is acknowledged, or until it gives up. Answers whether it was acknowledged.
    pub(super) async fn publish(&mut self, topic: &str, key: &str, gives_up: bool) -> bool {
        loop {
            match self.attempt(topic, key).await {
                Outcome::Acknowledged(_) => return true,
                Outcome::Unknown if gives_up => return false,
                Outcome::Unknown | Outcome::Refused => sleep(Duration::from_millis(self.rng.u64(..50))).await,
            }
        }
    }

    async fn attempt(&mut self, topic: &str, key: &str) -> Outcome {
        let node = self.rng.choice(self.wires.wanted()).expect("a node");
        let value = JsonText::parse(&format!("\"{key}\"")).expect("JSON");
        let idempotency_key = IdempotencyKey::parse(key).expect("a key");
        let message = NewMessage::new(value, Headers::default(), None, Some(idempotency_key));
        let name = TopicName::parse(topic).expect("a name");
        let retention = Retention { max_messages: u64::MAX, max_bytes: u64::MAX, ..Retention::default() };
        let command = Command::Publish { topic: name, messages: vec![message], create: Some(retention.into()) };
        let begun = self.record.clock.now();
        let outcome = match self.wires.write(node, &command).await {
            Answer::Done(Reply::Published(published)) => {
                let Published { position, seq, .. } = published.first().expect("one for each message");
                Outcome::Acknowledged(message_of(topic, *position, seq.get(), key))
            }
            Answer::Done(reply) => panic!("{reply:?}"),
            Answer::Refused => Outcome::Refused,
            Answer::Unknown => Outcome::Unknown,
        };
        let (node, ended) = (node.to_string(), self.record.clock.now());
        let attempt = Attempt { key: key.to_owned(), node, begun, ended, outcome: outcome.clone() };
        self.record.attempts.lock().expect("nothing panics under this lock").push(attempt);
        outcome
    }
}

pub(super) fn message_of(topic: &str, position: Position, seq: u64, key: &str) -> Message {
    let position = position.get();
    Message { topic: topic.to_owned(), id: position.to_string(), position, seq, key: key.to_owned() }
}

/// What a node keeps of some topics after a position, in memory: there are no checkpoints.
pub(super) fn kept(process: &Process, selection: &Selection, after: Position, up_to: Position) -> Vec<Message> {
    let limit = PageLimit { messages: usize::MAX, bytes: u64::MAX };
    let page = process.replica.read(|machine| machine.read(selection, after, up_to, limit));
    let in_memory = |slot| match slot {
        Slot::Memory(message) => message,
        Slot::Stored { .. } => unreachable!("there are no checkpoints"),
    };
    let messages = page.slots.into_iter().map(in_memory);
    messages
        .map(|message| {
            let key = message.value.as_str().trim_matches('"').to_owned();
            message_of(message.topic.as_str(), message.position, message.seq.get(), &key)
        })
        .collect()
}

/// One who reads topics from their first message on, at one node after another, as a stream of the node layer does:
/// registered first, then history up to there, then live.
pub(super) struct Reader {
    pub(super) wires: Wires,
    pub(super) rng: fastrand::Rng,
    pub(super) topics: BTreeSet<String>,
    /// How many last messages it has to see.
    pub(super) lasts: usize,
}

impl Reader {
    pub(super) async fn run(mut self, name: String) -> Subscriber {
        let topics = self.topics.iter().map(|topic| TopicName::parse(topic).expect("a name")).collect();
        let selection = Selection { topics, patterns: BTreeSet::new() };
        let (mut cursor, mut seen) = (Position::ZERO, Vec::new());
        let is_last = |seen: &&Message| seen.key.starts_with("last-");
        while seen.iter().filter(is_last).count() < self.lasts {
            let node = self.rng.choice(self.wires.wanted()).expect("a node");
            match self.wires.process(node) {
                Some(process) => self.stream(node, &process, &selection, &mut cursor, &mut seen).await,
                None => sleep(LOOK_EVERY).await,
            }
        }
        Subscriber { name, topics: self.topics, seen: seen.into_iter().map(Seen::Message).collect() }
    }

    async fn stream(
        &self,
        node: NodeId,
        process: &Process,
        selection: &Selection,
        cursor: &mut Position,
        seen: &mut Vec<Message>,
    ) {
        let mut subscription = process.broker.subscribe(selection.clone(), Format::Full);
        let from = subscription.from();
        if *cursor > from {
            // It has seen more elsewhere, and waits until this node has it, too.
            let mut progress = process.replica.progress();
            let reached = progress.wait_for(|progress| progress.position >= *cursor);
            if timeout(LOOK_EVERY, reached).await.is_err() {
                return;
            }
        } else {
            seen.extend(kept(process, selection, *cursor, from));
            *cursor = from;
        }
        let begun = seen.len();
        while seen.len() < begun + MESSAGES_PER_STREAM {
            let is_there = self.wires.process(node).is_some_and(|now| now.boot == process.boot);
            match timeout(LOOK_EVERY, subscription.next()).await {
                _ if !is_there => return,
                Ok(Delivery::Frames { chunk, position }) => {
                    let blocks = chunk.blocks();
                    let text = str::from_utf8(&blocks).expect("UTF-8");
                    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
                    // What it has seen elsewhere while it waited is for the one who waits to leave out.
                    seen.extend(data.map(read).filter(|message| message.position > cursor.get()));
                    *cursor = position.max(*cursor);
                }
                Ok(Delivery::Behind) => return,
                Err(_) if seen.last().is_some_and(|message| message.key.starts_with("last-")) => return,
                Err(_) => {}
            }
        }
    }
}

fn read(data: &str) -> Message {
    let json: serde_json::Value = serde_json::from_str(data).expect("JSON");
    let text = |name: &str| json[name].as_str().expect("a text");
    let position = text("id").rsplit_once('-').and_then(|(_, number)| number.parse().ok()).expect("an id");
    message_of(text("topic"), Position::new(position), json["seq"].as_u64().expect("a number"), text("value"))
}

//! Those who use the cluster while things happen to it, and write down what they are told.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::history::{self, Attempt, Clock, Message, Outcome};
use crate::cluster::{self, Answer, Client, Event, LOOK_EVERY, Seen, Subscriber, Subscription, within};

const PUBLISHERS: usize = 8;

/// One in so many publishers gives up when it can't know whether its message is stored.
const GIVES_UP: usize = 8;

/// One in so many messages is published again later, under its key.
const REPEATED: usize = 20;

/// Of a message.
const BYTES: Range<usize> = 0..200;

/// A publisher tries the next node after this time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// A trace that is recorded somewhere, which nodes of any build have to pass on or over.
const RECORDED: &str = "00-0af7651916cd43dd8448eb211c80319c-00b7ad6b71692033-01";

/// Messages after which a subscriber goes on at another node.
const MESSAGES_PER_STREAM: Range<usize> = 20..80;

/// Where something is published.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    /// They keep everything.
    pub(super) whole: Vec<String>,
    /// It keeps its newest messages.
    pub(super) bounded: String,
}

impl Topics {
    pub(super) const BOUNDED_MESSAGES: u64 = 100;

    /// Those whose names begin so.
    pub(super) fn named(prefix: &str) -> Self {
        let whole = (0..4).map(|number| format!("{prefix}:{number}")).collect();
        Self { whole, bounded: format!("{prefix}:bounded") }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &String> {
        self.whole.iter().chain([&self.bounded])
    }
}

/// A message that somebody wants to publish.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) topic: String,
    pub(super) key: String,
    /// Beside the key.
    pub(super) bytes: usize,
    /// Whether the publisher leaves it at that when it can't know what came of it.
    pub(super) gives_up: bool,
}

/// One who publishes by way of any node, and writes down what comes of it.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    pub(super) client: Client,
    pub(super) nodes: Vec<String>,
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    pub(super) attempts: Vec<Attempt>,
}

impl Publisher {
    /// Publishes one message until it is acknowledged, or until it gives up. Answers whether it was acknowledged.
    pub(super) async fn publish(&mut self, draft: &Draft) -> bool {
        let mut looks = interval(LOOK_EVERY);
        let settled = async {
            loop {
                looks.tick().await;
                match self.attempt(draft).await {
                    Outcome::Acknowledged(_) => return true,
                    Outcome::Unknown if draft.gives_up => return false,
                    Outcome::Unknown | Outcome::Refused => {}
                }
            }
        };
        within("an acknowledgement", settled).await
    }

    async fn attempt(&mut self, draft: &Draft) -> Outcome {
        let Draft { topic, key, bytes, .. } = draft;
        let node = self.rng.choice(&self.nodes).cloned().expect("a node");
        let value = json!({ "key": key, "padding": "x".repeat(*bytes) });
        let begun = self.clock.now();
        let request = self.client.publication(&node, topic, &value).header("Idempotency-Key", key);
        let request = request.header("traceparent", RECORDED);
        let answer = timeout(ATTEMPT_TIMEOUT, self.client.try_send(request)).await;
        let outcome = match answer {
            Ok(Ok(answer)) => outcome(&answer),
            // It has died or stands still: before, meanwhile or after, nobody knows.
            Ok(Err(_)) | Err(_) => Outcome::Unknown,
        };
        let ended = self.clock.now();
        self.attempts.push(Attempt { key: key.clone(), node, begun, ended, outcome: outcome.clone() });
        outcome
    }

    async fn run(
        mut self,
        name: String,
        topics: Topics,
        count: watch::Sender<usize>,
        mut stop: watch::Receiver<bool>,
    ) -> Vec<Attempt> {
        let topics_all: Vec<&String> = topics.all().collect();
        let mut acknowledged: Vec<Draft> = Vec::new();
        for number in 0.. {
            if *stop.borrow_and_update() {
                break;
            }
            let topic = String::clone(self.rng.choice(&topics_all).expect("a topic"));
            let gives_up = topic != topics.bounded && self.rng.usize(..GIVES_UP) == 0;
            let draft = Draft { topic, key: format!("{name}-{number}"), bytes: self.rng.usize(BYTES), gives_up };
            if self.publish(&draft).await {
                acknowledged.push(draft);
                count.send_modify(|count| *count += 1);
            }
            if self.rng.usize(..REPEATED) == 0
                && let Some(draft) = self.rng.choice(&acknowledged).cloned()
            {
                self.publish(&draft).await;
            }
        }
        self.attempts
    }
}

fn outcome(answer: &Answer) -> Outcome {
    match answer.status {
        200 | 201 => Outcome::Acknowledged(message(answer.json())),
        503 => Outcome::Refused,
        504 => Outcome::Unknown,
        _ => panic!("{answer:?}"),
    }
}

/// Publishers at work.
#[derive(Debug)]
pub(super) struct Load {
    publishers: Vec<JoinHandle<Vec<Attempt>>>,
    acknowledged: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
}

impl Load {
    pub(super) fn start(publisher: &Publisher, name: &str, topics: &Topics) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (count, acknowledged) = watch::channel(0);
        let mut rng = publisher.rng.clone();
        let start = |number| {
            let own = Publisher { rng: rng.fork(), attempts: Vec::new(), ..publisher.clone() };
            tokio::spawn(own.run(format!("{name}-{number}"), topics.clone(), count.clone(), stopped.clone()))
        };
        Self { publishers: (0..PUBLISHERS).map(start).collect(), acknowledged, stop }
    }

    /// Waits until so many more messages are acknowledged.
    pub(super) async fn acknowledges(&mut self, more: usize) {
        let target = *self.acknowledged.borrow() + more;
        self.has_acknowledged(target).await;
    }

    /// Waits until so many messages are acknowledged in all.
    pub(super) async fn has_acknowledged(&mut self, target: usize) {
        let enough = self.acknowledged.wait_for(|count| *count >= target);
        within("more acknowledgements", enough).await.expect("publishers run");
    }

    /// Answers all that was tried.
    pub(super) async fn stop(self) -> Vec<Attempt> {
        self.stop.send_replace(true);
        let mut attempts = Vec::new();
        for publisher in self.publishers {
            attempts.extend(within("the last acknowledgement", publisher).await.expect("no panic"));
        }
        attempts
    }
}

/// One who reads topics by way of all nodes, from one to the next.
#[derive(Debug)]
pub(super) struct Wanderer {
    name: String,
    subscriber: Subscriber,
    /// What it had seen when somebody looked last.
    looked: usize,
}

impl Wanderer {
    /// Begins with the first message there is.
    pub(super) fn start(client: &Client, nodes: &[String], rng: &mut Rng, path: &str) -> Self {
        let mut nodes = nodes.to_vec();
        rng.shuffle(&mut nodes);
        let separator = if path.contains('?') { '&' } else { '?' };
        let subscription = Subscription {
            nodes,
            path: format!("{path}{separator}after=earliest"),
            last_id: None,
            messages_per_stream: Some(rng.usize(MESSAGES_PER_STREAM)),
        };
        Self { name: path.to_owned(), subscriber: Subscriber::start(client, subscription), looked: 0 }
    }

    /// Waits until it has seen the last message of each of these topics. Answers all that it has seen since the last time.
    pub(super) async fn sees_the_last_of(&mut self, topics: &BTreeSet<String>) -> history::Subscriber {
        let lasts: BTreeSet<String> = topics.iter().map(|topic| last_key(topic)).collect();
        let from = self.looked;
        let all_lasts = |seen: &[Seen]| {
            let events = || seen[from..].iter().filter_map(Seen::as_event);
            let texts = events().filter(|event| event.data.contains(r#""last-"#));
            let keys: BTreeSet<String> = texts.map(|event| text(&event.json()["value"]["key"])).collect();
            lasts.is_subset(&keys).then(|| (seen.len(), events().cloned().collect::<Vec<_>>()))
        };
        let what = format!("the last messages, by {}", self.name);
        let (looked, events) = self.subscriber.until(&what, all_lasts).await;
        self.looked = looked;
        recorded(&self.name, topics, &events)
    }

    /// How often it has gone on by way of another stream, and was sent messages there.
    pub(super) fn hops(&self) -> usize {
        let seen = self.subscriber.seen();
        let is_message = |seen: &Seen| seen.as_event().is_some_and(|event| event.kind == "message");
        let streams = seen.split(|seen| *seen == Seen::Opened);
        streams.filter(|stream| stream.iter().any(is_message)).count().saturating_sub(1)
    }
}

/// The key of the message behind which a topic gets no more.
pub(super) fn last_key(topic: &str) -> String {
    format!("last-{topic}")
}

/// What a subscriber saw, as the checker wants to know it.
pub(super) fn recorded(name: &str, topics: &BTreeSet<String>, events: &[Event]) -> history::Subscriber {
    let seen = |event: &Event| match event.kind.as_str() {
        "message" => {
            let message = message(event.json());
            assert_eq!(message.id, event.id);
            Some(history::Seen::Message(message))
        }
        "repl.gap" => Some(history::Seen::Gap { first_available: position(&text(&event.json()["firstAvailable"])) }),
        _ => None,
    };
    history::Subscriber {
        name: name.to_owned(),
        topics: topics.clone(),
        seen: events.iter().filter_map(seen).collect(),
    }
}

fn message(json: Value) -> Message {
    stored(&serde_json::from_value(json).expect("a message"))
}

/// What the checker wants to know of a message.
pub(super) fn stored(message: &cluster::Message) -> Message {
    Message {
        topic: message.topic.clone(),
        id: message.id.clone(),
        position: position(&message.id),
        seq: message.seq,
        key: text(&message.value["key"]),
    }
}

/// A client doesn't look into an id, but the order of ids is the order of messages.
fn position(id: &str) -> u64 {
    id.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).expect("an id")
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

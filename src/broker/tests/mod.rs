//! The broker at its boundary: events go in, frames come out.

mod any_schedule;
mod lagging;
mod pacing;
mod selections;
mod while_running;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{Broker, BrokerOptions, Delivery, Feed, Format, Pacer, Subscription};
use crate::domain::{Epoch, Headers, JsonText, Message, Pattern, Position, Selection, Seq, Timestamp, TopicName};
use crate::state::Event;

/// A broker that is fed by hand. Nothing runs in the background unless the test spawns the pacer.
pub(super) struct World {
    pub(super) broker: Broker,
    feed: Feed,
    pacer: Option<Pacer>,
    last: u64,
}

/// For tests whose clock is the real one: a round takes as long as it takes.
pub(super) fn without_rests() -> BrokerOptions {
    BrokerOptions { rest_per_round: 0, ..BrokerOptions::default() }
}

impl World {
    fn new() -> Self {
        Self::with(without_rests())
    }

    pub(super) fn with(options: BrokerOptions) -> Self {
        let (broker, feed, pacer) = Broker::new(Epoch::from_seed([1; 16]), options);
        Self { broker, feed, pacer: Some(pacer), last: 0 }
    }

    /// For tests of time, on a paused clock.
    fn run_pacer(&mut self) {
        tokio::spawn(self.pacer.take().expect("spawned once").run());
    }

    fn subscribe(&self, selection: &str) -> Subscription {
        self.broker.subscribe(select(selection), Format::Full)
    }

    /// Delivers one message for each topic, as one group.
    pub(super) fn publish(&mut self, topics: &[&str]) {
        self.publish_bytes(topics, 0);
    }

    fn publish_bytes(&mut self, topics: &[&str], bytes: usize) {
        let events: Vec<_> = topics.iter().map(|topic| self.message(topic, bytes)).collect();
        self.feed.deliver(&events);
    }

    fn message(&mut self, topic: &str, bytes: usize) -> Event {
        self.last += 1;
        Event::Published(Arc::new(Message {
            position: Position::new(self.last),
            topic: name(topic),
            seq: Seq::new(self.last),
            created_at: Timestamp::from_millis(0),
            value: JsonText::parse(&format!("\"{}\"", "x".repeat(bytes))).expect("JSON"),
            headers: Headers::default(),
            kind: None,
        }))
    }

    fn created(&self, topic: &str) -> Event {
        Event::TopicCreated { name: name(topic), position: Position::new(self.last) }
    }

    fn deleted(&self, topic: &str) -> Event {
        Event::TopicDeleted { name: name(topic), position: Position::new(self.last) }
    }
}

fn name(text: &str) -> TopicName {
    TopicName::parse(text).expect(text)
}

/// Words are topics; those with a star are patterns.
pub(super) fn select(text: &str) -> Selection {
    let (patterns, topics): (Vec<_>, Vec<_>) = text.split_whitespace().partition(|word| word.contains('*'));
    Selection {
        topics: topics.into_iter().map(name).collect(),
        patterns: patterns.into_iter().map(|word| Pattern::parse(word).expect(word)).collect(),
    }
}

/// One call of `next`, not waited for.
fn poll(subscription: &mut Subscription) -> Poll<Delivery> {
    subscription.poll_next(&mut Context::from_waker(Waker::noop()))
}

/// What is seen of a stream: `5` a message, `5!` the deletion of a topic, `behind`.
fn seen(delivery: &Delivery) -> Vec<String> {
    let Delivery::Frames { chunk, position } = delivery else { return vec!["behind".to_owned()] };
    let text = std::str::from_utf8(chunk.as_ref()).expect("UTF-8");
    let frames: Vec<_> = text.split_terminator("\n\n").collect();
    assert!(text.ends_with("\n\n"), "whole frames");
    let ids: Vec<_> = frames
        .iter()
        .map(|frame| {
            let id = frame.lines().find_map(|line| line.strip_prefix("id: ")).expect("each frame has an id");
            let (_, position) = id.split_once('-').expect("a cursor");
            let mark = if frame.starts_with("event: repl.topic\n") { "!" } else { "" };
            format!("{position}{mark}")
        })
        .collect();
    assert_eq!(ids.last().map(|id| id.trim_end_matches('!').to_owned()), Some(position.to_string()));
    ids
}

/// Polls until nothing comes.
fn drain(subscription: &mut Subscription) -> Vec<String> {
    let mut all = Vec::new();
    while let Poll::Ready(delivery) = poll(subscription) {
        all.extend(seen(&delivery));
        if delivery == Delivery::Behind {
            break;
        }
    }
    all
}

/// Counts how often it is woken.
#[derive(Default)]
struct Alarm(AtomicUsize);

impl Alarm {
    fn wait(self: &Arc<Self>, subscription: &mut Subscription) {
        let waker = Waker::from(Arc::clone(self));
        assert_eq!(subscription.poll_next(&mut Context::from_waker(&waker)), Poll::Pending);
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

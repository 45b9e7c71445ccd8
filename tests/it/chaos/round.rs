//! One round: publishers and subscribers at work, one strike in the midst of it, and the account of all that happened.

use std::collections::BTreeSet;

use fastrand::Rng;
use reqwest::Method;
use serde_json::json;

use super::arena::Arena;
use super::checker::{Fault, check};
use super::history::{self, Attempt, Clock, History, Outcome};
use super::load::{Draft, Load, Publisher, Topics, Wanderer, last_key, recorded};
use super::strike::{Scene, Strike};
use crate::cluster::{Event, Seen, Stalled, Subscriber, Subscription};

/// Topics of a round. Those who read all rounds ask for these.
const PREFIX: &str = "chaos";

/// Who keeps all messages of a topic keeps so many.
const WHOLE_MESSAGES: u64 = 1_000_000;

/// All that outlives a round.
pub(super) struct Run {
    pub(super) arena: Arena,
    pub(super) messages_min: usize,
    rng: Rng,
    clock: Clock,
    /// They read every topic of every round.
    pilgrims: Vec<Wanderer>,
    deleted: BTreeSet<String>,
    rounds: usize,
}

/// What came of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) rounds: usize,
    pub(super) acknowledged: usize,
    pub(super) unknown: usize,
    pub(super) refused: usize,
    /// Of subscribers, from one node to another.
    pub(super) hops: usize,
}

impl Figures {
    pub(super) fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.hops += other.hops;
    }
}

impl Run {
    pub(super) fn new(arena: Arena, mut rng: Rng, messages_min: usize) -> Self {
        let pilgrim =
            |_| Wanderer::start(&arena.cluster.client, &arena.urls, &mut rng, &format!("/sse?match={PREFIX}:**"));
        let pilgrims = (0..2).map(pilgrim).collect();
        let (clock, deleted) = (Clock::default(), BTreeSet::new());
        Self { arena, messages_min, rng, clock, pilgrims, deleted, rounds: 0 }
    }

    /// Goes through one round. Answers its figures, and the promises that were broken.
    pub(super) async fn round(&mut self, strike: Strike) -> (Figures, Vec<Fault>) {
        self.rounds += 1;
        let prefix = format!("{PREFIX}:{}", self.rounds);
        let topics = Topics::named(&prefix);
        self.make(&topics).await;
        let names: BTreeSet<String> = topics.all().cloned().collect();
        let hops_before: usize = self.pilgrims.iter().map(Wanderer::hops).sum();
        let mut wanderers = self.wanderers(&prefix, &topics);
        let mut stalled = Vec::new();
        if strike == Strike::Stall {
            for url in &self.arena.urls {
                stalled.push(Stalled::open(url, &stream_of(&topics.bounded)).await);
            }
        }

        let mut publisher = Publisher {
            client: self.arena.cluster.client.clone(),
            nodes: self.arena.urls.clone(),
            clock: self.clock.clone(),
            rng: self.rng.fork(),
            attempts: Vec::new(),
        };
        let mut load = Load::start(&publisher, &prefix, &topics);
        let mut history = History { bounded: BTreeSet::from([topics.bounded.clone()]), ..History::default() };
        load.acknowledges(self.messages_min / 4).await;
        self.delete_another(&prefix).await;
        let mut scene = Scene {
            arena: &mut self.arena,
            load: &mut load,
            publisher: &mut publisher,
            topics: &topics,
            clock: &self.clock,
            rng: &mut self.rng,
            isolations: &mut history.isolations,
        };
        scene.strike(strike).await;
        self.arena.recovers().await;
        load.has_acknowledged(self.messages_min).await;
        history.attempts = load.stop().await;
        for topic in topics.all() {
            let draft = Draft { topic: topic.clone(), key: last_key(topic), bytes: 0, gives_up: false };
            publisher.publish(&draft).await;
        }
        history.attempts.extend(publisher.attempts);

        for (wanderer, topics) in &mut wanderers {
            history.subscribers.push(wanderer.sees_the_last_of(topics).await);
        }
        for pilgrim in &mut self.pilgrims {
            history.subscribers.push(pilgrim.sees_the_last_of(&names).await);
        }
        for stalled in stalled {
            history.subscribers.push(wakes_up(&self.arena, stalled, &topics.bounded).await);
        }
        history.nodes = self.arena.kept(&topics.all().collect::<Vec<_>>()).await;
        history.deleted.clone_from(&self.deleted);
        let faults = check(&history);
        if !faults.is_empty() {
            self.arena.note("history", &format!("{history:#?}"));
        }
        for topic in topics.all() {
            self.delete(topic).await;
        }
        let hops = wanderers.iter().map(|(wanderer, _)| wanderer).chain(&self.pilgrims).map(Wanderer::hops);
        (figures(&history.attempts, hops.sum::<usize>() - hops_before), faults)
    }

    async fn make(&self, topics: &Topics) {
        let (client, url) = (&self.arena.cluster.client, self.arena.cluster.url(0));
        for topic in &topics.whole {
            client.make_keeping(url, topic, WHOLE_MESSAGES).await;
        }
        client.make_keeping(url, &topics.bounded, Topics::BOUNDED_MESSAGES).await;
    }

    /// One who reads each topic, and some who read all.
    fn wanderers(&mut self, prefix: &str, topics: &Topics) -> Vec<(Wanderer, BTreeSet<String>)> {
        let each = topics.all().map(|topic| (stream_of(topic), BTreeSet::from([topic.clone()])));
        let whole: Vec<String> = topics.whole.iter().map(|topic| format!("topic={topic}")).collect();
        let whole = (format!("/sse?{}", whole.join("&")), topics.whole.iter().cloned().collect());
        let all = (format!("/sse?match={prefix}:*"), topics.all().cloned().collect());
        let (client, urls) = (&self.arena.cluster.client, &self.arena.urls);
        let start = |(path, topics): (String, _)| (Wanderer::start(client, urls, &mut self.rng, &path), topics);
        each.chain([whole, all]).map(start).collect()
    }

    /// A topic that is gone just before something happens, and must not come back with whoever comes back.
    async fn delete_another(&mut self, prefix: &str) {
        let topic = format!("deleted-{prefix}");
        let (client, url) = (self.arena.cluster.client.clone(), self.arena.cluster.url(0).to_owned());
        client.make(&url, &topic).await;
        client.publish(&url, &topic, json!({ "key": "gone" })).await;
        self.delete(&topic).await;
    }

    async fn delete(&mut self, topic: &str) {
        let client = &self.arena.cluster.client;
        let url = format!("{}/topics/{topic}", self.arena.cluster.url(0));
        let answer = client.settled(client.request(Method::DELETE, &url)).await;
        assert!(matches!(answer.status, 204 | 404), "{answer:?}");
        self.deleted.insert(topic.to_owned());
    }
}

fn stream_of(topic: &str) -> String {
    format!("/topics/{topic}/sse")
}

/// Has one who stalled read on, on another stream if the broker has closed that one, up to the last message.
async fn wakes_up(arena: &Arena, mut stalled: Stalled, topic: &str) -> history::Subscriber {
    let text = format!("\"{}\"", last_key(topic));
    let is_last = |event: &Event| event.data.contains(&text);
    let mut events = stalled.reads_up_to("the last message", is_last).await;
    if !events.last().is_some_and(is_last) {
        let last_id = events.last().map(|event| event.id.clone());
        let path = format!("{}?after=earliest", stream_of(topic));
        let again = Subscription { last_id, ..Subscription::new(arena.urls.iter().map(String::as_str), &path) };
        let again = Subscriber::start(&arena.cluster.client, again);
        let all = |seen: &[Seen]| {
            let seen: Vec<Event> = seen.iter().filter_map(Seen::as_event).cloned().collect();
            seen.iter().any(is_last).then_some(seen)
        };
        events.extend(again.until("the last message", all).await);
    }
    recorded("one who stalled", &BTreeSet::from([topic.to_owned()]), &events)
}

fn figures(attempts: &[Attempt], hops: usize) -> Figures {
    let count = |is: fn(&Outcome) -> bool| attempts.iter().filter(|attempt| is(&attempt.outcome)).count();
    let keys: BTreeSet<&String> = attempts
        .iter()
        .filter(|attempt| matches!(attempt.outcome, Outcome::Acknowledged(_)))
        .map(|attempt| &attempt.key)
        .collect();
    Figures {
        rounds: 1,
        acknowledged: keys.len(),
        unknown: count(|outcome| *outcome == Outcome::Unknown),
        refused: count(|outcome| *outcome == Outcome::Refused),
        hops,
    }
}

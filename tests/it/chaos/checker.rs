//! Whether what happened keeps the promises: a pure function over a [`History`]. It knows nothing of how any of it came
//! about.
//!
//! It compares three accounts of the same messages: what publishers were told, what each node keeps, and what each
//! subscriber saw. A message that was acknowledged must be in all of them, under one id, once, and in one place of the
//! order; one whose fate is unknown may be in none; one that was refused must be in none.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{History, Kept, Message, Moment, Outcome, Seen, Subscriber};

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Two nodes keep different messages of a topic.
    Diverged { nodes: [String; 2], topic: String },
    /// Two nodes differ in what nobody reads: keys, settings, tombstones.
    DigestsDiffer { nodes: [String; 2] },
    /// A topic is there that was deleted.
    Returned { node: String, topic: String },
    /// Positions or seqs of a topic don't count up, or seqs leave one out.
    Disordered { node: String, topic: String, id: String },
    /// A message is stored that nobody published, or that was refused each time.
    Invented { node: String, key: String },
    /// A message is stored more than once.
    Duplicated { node: String, key: String },
    /// A message that was acknowledged is not stored, or not as the publisher was told.
    Lost { node: String, key: String },
    /// Two publishes of one key were answered with different messages.
    KeyMoved { key: String, ids: [String; 2] },
    /// A message stands behind one that nobody had begun to publish when it was acknowledged.
    Overtaken { key: String, by: String },
    /// A node acknowledged what no other one can have heard of.
    AcknowledgedAlone { node: String, key: String },
    /// A subscriber was not sent messages of its topics, and was not told so.
    SilentHole { subscriber: String, missing: Vec<String> },
    /// A subscriber was sent a message again.
    Repeated { subscriber: String, id: String },
    /// A subscriber was sent a message after one that comes after it.
    Reordered { subscriber: String, id: String },
    /// A subscriber was sent what no node keeps.
    Strange { subscriber: String, id: String },
}

/// Everything that is wrong; nothing if the promises were kept.
pub(crate) fn check(history: &History) -> Vec<Fault> {
    let mut faults = check_agreement(history);
    for (node, kept) in &history.nodes {
        faults.extend(check_deletions(history, node, kept));
        faults.extend(check_order(node, kept));
        faults.extend(check_keys(history, node, kept));
    }
    faults.extend(check_answers(history));
    faults.extend(check_real_time(history));
    faults.extend(check_isolations(history));
    if let Some(kept) = history.nodes.values().next() {
        let delivered = deliverable(history, kept);
        faults.extend(history.subscribers.iter().flat_map(|one| check_subscriber(history, one, &delivered)));
    }
    faults
}

/// All nodes keep the same.
fn check_agreement(history: &History) -> Vec<Fault> {
    let mut nodes = history.nodes.iter();
    let Some((first, expected)) = nodes.next() else { return Vec::new() };
    let differ = |(other, kept): (&String, &Kept)| {
        let nodes = || [first.clone(), other.clone()];
        let names: BTreeSet<&String> = expected.topics.keys().chain(kept.topics.keys()).collect();
        let differing = names.into_iter().filter(|name| expected.topics.get(*name) != kept.topics.get(*name));
        let diverged = differing.map(|topic| Fault::Diverged { nodes: nodes(), topic: topic.clone() });
        let digests = (expected.digest != kept.digest).then(|| Fault::DigestsDiffer { nodes: nodes() });
        diverged.chain(digests).collect::<Vec<_>>()
    };
    nodes.flat_map(differ).collect()
}

fn check_deletions(history: &History, node: &str, kept: &Kept) -> Vec<Fault> {
    let back = history.deleted.iter().filter(|topic| kept.topics.contains_key(*topic));
    back.map(|topic| Fault::Returned { node: node.to_owned(), topic: topic.clone() }).collect()
}

fn check_order(node: &str, kept: &Kept) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (topic, messages) in &kept.topics {
        for pair in messages.windows(2) {
            let (one, next) = (&pair[0], &pair[1]);
            if next.position <= one.position || next.seq != one.seq + 1 {
                faults.push(Fault::Disordered { node: node.to_owned(), topic: topic.clone(), id: next.id.clone() });
            }
        }
    }
    faults
}

/// Each key is stored once if it was acknowledged, and at the most once else.
fn check_keys(history: &History, node: &str, kept: &Kept) -> Vec<Fault> {
    let node = || node.to_owned();
    let possible = history.attempts.iter().filter(|attempt| attempt.outcome != Outcome::Refused);
    let possible: BTreeSet<&String> = possible.map(|attempt| &attempt.key).collect();
    let mut faults = Vec::new();
    let mut stored = BTreeMap::new();
    for message in kept.topics.values().flatten() {
        if !possible.contains(&message.key) {
            faults.push(Fault::Invented { node: node(), key: message.key.clone() });
        }
        if stored.insert(&message.key, message).is_some() {
            faults.push(Fault::Duplicated { node: node(), key: message.key.clone() });
        }
    }
    let is_evicted = |message: &Message| {
        let oldest = kept.topics.get(&message.topic).and_then(|messages| messages.first());
        history.bounded.contains(&message.topic) && oldest.is_some_and(|oldest| message.seq < oldest.seq)
    };
    let is_gone = |told: &Message| !history.deleted.contains(&told.topic) && !is_evicted(told);
    let lost = history.acknowledged().filter(|(_, told)| stored.get(&told.key) != Some(told) && is_gone(told));
    let lost: BTreeSet<&String> = lost.map(|(_, told)| &told.key).collect();
    faults.extend(lost.into_iter().map(|key| Fault::Lost { node: node(), key: key.clone() }));
    faults
}

/// One key, one message, however often it was asked for.
fn check_answers(history: &History) -> Vec<Fault> {
    let mut first = BTreeMap::new();
    let mut faults = Vec::new();
    for (_, told) in history.acknowledged() {
        let before = *first.entry(&told.key).or_insert(told);
        if before != told {
            faults.push(Fault::KeyMoved { key: told.key.clone(), ids: [before.id.clone(), told.id.clone()] });
        }
    }
    faults
}

/// What was acknowledged before something else began stands before it.
fn check_real_time(history: &History) -> Vec<Fault> {
    let mut begun: BTreeMap<&String, Moment> = BTreeMap::new();
    for attempt in &history.attempts {
        let first = begun.entry(&attempt.key).or_insert(attempt.begun);
        *first = attempt.begun.min(*first);
    }
    let mut told: BTreeMap<&String, (Moment, &Message)> = BTreeMap::new();
    for (attempt, message) in history.acknowledged() {
        let first = told.entry(&attempt.key).or_insert((attempt.ended, message));
        first.0 = attempt.ended.min(first.0);
    }
    let mut by_end: Vec<(Moment, &Message)> = told.values().copied().collect();
    by_end.sort_unstable_by_key(|(ended, _)| *ended);
    let mut by_begin: Vec<(Moment, &Message)> = told.iter().map(|(key, (_, message))| (begun[key], *message)).collect();
    by_begin.sort_unstable_by_key(|(begun, _)| *begun);

    let mut ended = by_end.into_iter().peekable();
    let mut last: Option<&Message> = None;
    let mut faults = Vec::new();
    for (begun, message) in by_begin {
        while let Some((_, before)) = ended.next_if(|(ended, _)| *ended < begun) {
            last = last.filter(|last| last.position > before.position).or(Some(before));
        }
        if let Some(last) = last.filter(|last| last.position > message.position) {
            faults.push(Fault::Overtaken { key: last.key.clone(), by: message.key.clone() });
        }
    }
    faults
}

/// A node that can't reach a majority acknowledges nothing.
fn check_isolations(history: &History) -> Vec<Fault> {
    let mut faults = Vec::new();
    for isolation in &history.isolations {
        let within = |begun, ended| isolation.begun < begun && ended < isolation.ended;
        let alone = history
            .acknowledged()
            .filter(|(attempt, _)| attempt.node == isolation.node && within(attempt.begun, attempt.ended));
        let fault = |key: &String| Fault::AcknowledgedAlone { node: isolation.node.clone(), key: key.clone() };
        faults.extend(alone.map(|(attempt, _)| fault(&attempt.key)));
    }
    faults
}

/// What subscribers were to be sent: what is kept, and what was before it was evicted. By topic and position.
fn deliverable<'a>(history: &'a History, kept: &'a Kept) -> BTreeMap<&'a str, BTreeMap<u64, &'a Message>> {
    let evicted = history.acknowledged().map(|(_, told)| told).filter(|told| history.bounded.contains(&told.topic));
    let mut topics: BTreeMap<&str, BTreeMap<u64, &Message>> = BTreeMap::new();
    for message in evicted.chain(kept.topics.values().flatten()) {
        topics.entry(&message.topic).or_default().insert(message.position, message);
    }
    topics
}

fn check_subscriber(
    history: &History,
    subscriber: &Subscriber,
    topics: &BTreeMap<&str, BTreeMap<u64, &Message>>,
) -> Vec<Fault> {
    let name = || subscriber.name.clone();
    let own = subscriber.topics.iter().filter_map(|topic| topics.get(topic.as_str()));
    let mut expected: Vec<&Message> = own.flat_map(BTreeMap::values).copied().collect();
    expected.sort_unstable_by_key(|message| message.position);
    let places: BTreeMap<u64, usize> = expected.iter().enumerate().map(|(place, one)| (one.position, place)).collect();

    let mut faults = Vec::new();
    let hole = |from: usize, to: usize, announced: u64| {
        // Nothing excuses a hole in a topic that retention has not touched.
        let is_excused = |message: &Message| message.position < announced && history.bounded.contains(&message.topic);
        let silent = expected[from..to].iter().filter(|message| !is_excused(message));
        let missing: Vec<String> = silent.map(|message| message.id.clone()).collect();
        (!missing.is_empty()).then(|| Fault::SilentHole { subscriber: name(), missing })
    };
    let (mut next, mut announced, mut had) = (0, 0, BTreeSet::new());
    for seen in &subscriber.seen {
        let message = match seen {
            Seen::Gap { first_available } => {
                announced = *first_available;
                continue;
            }
            Seen::Message(message) => message,
        };
        let place = places.get(&message.position).copied().filter(|place| expected[*place] == message);
        match place {
            None => faults.push(Fault::Strange { subscriber: name(), id: message.id.clone() }),
            Some(place) if place >= next => {
                faults.extend(hole(next, place, announced));
                next = place + 1;
            }
            Some(_) if had.contains(&message.position) => {
                faults.push(Fault::Repeated { subscriber: name(), id: message.id.clone() });
            }
            Some(_) => faults.push(Fault::Reordered { subscriber: name(), id: message.id.clone() }),
        }
        had.insert(message.position);
    }
    faults.extend(hole(next, expected.len(), announced));
    faults
}

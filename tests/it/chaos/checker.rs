//! Whether what happened keeps the promises: a pure function over what publishers were told, what nodes keep, and what
//! subscribers saw. It knows nothing of how any of it came about.

use std::collections::{BTreeMap, BTreeSet};

/// All that is known of a run, after it has come to rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    /// The keys under which somebody has published, and been acknowledged in the end.
    pub(crate) keys: BTreeSet<String>,
    /// What publishers were told, in any order. A key may have been acknowledged more than once.
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// What each node keeps, by topic.
    pub(crate) nodes: BTreeMap<String, BTreeMap<String, Vec<Message>>>,
    pub(crate) subscribers: Vec<Subscriber>,
}

/// An answer to a publisher: the message of this key is stored under this id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) key: String,
    pub(crate) id: String,
}

/// A message, as a node keeps it or a subscriber sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) id: String,
    /// The number in the id: its place in the one order.
    pub(crate) position: u64,
    pub(crate) seq: u64,
    pub(crate) key: String,
}

/// One who reads these topics from their first message on.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    pub(crate) name: String,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) seen: Vec<Seen>,
}

/// What it was sent, through all its streams.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Message(Message),
    /// It was told that messages before this position are missing.
    Gap {
        first_available: u64,
    },
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Two nodes keep different messages of a topic.
    Diverged { nodes: [String; 2], topic: String },
    /// Positions or seqs of a topic don't count up, or seqs leave one out.
    Disordered { node: String, topic: String, id: String },
    /// A message is there that nobody published.
    Invented { node: String, key: String },
    /// A message is stored more than once.
    Duplicated { node: String, key: String },
    /// A message that was acknowledged is not stored, or not under the id that the publisher was told.
    Lost { node: String, key: String },
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
pub(crate) fn check(story: &Story) -> Vec<Fault> {
    let mut faults = check_agreement(story);
    for (node, topics) in &story.nodes {
        faults.extend(check_order(node, topics));
        faults.extend(check_keys(story, node, topics));
    }
    if let Some(topics) = story.nodes.values().next() {
        faults.extend(story.subscribers.iter().flat_map(|subscriber| check_subscriber(subscriber, topics)));
    }
    faults
}

fn check_agreement(story: &Story) -> Vec<Fault> {
    let mut nodes = story.nodes.iter();
    let Some((first, expected)) = nodes.next() else { return Vec::new() };
    let differ = |(other, topics): (&String, &BTreeMap<String, Vec<Message>>)| {
        let names: BTreeSet<&String> = expected.keys().chain(topics.keys()).collect();
        let differing = names.into_iter().filter(|name| expected.get(*name) != topics.get(*name));
        let fault = |topic: &String| Fault::Diverged { nodes: [first.clone(), other.clone()], topic: topic.clone() };
        differing.map(fault).collect::<Vec<_>>()
    };
    nodes.flat_map(differ).collect()
}

fn check_order(node: &str, topics: &BTreeMap<String, Vec<Message>>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (topic, messages) in topics {
        for pair in messages.windows(2) {
            let (one, next) = (&pair[0], &pair[1]);
            if next.position <= one.position || next.seq != one.seq + 1 {
                faults.push(Fault::Disordered { node: node.to_owned(), topic: topic.clone(), id: next.id.clone() });
            }
        }
    }
    faults
}

fn check_keys(story: &Story, node: &str, topics: &BTreeMap<String, Vec<Message>>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut stored = BTreeMap::new();
    for message in topics.values().flatten() {
        if !story.keys.contains(&message.key) {
            faults.push(Fault::Invented { node: node.to_owned(), key: message.key.clone() });
        }
        if stored.insert(&message.key, &message.id).is_some() {
            faults.push(Fault::Duplicated { node: node.to_owned(), key: message.key.clone() });
        }
    }
    let never_stored = story.keys.iter().filter(|key| !stored.contains_key(key));
    let elsewhere = |told: &&Acknowledged| stored.get(&told.key).is_some_and(|id| **id != told.id);
    let elsewhere = story.acknowledged.iter().filter(elsewhere).map(|told| &told.key);
    faults.extend(never_stored.chain(elsewhere).map(|key| Fault::Lost { node: node.to_owned(), key: key.clone() }));
    faults
}

fn check_subscriber(subscriber: &Subscriber, topics: &BTreeMap<String, Vec<Message>>) -> Vec<Fault> {
    let name = || subscriber.name.clone();
    let kept = subscriber.topics.iter().filter_map(|topic| topics.get(topic)).flatten();
    let mut expected: Vec<&Message> = kept.collect();
    expected.sort_unstable_by_key(|message| message.position);
    let places: BTreeMap<u64, usize> = expected.iter().enumerate().map(|(place, one)| (one.position, place)).collect();

    let mut faults = Vec::new();
    let hole = |from: usize, to: usize, announced: u64| {
        let silent = expected[from..to].iter().filter(|message| message.position >= announced);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, position: u64, seq: u64) -> Message {
        Message { topic: topic.to_owned(), id: format!("e-{position}"), position, seq, key: format!("key-{position}") }
    }

    /// Two nodes, two topics whose messages alternate, and one who reads both.
    fn healthy() -> Story {
        let messages: Vec<Message> = (1..=10)
            .map(|position| message(if position % 2 == 0 { "a" } else { "b" }, position, position.div_ceil(2)))
            .collect();
        let of = |topic: &str| messages.iter().filter(|message| message.topic == topic).cloned().collect::<Vec<_>>();
        let topics = BTreeMap::from(["a", "b"].map(|topic| (topic.to_owned(), of(topic))));
        let seen: Vec<Seen> = messages.iter().cloned().map(Seen::Message).collect();
        let topic_names = topics.keys().cloned().collect();
        let subscriber = Subscriber { name: "reader".to_owned(), topics: topic_names, seen };
        let told = |message: &Message| Acknowledged { key: message.key.clone(), id: message.id.clone() };
        Story {
            keys: messages.iter().map(|message| message.key.clone()).collect(),
            acknowledged: messages.iter().map(told).collect(),
            nodes: BTreeMap::from(["one", "two"].map(|node| (node.to_owned(), topics.clone()))),
            subscribers: vec![subscriber],
        }
    }

    /// Checks what comes of a healthy story that was tampered with.
    #[track_caller]
    fn check_planted(tamper: impl FnOnce(&mut Story), expected: &[Fault]) {
        let mut story = healthy();
        tamper(&mut story);
        assert_eq!(check(&story), expected);
    }

    fn on<'a>(story: &'a mut Story, node: &str, topic: &str) -> &'a mut Vec<Message> {
        story.nodes.get_mut(node).and_then(|topics| topics.get_mut(topic)).expect("it is there")
    }

    /// What the one subscriber has seen.
    fn seen(story: &mut Story) -> &mut Vec<Seen> {
        &mut story.subscribers[0].seen
    }

    fn reader() -> String {
        "reader".to_owned()
    }

    fn id(position: u64) -> String {
        format!("e-{position}")
    }

    #[test]
    fn a_healthy_story_has_no_fault() {
        check_planted(|_| {}, &[]);
        assert_eq!(check(&Story::default()), []);
    }

    #[test]
    fn nodes_that_keep_different_messages_have_diverged() {
        let diverged = Fault::Diverged { nodes: ["one".to_owned(), "two".to_owned()], topic: "b".to_owned() };
        let lost = Fault::Lost { node: "two".to_owned(), key: "key-9".to_owned() };
        check_planted(|story| drop(on(story, "two", "b").pop()), &[diverged.clone(), lost]);
        check_planted(|story| on(story, "two", "b")[2].topic = "c".to_owned(), std::slice::from_ref(&diverged));
        let swapped = Fault::Disordered { node: "two".to_owned(), topic: "b".to_owned(), id: id(1) };
        let back = Fault::Disordered { node: "two".to_owned(), topic: "b".to_owned(), id: id(5) };
        check_planted(|story| on(story, "two", "b").swap(0, 1), &[diverged, swapped, back]);
    }

    #[test]
    fn a_message_that_is_stored_twice_or_by_nobody_is_found() {
        let again = |story: &mut Story| {
            for node in ["one", "two"] {
                let repeated = Message { key: "key-2".to_owned(), ..message("a", 11, 6) };
                on(story, node, "a").push(repeated);
            }
            let repeated = Message { key: "key-2".to_owned(), ..message("a", 11, 6) };
            seen(story).push(Seen::Message(repeated));
        };
        let faults = ["one", "two"].map(|node| {
            let (node, key) = (node.to_owned(), "key-2".to_owned());
            [Fault::Duplicated { node: node.clone(), key: key.clone() }, Fault::Lost { node, key }]
        });
        check_planted(again, faults.as_flattened());
        let forget = |story: &mut Story| assert!(story.keys.remove("key-3"));
        let faults = ["one", "two"].map(|node| Fault::Invented { node: node.to_owned(), key: "key-3".to_owned() });
        check_planted(forget, &faults);
    }

    #[test]
    fn an_acknowledged_message_that_is_gone_or_elsewhere_is_lost() {
        let lost = ["one", "two"].map(|node| Fault::Lost { node: node.to_owned(), key: "key-new".to_owned() });
        check_planted(|story| assert!(story.keys.insert("key-new".to_owned())), &lost);
        let lost = ["one", "two"].map(|node| Fault::Lost { node: node.to_owned(), key: "key-4".to_owned() });
        let lie = |story: &mut Story| {
            story.acknowledged.push(Acknowledged { key: "key-4".to_owned(), id: id(5) });
        };
        check_planted(lie, &lost);
    }

    #[test]
    fn a_message_that_a_subscriber_was_not_sent_is_a_silent_hole() {
        let hole = |missing: &[u64]| Fault::SilentHole {
            subscriber: reader(),
            missing: missing.iter().map(|position| id(*position)).collect(),
        };
        check_planted(|story| drop(seen(story).remove(4)), &[hole(&[5])]);
        check_planted(|story| drop(seen(story).drain(..3)), &[hole(&[1, 2, 3])]);
        check_planted(|story| seen(story).truncate(8), &[hole(&[9, 10])]);
        check_planted(|story| seen(story).clear(), &[hole(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])]);
    }

    #[test]
    fn a_hole_that_was_announced_is_none() {
        let announce = |at: usize, count: usize, first_available: u64| {
            move |story: &mut Story| drop(seen(story).splice(at..at + count, [Seen::Gap { first_available }]))
        };
        check_planted(announce(4, 2, 7), &[]);
        let rest = Fault::SilentHole { subscriber: reader(), missing: vec![id(6)] };
        check_planted(announce(4, 2, 6), &[rest]);
        let late = |story: &mut Story| {
            announce(4, 2, 7)(story);
            seen(story).swap(4, 5);
        };
        let late_fault = Fault::SilentHole { subscriber: reader(), missing: vec![id(5), id(6)] };
        check_planted(late, &[late_fault]);
    }

    #[test]
    fn a_message_that_was_sent_again_is_a_repetition() {
        let fault = |position| Fault::Repeated { subscriber: reader(), id: id(position) };
        let again = |from: usize, to: usize| {
            move |story: &mut Story| {
                let repeated = seen(story)[from].clone();
                seen(story).insert(to, repeated);
            }
        };
        check_planted(again(3, 4), &[fault(4)]);
        check_planted(again(0, 10), &[fault(1)]);
    }

    #[test]
    fn a_message_that_came_late_is_out_of_order() {
        let hole = Fault::SilentHole { subscriber: reader(), missing: vec![id(3)] };
        let late = Fault::Reordered { subscriber: reader(), id: id(3) };
        check_planted(|story| seen(story).swap(2, 3), &[hole, late]);
    }

    #[test]
    fn a_message_that_no_node_keeps_is_strange() {
        let strange = |position| Fault::Strange { subscriber: reader(), id: id(position) };
        check_planted(|story| seen(story).push(Seen::Message(message("a", 11, 6))), &[strange(11)]);
        let other_value = |story: &mut Story| {
            let Seen::Message(message) = &mut seen(story)[1] else { panic!("a message") };
            message.key = "another".to_owned();
        };
        let hole = Fault::SilentHole { subscriber: reader(), missing: vec![id(2)] };
        check_planted(other_value, &[strange(2), hole]);
        // Of a topic that it didn't ask for.
        let narrow = |story: &mut Story| assert!(story.subscribers[0].topics.remove("b"));
        check_planted(narrow, &[1, 3, 5, 7, 9].map(strange));
    }
}

//! Each kind of fault, planted by hand into a history that has none.

use std::collections::{BTreeMap, BTreeSet};

use super::checker::{Fault, check};
use super::history::{Attempt, History, Isolation, Kept, Message, Moment, Outcome, Seen, Subscriber};

fn message(topic: &str, position: u64, seq: u64) -> Message {
    Message { topic: topic.to_owned(), id: id(position), position, seq, key: key(position) }
}

fn id(position: u64) -> String {
    format!("e-{position}")
}

fn key(position: u64) -> String {
    format!("key-{position:02}")
}

fn reader() -> String {
    "reader".to_owned()
}

/// Published by way of the first node, one after another.
fn attempt(message: &Message, begun: Moment, outcome: Outcome) -> Attempt {
    Attempt { key: message.key.clone(), node: "one".to_owned(), begun, ended: begun + 1, outcome }
}

/// Two nodes, two topics whose messages alternate, and one who reads both.
fn healthy() -> History {
    let messages: Vec<Message> = (1..=10)
        .map(|position| message(if position % 2 == 0 { "a" } else { "b" }, position, position.div_ceil(2)))
        .collect();
    let of = |topic: &str| messages.iter().filter(|message| message.topic == topic).cloned().collect::<Vec<_>>();
    let topics = BTreeMap::from(["a", "b"].map(|topic| (topic.to_owned(), of(topic))));
    let seen: Vec<Seen> = messages.iter().cloned().map(Seen::Message).collect();
    let subscriber = Subscriber { name: reader(), topics: topics.keys().cloned().collect(), seen };
    let told = |message: &Message| attempt(message, message.position * 10, Outcome::Acknowledged(message.clone()));
    let kept = Kept { topics, digest: "same".to_owned() };
    History {
        attempts: messages.iter().map(told).collect(),
        nodes: BTreeMap::from(["one", "two"].map(|node| (node.to_owned(), kept.clone()))),
        subscribers: vec![subscriber],
        ..History::default()
    }
}

/// Checks what comes of a healthy history that was tampered with.
#[track_caller]
fn check_planted(tamper: impl FnOnce(&mut History), expected: &[Fault]) {
    let mut history = healthy();
    tamper(&mut history);
    assert_eq!(check(&history), expected);
}

fn on<'a>(history: &'a mut History, node: &str, topic: &str) -> &'a mut Vec<Message> {
    history.nodes.get_mut(node).and_then(|kept| kept.topics.get_mut(topic)).expect("it is there")
}

fn on_both(history: &mut History, topic: &str, tamper: impl Fn(&mut Vec<Message>)) {
    ["one", "two"].into_iter().for_each(|node| tamper(on(history, node, topic)));
}

/// What the one subscriber has seen.
fn seen(history: &mut History) -> &mut Vec<Seen> {
    &mut history.subscribers[0].seen
}

fn both(fault: impl Fn(String) -> Fault) -> [Fault; 2] {
    ["one", "two"].map(|node| fault(node.to_owned()))
}

#[test]
fn a_healthy_history_has_no_fault() {
    check_planted(|_| {}, &[]);
    assert_eq!(check(&History::default()), []);
}

#[test]
fn nodes_that_keep_different_messages_have_diverged() {
    let nodes = || ["one".to_owned(), "two".to_owned()];
    let diverged = Fault::Diverged { nodes: nodes(), topic: "b".to_owned() };
    let lost = |position| Fault::Lost { node: "two".to_owned(), key: key(position) };
    check_planted(|history| drop(on(history, "two", "b").pop()), &[diverged.clone(), lost(9)]);
    let renamed = |history: &mut History| on(history, "two", "b")[2].topic = "c".to_owned();
    check_planted(renamed, &[diverged.clone(), lost(5)]);
    let swapped = Fault::Disordered { node: "two".to_owned(), topic: "b".to_owned(), id: id(1) };
    let back = Fault::Disordered { node: "two".to_owned(), topic: "b".to_owned(), id: id(5) };
    check_planted(|history| on(history, "two", "b").swap(0, 1), &[diverged, swapped, back]);
    let digest = |history: &mut History| history.nodes.get_mut("two").expect("a node").digest = "other".to_owned();
    check_planted(digest, &[Fault::DigestsDiffer { nodes: nodes() }]);
}

#[test]
fn a_message_that_is_stored_twice_is_a_duplicate() {
    let again = |history: &mut History| {
        let repeated = Message { key: key(2), ..message("a", 11, 6) };
        on_both(history, "a", |messages| messages.push(repeated.clone()));
        seen(history).push(Seen::Message(repeated));
    };
    let faults = both(|node| Fault::Duplicated { node, key: key(2) });
    let lost = both(|node| Fault::Lost { node, key: key(2) });
    check_planted(again, &[faults[0].clone(), lost[0].clone(), faults[1].clone(), lost[1].clone()]);
}

#[test]
fn a_message_that_nobody_published_or_that_was_refused_is_invented() {
    let invented = both(|node| Fault::Invented { node, key: key(3) });
    check_planted(|history| drop(history.attempts.remove(2)), &invented);
    check_planted(|history| history.attempts[2].outcome = Outcome::Refused, &invented);
    check_planted(|history| history.attempts[2].outcome = Outcome::Unknown, &[]);
}

#[test]
fn an_acknowledged_message_that_is_gone_or_elsewhere_is_lost() {
    let told = |outcome: fn(Message) -> Outcome| {
        move |history: &mut History| {
            let gone = message("a", 11, 6);
            history.attempts.push(attempt(&gone, 110, outcome(gone.clone())));
        }
    };
    check_planted(told(Outcome::Acknowledged), &both(|node| Fault::Lost { node, key: key(11) }));
    check_planted(told(|_| Outcome::Unknown), &[]);
    check_planted(told(|_| Outcome::Refused), &[]);
    let elsewhere = |history: &mut History| {
        history.attempts[3].outcome = Outcome::Acknowledged(message("a", 4, 3));
    };
    check_planted(elsewhere, &both(|node| Fault::Lost { node, key: key(4) }));
}

#[test]
fn what_retention_took_is_not_lost_but_a_hole_before_it_is() {
    let evict = |history: &mut History| {
        history.bounded.insert("a".to_owned());
        on_both(history, "a", |messages| drop(messages.drain(..2)));
    };
    check_planted(evict, &[]);
    let hole = |history: &mut History| {
        evict(history);
        on_both(history, "a", |messages| drop(messages.remove(1)));
    };
    let disordered = both(|node| Fault::Disordered { node, topic: "a".to_owned(), id: id(10) });
    let lost = both(|node| Fault::Lost { node, key: key(8) });
    check_planted(hole, &[disordered[0].clone(), lost[0].clone(), disordered[1].clone(), lost[1].clone()]);
    let unbounded = |history: &mut History| {
        evict(history);
        history.bounded.clear();
        seen(history).retain(|seen| matches!(seen, Seen::Message(message) if ![2, 4].contains(&message.position)));
    };
    let lost = ["one", "two"].map(|node| [2, 4].map(|at| Fault::Lost { node: node.to_owned(), key: key(at) }));
    check_planted(unbounded, lost.as_flattened());
}

#[test]
fn a_deleted_topic_that_is_there_has_returned() {
    let delete = |history: &mut History| history.deleted = BTreeSet::from(["a".to_owned()]);
    check_planted(delete, &both(|node| Fault::Returned { node, topic: "a".to_owned() }));
    let gone = |history: &mut History| {
        delete(history);
        history.nodes.values_mut().for_each(|kept| drop(kept.topics.remove("a")));
        history.subscribers.clear();
    };
    check_planted(gone, &[]);
}

#[test]
fn a_key_that_is_answered_with_another_message_has_moved() {
    let again = |position: u64| {
        move |history: &mut History| {
            let told = Message { key: key(4), ..message("a", position, position / 2) };
            history.attempts.push(attempt(&told, 200, Outcome::Acknowledged(told.clone())));
        }
    };
    check_planted(again(4), &[]);
    let [one, two] = both(|node| Fault::Lost { node, key: key(4) });
    check_planted(again(6), &[one, two, Fault::KeyMoved { key: key(4), ids: [id(4), id(6)] }]);
}

#[test]
fn a_message_that_stands_behind_one_that_began_after_it_is_overtaken() {
    let late = |history: &mut History| {
        history.attempts[6].begun = 200;
        history.attempts[6].ended = 201;
    };
    check_planted(late, &[Fault::Overtaken { key: key(10), by: key(7) }]);
    // Those that are under way at the same time may stand in any order.
    let together = |history: &mut History| {
        late(history);
        history.attempts[6].begun = 70;
    };
    check_planted(together, &[]);
}

#[test]
fn a_node_that_reaches_nobody_and_acknowledges_is_found() {
    let isolate = |node: &'static str, begun, ended| {
        move |history: &mut History| history.isolations.push(Isolation { node: node.to_owned(), begun, ended })
    };
    check_planted(
        isolate("one", 35, 55),
        &[4, 5].map(|position| Fault::AcknowledgedAlone { node: "one".to_owned(), key: key(position) }),
    );
    check_planted(isolate("two", 35, 55), &[]);
    // It began before, or ended after.
    check_planted(isolate("one", 40, 51), &[]);
}

#[test]
fn a_message_that_a_subscriber_was_not_sent_is_a_silent_hole() {
    let hole = |missing: &[u64]| Fault::SilentHole {
        subscriber: reader(),
        missing: missing.iter().map(|position| id(*position)).collect(),
    };
    check_planted(|history| drop(seen(history).remove(4)), &[hole(&[5])]);
    check_planted(|history| drop(seen(history).drain(..3)), &[hole(&[1, 2, 3])]);
    check_planted(|history| seen(history).truncate(8), &[hole(&[9, 10])]);
    check_planted(|history| seen(history).clear(), &[hole(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])]);
}

#[test]
fn a_hole_that_was_announced_is_none() {
    let announce = |at: usize, count: usize, first_available: u64| {
        move |history: &mut History| {
            history.bounded = ["a", "b"].map(str::to_owned).into();
            drop(seen(history).splice(at..at + count, [Seen::Gap { first_available }]));
        }
    };
    check_planted(announce(4, 2, 7), &[]);
    let whole = |history: &mut History| {
        announce(4, 2, 7)(history);
        history.bounded.remove("a");
    };
    check_planted(whole, &[Fault::SilentHole { subscriber: reader(), missing: vec![id(6)] }]);
    let rest = Fault::SilentHole { subscriber: reader(), missing: vec![id(6)] };
    check_planted(announce(4, 2, 6), &[rest]);
    let late = |history: &mut History| {
        announce(4, 2, 7)(history);
        seen(history).swap(4, 5);
    };
    let late_fault = Fault::SilentHole { subscriber: reader(), missing: vec![id(5), id(6)] };
    check_planted(late, &[late_fault]);
}

#[test]
fn a_message_that_was_sent_again_is_a_repetition() {
    let fault = |position| Fault::Repeated { subscriber: reader(), id: id(position) };
    let again = |from: usize, to: usize| {
        move |history: &mut History| {
            let repeated = seen(history)[from].clone();
            seen(history).insert(to, repeated);
        }
    };
    check_planted(again(3, 4), &[fault(4)]);
    check_planted(again(0, 10), &[fault(1)]);
}

#[test]
fn a_message_that_came_late_is_out_of_order() {
    let hole = Fault::SilentHole { subscriber: reader(), missing: vec![id(3)] };
    let late = Fault::Reordered { subscriber: reader(), id: id(3) };
    check_planted(|history| seen(history).swap(2, 3), &[hole, late]);
}

#[test]
fn a_message_that_no_node_keeps_is_strange() {
    let strange = |position| Fault::Strange { subscriber: reader(), id: id(position) };
    check_planted(|history| seen(history).push(Seen::Message(message("a", 11, 6))), &[strange(11)]);
    let other_value = |history: &mut History| {
        let Seen::Message(message) = &mut seen(history)[1] else { panic!("a message") };
        message.key = "another".to_owned();
    };
    let hole = Fault::SilentHole { subscriber: reader(), missing: vec![id(2)] };
    check_planted(other_value, &[strange(2), hole]);
    // Of a topic that it didn't ask for.
    let narrow = |history: &mut History| assert!(history.subscribers[0].topics.remove("b"));
    check_planted(narrow, &[1, 3, 5, 7, 9].map(strange));
}

//! What a damaged or foreign store comes to: an error with a name, never a panic, never a machine that lacks something.

use std::convert::Infallible;

use proptest::prelude::*;

use super::replica::{Replica, Rows};
use crate::domain::{
    Bearer, Headers, IdempotencyKey, JsonText, LogIndex, NewMessage, NodeId, Pattern, Revoked, TicketId, Timestamp,
    TopicName, TopicSettings, UserId,
};
use crate::state::rows::{self, RESERVED_CONSENSUS, RowKey};
use crate::state::{
    Attendee, CodecError, Command, Contradiction, Entry, KeyWindow, Machine, Quotas, RestoreError, Ticket,
};

fn name(name: &str) -> TopicName {
    TopicName::parse(name).expect("a name")
}

/// What makes rows of every kind.
pub(super) fn commands() -> Vec<Command> {
    let message = |value: &str| {
        let key = IdempotencyKey::parse(value).expect("a key");
        NewMessage::new(JsonText::parse(value).expect("JSON"), Headers::default(), None, Some(key))
    };
    let publish = |topic: &str| Command::Publish {
        topic: name(topic),
        messages: vec![message("1"), message("2")],
        create: Some(TopicSettings { presence: true, ..TopicSettings::default() }),
    };
    let ticket = Ticket {
        bearer: Bearer::default(),
        subscribe: vec![Pattern::parse("orders").expect("a pattern")],
        presence: Vec::new(),
        data: None,
    };
    let user = UserId::parse("ada").expect("a user");
    let attendee = Attendee { topic: name("orders"), user, data: None };
    vec![
        publish("orders"),
        publish("billing"),
        publish("gone"),
        Command::DeleteTopic { name: name("gone") },
        Command::CreateTicket { id: TicketId::of("t"), ticket, expires_at: Timestamp::from_millis(9) },
        Command::Revoke { whom: Revoked::Subject("eve".to_owned()), until: Timestamp::from_millis(9) },
        Command::Attend { node: NodeId::new(1), joined: vec![attendee], left: Vec::new() },
    ]
}

/// Rows of every kind.
pub(super) fn rows() -> Rows {
    let mut replica = Replica::default();
    replica.apply(&Entry {
        time: Timestamp::from_millis(7),
        key_window: KeyWindow::default(),
        quotas: Quotas::default(),
        commands: commands(),
    });
    replica.begin_checkpoint();
    replica.end_checkpoint();
    replica.rows
}

fn restore(rows: Rows) -> Result<Machine, RestoreError<Infallible>> {
    Machine::restore(rows.into_iter().map(Ok))
}

#[test]
fn no_rows_make_a_new_machine() {
    let machine = restore(Rows::new()).expect("a new machine");
    assert_eq!((machine.applied(), machine.topic_count()), (LogIndex::new(0), 0));
}

#[test]
fn rows_of_consensus_are_passed_over() {
    let mut rows = rows();
    rows.insert(vec![RESERVED_CONSENSUS, 7], vec![1, 2, 3]);
    assert_eq!(restore(rows).expect("the others are fine").topic_count(), 2);
}

#[test]
fn no_row_can_be_missing() {
    for missing in rows().into_keys() {
        let mut rows = rows();
        rows.remove(&missing);
        let error = restore(rows).expect_err("a row is missing");
        match missing[0] {
            1 => assert!(matches!(error, RestoreError::MetaMissing), "{error}"),
            2 => assert!(matches!(error, RestoreError::Contradiction(Contradiction::Orphan(_))), "{error}"),
            3 => assert!(matches!(error, RestoreError::Contradiction(Contradiction::Messages(_))), "{error}"),
            4 => assert!(matches!(error, RestoreError::Contradiction(Contradiction::Keys(_))), "{error}"),
            5 => assert!(matches!(error, RestoreError::Contradiction(Contradiction::Tombstones)), "{error}"),
            8 => assert!(matches!(error, RestoreError::Contradiction(Contradiction::Presence)), "{error}"),
            _ => assert!(matches!(error, RestoreError::Contradiction(Contradiction::Access)), "{error}"),
        }
    }
}

#[test]
fn no_row_can_be_there_twice() {
    for (key, value) in rows() {
        let Some(last) = key.len().checked_sub(1).filter(|last| *last > 0) else { continue };
        let mut rows = rows();
        let mut copy = key.clone();
        copy[last] += 100;
        rows.insert(copy, value);
        assert!(restore(rows).is_err(), "a copy of {key:?}");
    }
}

#[test]
fn another_version_is_named() {
    let mut rows = rows();
    rows.get_mut([1].as_slice()).expect("the meta row")[0] = 7;
    let error = restore(rows).expect_err("version 7");
    let RestoreError::Row { source, .. } = error else { panic!("{error}") };
    assert_eq!(source, CodecError::Version { found: 7, expected: 6 });
}

#[test]
fn rows_of_the_version_before_are_read() {
    let expected = restore(rows()).expect("the rows of a checkpoint");
    let mut rows = rows();
    // It had a row for each message and each key.
    for (key, value) in rows.clone() {
        match RowKey::parse(&key).expect("a key") {
            RowKey::Messages(id, _) => {
                let messages = rows::decode_messages(&name("t"), &key, &value).expect("a row of messages");
                for message in &messages {
                    rows.extend(rows::pack_messages(id, [message].into_iter()).map(|(key, row)| (key.encode(), row)));
                }
            }
            RowKey::Keys(id, first) => {
                for record in &rows::unpack_keys(first, &value).expect("a row of keys") {
                    rows.extend(rows::pack_keys(id, [record].into_iter()).map(|(key, row)| (key.encode(), row)));
                }
            }
            _ => {}
        }
    }
    rows.get_mut([1].as_slice()).expect("the meta row")[0] = 5;
    let restored = restore(rows).expect("the rows of a version that is read");
    let (restored, expected) = [restored, expected]
        .map(|mut machine| {
            machine.mark();
            machine.marked(machine.applied()).cloned().expect("marked just now")
        })
        .into();
    assert_eq!(restored, expected);
}

#[test]
fn what_the_store_says_is_passed_on() {
    let error = Machine::restore([Err("out of order")]).expect_err("the store's error");
    assert!(matches!(error, RestoreError::Read("out of order")));
}

#[test]
fn a_key_that_no_row_has_is_named() {
    for key in [vec![], vec![9], vec![2], vec![2, 0], vec![2; 10], vec![3; 9], vec![1, 0]] {
        let mut rows = rows();
        rows.insert(key.clone(), vec![]);
        assert!(matches!(restore(rows), Err(RestoreError::UnknownKey { key: named }) if named == key));
    }
}

proptest! {
    #[test]
    fn damage_never_panics(row in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut rows = rows();
        let key = row.get(&rows.keys().cloned().collect::<Vec<_>>()).clone();
        let value = rows.get_mut(&key).expect("a row");
        let at = at.index(value.len());
        if cut {
            value.truncate(at);
            prop_assert!(restore(rows).is_err());
        } else {
            value[at] = byte;
            drop(restore(rows));
        }
    }
}

#[test]
fn what_was_replaced_by_something_else_of_its_kind_is_noticed() {
    let replaced = |kind: u8, from: &[u8], to: &[u8]| {
        let mut rows = rows();
        let (_, value) = rows.iter_mut().find(|(key, _)| key[0] == kind).expect("there is one");
        let at = value.windows(from.len()).position(|window| window == from).expect("it is in there");
        value[at..at + from.len()].copy_from_slice(to);
        restore(rows).expect_err("of the same length, and readable")
    };
    let error = replaced(3, b"\x011\x02{}", b"\x017\x02{}");
    assert!(matches!(error, RestoreError::Contradiction(Contradiction::Messages(_))), "{error}");
    let error = replaced(4, b"\x011", b"\x017");
    assert!(matches!(error, RestoreError::Contradiction(Contradiction::Keys(_))), "{error}");
}

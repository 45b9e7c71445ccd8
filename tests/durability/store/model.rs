//! The store against a map.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};

use proptest::prelude::*;
use repl::storage::{Change, KEY_BYTES_MAX, Row, Store, StoreError, VALUE_BYTES_MAX};

use super::files::{self, Rows, rows};
use crate::directory_in_memory;

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Change>),
    Range(Vec<u8>, Vec<u8>),
    Last(RangeInclusive<Vec<u8>>),
    Reopen,
}

/// Few keys, so that they meet again; some look like another one with the number of a part.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(0_u8..3, 0..4),
        Just(vec![1, 0, 0, 0, 1]),
        Just(vec![1, 0, 0, 0, 1, 0, 0, 0, 1]),
        (0_u8..200).prop_map(|last| vec![2; 300].into_iter().chain([last]).collect()),
    ]
}

/// Around the length at which a value is split, and beyond.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let len =
        prop_oneof![3 => 0_usize..50, 1 => 4_090_usize..4_100, 1 => 8_190_usize..8_196, 1 => 10_000_usize..70_000];
    (len, any::<u8>()).prop_map(|(len, byte)| vec![byte; len])
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (key(), value()).prop_map(|(key, value)| Change::Put { key, value }),
        1 => key().prop_map(|key| Change::Delete { key }),
        1 => (keys(), any::<bool>()).prop_map(|(keys, keep_last)| Change::DeleteRange { keys, keep_last }),
    ]
}

fn keys() -> impl Strategy<Value = RangeInclusive<Vec<u8>>> {
    (key(), key()).prop_map(|(one, other)| if one < other { one..=other } else { other..=one })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(change(), 0..40).prop_map(Step::Commit),
        4 => (key(), key()).prop_map(|(from, to)| Step::Range(from, to)),
        4 => keys().prop_map(Step::Last),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_store_is_a_map_that_survives(steps in prop::collection::vec(step(), 1..16)) {
        let dir = directory_in_memory();
        let mut store = Store::open(dir.path()).expect("opens");
        let mut model = Rows::new();
        for step in steps {
            match step {
                Step::Commit(changes) => {
                    store.commit(changes.clone()).expect("commits");
                    files::commit(&mut model, changes.clone());
                    for change in changes {
                        if let Change::Put { key, .. } | Change::Delete { key } = change {
                            prop_assert_eq!(store.get(&key).expect("reads"), model.get(&key).cloned());
                        }
                    }
                }
                Step::Range(from, to) => {
                    let expected = within(&model, &from, &to);
                    let found = collect(&store, &from, &to, false);
                    prop_assert_eq!(&found, &expected);
                    let backwards: Vec<_> = expected.into_iter().rev().collect();
                    prop_assert_eq!(collect(&store, &from, &to, true), backwards);
                    prop_assert_eq!(store.get(&from).expect("reads"), model.get(&from).cloned());
                }
                Step::Last(keys) => {
                    let expected = model.range(keys.clone()).next_back();
                    let expected = expected.map(|(key, value)| (key.clone(), value.clone()));
                    prop_assert_eq!(store.last(&keys).expect("reads"), expected);
                }
                Step::Reopen => {
                    drop(store);
                    store = Store::open(dir.path()).expect("opens again");
                }
            }
        }
        prop_assert_eq!(rows(&store), model);
    }
}

fn within(model: &Rows, from: &[u8], to: &[u8]) -> Vec<Row> {
    if from >= to {
        return Vec::new();
    }
    let range = model.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
    range.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn collect(store: &Store, from: &[u8], to: &[u8], reverse: bool) -> Vec<Row> {
    store.range(from, to, reverse).collect::<Result<_, _>>().expect("rows are whole")
}

fn put(key: &[u8], value: &[u8]) -> Change {
    Change::Put { key: key.to_vec(), value: value.to_vec() }
}

#[test]
fn the_last_change_of_a_key_counts() {
    let dir = directory_in_memory();
    let store = Store::open(dir.path()).expect("opens");
    let delete = Change::Delete { key: b"a".to_vec() };
    store.commit([put(b"a", b"1"), delete.clone(), put(b"a", b"2"), put(b"b", b"1")]).expect("commits");
    store.commit([put(b"b", b"2"), Change::Delete { key: b"b".to_vec() }]).expect("commits");
    assert_eq!(rows(&store), BTreeMap::from([(b"a".to_vec(), b"2".to_vec())]));
}

#[test]
fn what_is_too_large_is_refused_and_changes_nothing() {
    let dir = directory_in_memory();
    let store = Store::open(dir.path()).expect("opens");
    let key = vec![1; KEY_BYTES_MAX + 1];
    assert!(matches!(store.commit([put(b"a", b""), put(&key, b"")]), Err(StoreError::TooLarge { what: "key", .. })));
    let value = vec![1; VALUE_BYTES_MAX + 1];
    assert!(matches!(store.commit([put(b"b", &value)]), Err(StoreError::TooLarge { what: "value", .. })));
    store.commit([put(b"c", b"1")]).expect("the store is still open for commits");
    assert_eq!(rows(&store), BTreeMap::from([(b"c".to_vec(), b"1".to_vec())]));
}

#[test]
fn a_range_that_is_being_read_holds_up_no_commit_and_is_never_torn() {
    let dir = directory_in_memory();
    let store = Store::open(dir.path()).expect("opens");
    let generation = |byte: u8| (0..500_u32).map(move |key| put(&key.to_be_bytes(), &vec![byte; 6_000]));
    store.commit(generation(0)).expect("commits");
    let mut reading = store.range(&[], &[255], false);
    let mut seen = Vec::new();
    for byte in 1..5 {
        for row in reading.by_ref().take(100) {
            let (key, value) = row.expect("is whole");
            assert!(value.iter().all(|byte| Some(byte) == value.first()), "a torn value");
            seen.push(key);
        }
        store.commit(generation(byte)).expect("commits");
    }
    seen.extend(reading.map(|row| row.expect("is whole").0));
    assert_eq!(seen, (0..500_u32).map(|key| key.to_be_bytes().to_vec()).collect::<Vec<_>>());
}

#[test]
fn a_store_is_open_once_at_a_time() {
    let dir = directory_in_memory();
    let store = Store::open(dir.path()).expect("opens");
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Locked { .. })));
    assert!(matches!(Store::set_aside(dir.path()), Err(StoreError::Locked { .. })));
    drop(store);
    Store::open(dir.path()).expect("opens when it is closed");
}

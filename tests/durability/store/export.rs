//! All rows in a file and back.

use std::fs;
use std::path::Path;

use repl::storage::{Change, Export, Store, StoreError};
use tempfile::TempDir;

use super::files::{self, rows};
use super::generations::{self, changes, commit_up_to};
use crate::directory_in_memory;

/// A store that holds a generation.
fn store(dir: &Path, generations: u64) -> Store {
    let store = Store::open(dir).expect("opens");
    commit_up_to(&store, generations, changes);
    store
}

/// An exported file of that generation.
fn exported(dir: &TempDir, generations: u64) -> Export {
    let store = store(&dir.path().join("exported"), generations);
    store.export(&dir.path().join("rows")).expect("exports")
}

#[test]
fn what_is_exported_is_imported_and_replaces_everything() {
    let dir = directory_in_memory();
    let export = exported(&dir, 30);
    let file = fs::read(&export.file).expect("reads");
    assert_eq!(export.bytes, file.len() as u64);
    assert!(file.ends_with(&export.digest));
    assert_eq!(export.rows, generations::rows(30, changes).len() as u64);
    assert_eq!(files::names(dir.path()), ["exported", "rows"]);

    let target = dir.path().join("target");
    let old = store(&target, 7);
    let new = old.import(&export.file).expect("imports");
    assert_eq!(generations::whole(&new, changes), Ok(30));
    assert_eq!(generations::whole(&old, changes), Ok(7), "who still reads the old rows reads on");
    assert!(matches!(old.commit(changes(8)), Err(StoreError::Replaced)));
    assert!(matches!(old.import(&export.file), Err(StoreError::Replaced)));
    commit_up_to(&new, 33, changes);
    drop((old, new));
    assert_eq!(generations::whole(&Store::open(&target).expect("opens"), changes), Ok(33));
    assert_eq!(files::names(&target), ["lock", "state-2"]);
}

#[test]
fn equal_rows_make_equal_files() {
    let dir = directory_in_memory();
    let first = exported(&dir, 12);
    let imported = Store::open(&dir.path().join("other")).expect("opens").import(&first.file).expect("imports");
    let second = imported.export(&dir.path().join("again")).expect("exports");
    assert_eq!((first.digest, first.bytes, first.rows), (second.digest, second.bytes, second.rows));
}

#[test]
fn an_empty_store_can_be_exported_and_imported() {
    let dir = directory_in_memory();
    let empty = Store::open(&dir.path().join("empty")).expect("opens");
    let export = empty.export(&dir.path().join("rows")).expect("exports");
    assert_eq!(export.rows, 0);
    let target = store(&dir.path().join("target"), 3).import(&export.file).expect("imports");
    assert_eq!(rows(&target), files::Rows::new());
}

#[test]
fn a_file_with_any_byte_changed_cut_off_or_added_is_refused_and_changes_nothing() {
    let dir = directory_in_memory();
    let whole = fs::read(exported(&dir, 2).file).expect("reads");
    let target = dir.path().join("target");
    let store = store(&target, 4);
    let file = dir.path().join("changed");
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&file, bytes).expect("writes");
        match store.import(&file) {
            Err(StoreError::BadExport { .. } | StoreError::Version { .. }) => {}
            other => panic!("{what}: {other:?}"),
        }
    };
    // Every byte of both ends, and samples between.
    let step = (whole.len() / 40).max(1);
    let sampled = |at: &usize| *at < 40 || *at + 60 > whole.len() || at.is_multiple_of(step);
    for at in (0..whole.len()).filter(sampled) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        refused(&bytes, &format!("byte {at} changed"));
        refused(&whole[..at], &format!("cut off at {at}"));
    }
    refused(&[&whole[..], b"\0"].concat(), "a byte added");
    assert_eq!(generations::whole(&store, changes), Ok(4));
    assert_eq!(files::names(&target), ["lock", "state-1"]);
    commit_up_to(&store, 6, changes);
}

#[test]
fn an_export_that_fails_leaves_the_earlier_file() {
    let dir = directory_in_memory();
    let store = store(&dir.path().join("store"), 2);
    let export = store.export(&dir.path().join("rows")).expect("exports");
    // The name under which a file is written until it is whole is taken by a directory.
    fs::create_dir(dir.path().join("rows.unfinished")).expect("creates");
    assert!(matches!(store.export(&export.file), Err(StoreError::Io { .. })));
    assert!(fs::read(&export.file).expect("reads").ends_with(&export.digest));
    store.commit([Change::Delete { key: b"none".to_vec() }]).expect("commits go on");
}

#[test]
fn an_import_that_stops_at_any_step_leaves_the_old_rows_or_the_new_ones() {
    let dir = directory_in_memory();
    let export = exported(&dir, 9);
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    drop(store(&before, 5));
    files::copy(&before, &after);
    drop(Store::open(&after).expect("opens").import(&export.file).expect("imports"));

    let check = |expected: u64, what: &str, prepare: &dyn Fn(&Path)| {
        let crashed = directory_in_memory();
        files::copy(&before, crashed.path());
        prepare(crashed.path());
        let store = Store::open(crashed.path()).expect(what);
        assert_eq!(generations::whole(&store, changes), Ok(expected), "{what}");
        assert_eq!(files::names(crashed.path()), ["lock", if expected == 5 { "state-1" } else { "state-2" }], "{what}");
    };
    let new = after.join("state-2");
    check(5, "nothing done", &|_| {});
    check(5, "a directory made", &|dir| fs::create_dir(dir.join("building")).expect("creates"));
    check(5, "half filled", &|dir| {
        files::copy(&new, &dir.join("building"));
        let db = fs::OpenOptions::new().write(true).open(dir.join("building/db")).expect("opens");
        db.set_len(100_000).expect("cuts");
    });
    check(5, "filled", &|dir| files::copy(&new, &dir.join("building")));
    check(9, "put in place", &|dir| files::copy(&new, &dir.join("state-2")));
    check(9, "half cleaned up", &|dir| {
        files::copy(&new, &dir.join("state-2"));
        fs::remove_file(dir.join("state-1/db")).expect("removes");
    });
    check(9, "cleaned up", &|dir| {
        files::copy(&new, &dir.join("state-2"));
        fs::remove_dir_all(dir.join("state-1")).expect("removes");
    });
}

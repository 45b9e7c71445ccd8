//! What a power cut leaves of sled's file while a commit is under way, and files that are damaged in other ways.
//!
//! A power cut leaves the bytes of the last commit, and of what the commit under way has written, any part: the disk
//! orders writes as it likes until the file is synced. Only a shrinking of the file comes last, as the file system's
//! journal has the disk write down everything else first.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::{fs, mem};

use fastrand::Rng;
use repl::storage::{Store, StoreError};

use super::files::{self, DB, settled};
use super::generations::{self, varied_changes};
use crate::directory_in_memory;

/// What sled writes and reuses as one.
const SEGMENT_BYTES: usize = 512 * 1024;

const PAGE_BYTES: usize = 4096;

/// What was found in the stores that were opened after a crash.
#[derive(Debug, Default)]
struct Found {
    /// How many generations behind the newest, and how often.
    behind: BTreeMap<u64, u32>,
    damaged: BTreeMap<String, u32>,
}

impl Found {
    /// Opens the store as it is with `db` for its file. It holds a whole generation, or says that it is damaged; what it
    /// holds can be built upon.
    fn open(&mut self, dir: &Path, db: &[u8], newest: u64, what: &str) {
        let crashed = directory_in_memory();
        files::copy(dir, crashed.path());
        fs::write(crashed.path().join(DB), db).expect("writes");
        let store = match Store::open(crashed.path()) {
            Ok(store) => store,
            Err(StoreError::Damaged { what: how, .. }) => {
                *self.damaged.entry(format!("{what}: {how}")).or_default() += 1;
                return;
            }
            Err(error) => unreachable!("{what}: {error}"),
        };
        let found = generations::whole(&store, varied_changes).expect(what);
        let behind = newest.checked_sub(found).expect("no generation from the future");
        *self.behind.entry(behind).or_default() += 1;
        generations::commit_up_to(&store, found + 2, varied_changes);
        drop(store);
        let store = Store::open(crashed.path()).expect(what);
        assert_eq!(generations::whole(&store, varied_changes), Ok(found + 2), "{what}");
    }
}

/// sled's file as of every sync since it was last asked for.
#[derive(Clone, Default)]
struct Synced(Arc<Mutex<Vec<Vec<u8>>>>);

impl Synced {
    fn open(&self, dir: &Path) -> Store {
        let (synced, db) = (Arc::clone(&self.0), dir.join(DB));
        let add = move || {
            // While a store is being made its file has another name.
            if db.exists() {
                synced.lock().expect("not poisoned").push(settled(&db));
            }
        };
        Store::open_told(dir, add).expect("opens")
    }

    fn take(&self) -> Vec<Vec<u8>> {
        mem::take(&mut self.0.lock().expect("not poisoned"))
    }
}

/// Commits generation after generation, now and then in a store opened anew, and shows to `crash` all between which the
/// power may be cut: the generation, and sled's file as of one sync and as of the next.
fn each_sync(dir: &Path, generations: u64, mut crash: impl FnMut(u64, &[u8], &[u8])) {
    let synced = Synced::default();
    let mut store = synced.open(dir);
    let mut files = vec![settled(&dir.join(DB))];
    for generation in 1..=generations {
        store.commit(varied_changes(generation)).expect("commits");
        files.extend(synced.take());
        assert!(files.len() > 1, "a commit is synced");
        for (before, after) in files.iter().zip(files.iter().skip(1)) {
            crash(generation, before, after);
        }
        files.drain(..files.len() - 1);
        if generation.is_multiple_of(7) {
            drop(store);
            store = synced.open(dir);
            files = synced.take();
        }
    }
}

/// Of everything that differs between two files, some parts are new and some are not; what lies behind the end of the
/// shorter one is blank where it is not new.
fn partly_written(rng: &mut Rng, before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut db = before.to_vec();
    if after.len() < before.len() {
        db.truncate(after.len() / SEGMENT_BYTES * SEGMENT_BYTES);
    }
    // The file's new length is known to the disk, or not yet.
    if rng.bool() {
        db.resize(db.len().max(after.len()), 0);
    }
    let segments = db.chunks_mut(SEGMENT_BYTES).zip(after.chunks(SEGMENT_BYTES));
    for (segment, new) in segments {
        let pages = segment.len().min(new.len()).div_ceil(PAGE_BYTES);
        let somewhere = rng.usize(0..=pages);
        let density = *rng.choice(&[0.02, 0.5, 0.98]).expect("not empty");
        let shape = rng.u8(0..7);
        for (number, (page, new)) in segment.chunks_mut(PAGE_BYTES).zip(new.chunks(PAGE_BYTES)).enumerate() {
            let is_new = match shape {
                0 => false,
                1 => true,
                2 => number == 0,
                3 => number < somewhere,
                4 => number >= somewhere,
                5 => number != somewhere,
                _ => rng.f64() < density,
            };
            if is_new {
                page.iter_mut().zip(new).for_each(|(byte, new)| *byte = *new);
            }
        }
    }
    db
}

#[test]
fn a_power_cut_during_a_commit_leaves_that_commit_or_the_one_before() {
    let mut found = Found::default();
    let mut rng = Rng::with_seed(7);
    let dir = directory_in_memory();
    each_sync(dir.path(), 24, |generation, before, after| {
        found.open(dir.path(), before, generation, "nothing written");
        for _ in 0..3 {
            found.open(dir.path(), &partly_written(&mut rng, before, after), generation, "partly written");
        }
        found.open(dir.path(), after, generation, "all written");
    });
    println!("{found:?}");
    assert!(found.damaged.is_empty(), "{found:?}");
    assert_eq!(found.behind.keys().collect::<Vec<_>>(), [&0, &1], "{found:?}");
}

/// The disk lost what it had confirmed. An older generation is then all that can be had; that the log does not reach
/// back to it is for its owner to see.
#[test]
fn a_file_that_lost_bytes_anywhere_holds_a_whole_generation_or_is_said_to_be_damaged() {
    let mut found = Found::default();
    let mut rng = Rng::with_seed(11);
    let dir = directory_in_memory();
    each_sync(dir.path(), 20, |generation, _, whole| {
        let at = rng.usize(..whole.len());
        let mut damaged = |what: &str, damage: &dyn Fn(&mut Vec<u8>)| {
            let mut db = whole.to_vec();
            damage(&mut db);
            found.open(dir.path(), &db, generation, what);
        };
        damaged("cut off", &|db| db.truncate(at));
        damaged("the end is blank", &|db| db.iter_mut().skip(at).for_each(|byte| *byte = 0));
        damaged("a page is blank", &|db| {
            db.iter_mut().skip(at / PAGE_BYTES * PAGE_BYTES).take(PAGE_BYTES).for_each(|byte| *byte = 0);
        });
        damaged("a bit has flipped", &|db| db.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 4));
    });
    println!("{found:?}");
    assert!(!found.damaged.is_empty(), "damage was noticed: {found:?}");
}

#[test]
fn a_damaged_store_is_set_aside_and_an_empty_one_takes_its_place() {
    let dir = directory_in_memory();
    let state = dir.path().join("state");
    for number in 1..=2 {
        generations::commit_up_to(&Store::open(&state).expect("opens"), 3, varied_changes);
        fs::remove_file(state.join(DB)).expect("removes");
        assert!(matches!(Store::open(&state), Err(StoreError::Damaged { .. })));
        let aside = Store::set_aside(&state).expect("sets aside");
        assert_eq!(aside, dir.path().join(format!("state-damaged-{number}")));
        assert_eq!(generations::whole(&Store::open(&state).expect("opens"), varied_changes), Ok(0));
    }
    assert_eq!(files::names(dir.path()), ["state", "state-damaged-1", "state-damaged-2"]);
}

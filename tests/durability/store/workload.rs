//! The workloads of the checkpoint store: numbered generations of rows, in several ways.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use repl::storage::{Change, Store};

use super::files;
use super::generations::{self, Model};
use crate::workload::{Fsync, Workload};

/// A way to bring a store from one generation to the next.
pub(crate) trait Generations: Default {
    const NAME: &'static str;
    const STEPS: u64;
    const STEP_TIME_MAX: Duration;

    /// What a generation changes.
    fn changes(generation: u64) -> Vec<Change>;

    /// Leaves the store with the rows of `generation`, which follows the one it holds. There may be files beside it.
    fn advance(store: Store, _beside: &Path, generation: u64) -> Store {
        store.commit(Self::changes(generation)).expect("commits");
        store
    }
}

/// Commits of rows of all sizes, which sled writes into one segment or a few.
#[derive(Default)]
pub(crate) struct Mixed;

impl Generations for Mixed {
    const NAME: &'static str = "store-mixed";
    const STEPS: u64 = 24;
    const STEP_TIME_MAX: Duration = Duration::from_millis(30);

    fn changes(generation: u64) -> Vec<Change> {
        generations::changes(generation)
    }
}

/// Commits that write, overwrite and delete megabytes, so that sled moves rows and cuts off the end of its file, which
/// it does in a thread of its own.
#[derive(Default)]
pub(crate) struct Bulky;

impl Generations for Bulky {
    const NAME: &'static str = "store-bulky";
    const STEPS: u64 = 16;
    const STEP_TIME_MAX: Duration = Duration::from_millis(200);

    fn changes(generation: u64) -> Vec<Change> {
        generations::bulky_changes(generation)
    }
}

/// Each generation is exported by another store and replaces all rows of this one.
#[derive(Default)]
pub(crate) struct Imported;

impl Generations for Imported {
    const NAME: &'static str = "store-imported";
    const STEPS: u64 = 8;
    const STEP_TIME_MAX: Duration = Duration::from_millis(400);

    fn changes(generation: u64) -> Vec<Change> {
        generations::changes(generation)
    }

    fn advance(store: Store, beside: &Path, generation: u64) -> Store {
        let source = Store::open(&beside.join("source")).expect("opens");
        // A crash between the two stores leaves this one ahead.
        if generations::number(&source) < generation {
            source.commit(Self::changes(generation)).expect("commits");
        }
        let export = source.export(&beside.join("rows")).expect("exports");
        store.import(&export.file).expect("imports")
    }
}

/// Generation after generation. What a store holds after any of them follows from its number alone.
#[derive(Default)]
pub(crate) struct StoreWorkload<G> {
    model: Model,
    way: PhantomData<G>,
}

impl<G: Generations> Workload for StoreWorkload<G> {
    const NAME: &'static str = G::NAME;
    const STEPS: u64 = G::STEPS;
    const STEP_TIME_MAX: Duration = G::STEP_TIME_MAX;
    const UNDER_WAY_MAX: u64 = 1;

    fn run(dir: &Path, _seed: u64, fsync: Fsync, acknowledge: impl Fn(u64) + Clone + Send + 'static) {
        let path = dir.join("store");
        let opened = match fsync {
            Fsync::Done => Store::open(&path),
            Fsync::LeftOut => Store::open_without_sync(&path),
        };
        let mut store = opened.expect("opens");
        let next = generations::number(&store) + 1;
        for step in 0.. {
            store = G::advance(store, dir, next + step);
            acknowledge(step);
        }
    }

    fn verify(&mut self, dir: &Path, _seed: u64, acknowledged: Option<u64>) -> Result<u64, String> {
        let path = dir.join("store");
        let store = Store::open(&path).map_err(|error| error.to_string())?;
        let acknowledged = self.model.generation + acknowledged.map_or(0, |last| last + 1);
        let found = generations::number(&store);
        let Some(beyond) = found.checked_sub(acknowledged) else {
            return Err(format!("generation {acknowledged} was acknowledged, {found} is there"));
        };
        self.model.advance(found, G::changes);
        if files::rows(&store) != self.model.rows {
            return Err(format!("not all rows belong to generation {found}"));
        }
        match files::names(&path) {
            names if names.len() == 2 => Ok(beyond),
            names => Err(format!("not only the lock and one database: {names:?}")),
        }
    }
}

#[test]
fn sled_cuts_its_file_off_under_the_bulky_workload() {
    let dir = crate::directory_in_memory();
    let mut store = Store::open(dir.path()).expect("opens");
    let mut sizes = Vec::new();
    // When exactly depends on where its threads have put what.
    for generation in 1..=60 {
        store = Bulky::advance(store, dir.path(), generation);
        sizes.push(files::settled(&dir.path().join(files::DB)).len());
        if sizes.iter().max() > sizes.last() {
            return;
        }
    }
    unreachable!("its sizes after each commit were {sizes:?}");
}

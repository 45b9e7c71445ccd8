//! The process is killed.

use fastrand::Rng;
use tempfile::TempDir;

use super::log::LogWorkload;
use super::store::{Imported, Mixed, StoreWorkload};
use super::workload::{Fsync, Running, Workload};

fn check_kills<W: Workload>(kills: u64) {
    let dir = TempDir::new().expect("a directory");
    let mut workload = W::default();
    let mut rng = Rng::with_seed(1);
    let mut steps = 0;
    for seed in 0..kills {
        let mut running = Running::start::<W>(dir.path(), seed, Fsync::Done, &[]);
        running.wait_for(rng.u64(..W::STEPS));
        running.go_on_for(W::STEP_TIME_MAX.mul_f64(rng.f64()));
        let acknowledged = running.kill();
        steps += acknowledged.unwrap_or(0);
        let beyond = workload.verify(dir.path(), seed, acknowledged);
        let is_there = beyond.as_ref().is_ok_and(|beyond| *beyond <= W::UNDER_WAY_MAX);
        assert!(is_there, "kill {seed}, {acknowledged:?} was acknowledged: {beyond:?}");
    }
    assert!(steps > kills * W::STEPS / 8, "only {steps} steps were acknowledged: the test tests little");
}

#[test]
fn a_killed_log_keeps_all_that_it_acknowledged() {
    check_kills::<LogWorkload>(100);
}

#[test]
fn a_killed_store_holds_the_last_acknowledged_commit_or_the_one_under_way() {
    check_kills::<StoreWorkload<Mixed>>(20);
}

#[test]
fn a_killed_import_leaves_the_old_rows_or_the_new_ones() {
    check_kills::<StoreWorkload<Imported>>(10);
}

//! The power of the disk is cut under a running process.

use std::time::Duration;

use fastrand::Rng;

use super::ext4::Ext4;
use super::log::LogWorkload;
use super::store::{Bulky, Imported, Mixed, StoreWorkload};
use super::workload::{Fsync, Running, Workload};

const CUTS: u64 = 8;

const DISK_BYTES: u64 = 64 << 20;

/// When the power is cut.
struct Moment {
    /// So many steps are acknowledged.
    steps: u64,
    /// And then so much time has passed.
    later: Duration,
}

/// Runs a workload, cuts the power, and tells whether what was acknowledged is there.
fn cut<W: Workload>(
    disk: &Ext4,
    workload: &mut W,
    name: &str,
    seed: u64,
    fsync: Fsync,
    moment: &Moment,
) -> Result<u64, String> {
    let dir = disk.path().join(name);
    let cutter = disk.cutter();
    let mut running = Running::start::<W>(&dir, seed, fsync, &[]);
    running.wait_for(moment.steps);
    // What is acknowledged during the cut does not count: an fsync that is under way when ext4 is shut down may report
    // success although its transaction is dropped (seen on Linux 6.18). After a real cut nobody would hear of it.
    let acknowledged = running.go_on_for(moment.later);
    cutter.cut_power();
    running.kill();
    assert!(acknowledged >= Some(moment.steps), "the workload stopped early, after {acknowledged:?}");
    disk.restart();
    workload.verify(&dir, seed, acknowledged)
}

fn check_power_cuts<W: Workload>() {
    let Some(disk) = Ext4::new(DISK_BYTES) else { return };
    let mut workload = W::default();
    let mut rng = Rng::with_seed(2);
    for seed in 0..CUTS {
        let steps = rng.u64(W::STEPS / 20..W::STEPS);
        let moment = Moment { steps, later: W::STEP_TIME_MAX.mul_f64(rng.f64()) };
        let outcome = cut(&disk, &mut workload, W::NAME, seed, Fsync::Done, &moment);
        assert!(outcome.is_ok(), "power cut {seed}, after {steps} steps: {outcome:?}");
    }
}

/// Each cut meets a new store: how far a file has grown is what a cut takes back first.
fn check_power_cuts_are_noticed<W: Workload>() {
    let Some(disk) = Ext4::new(DISK_BYTES) else { return };
    let moment = Moment { steps: W::STEPS / 4, later: Duration::ZERO };
    let lost = (0..CUTS).filter(|seed| {
        let name = format!("{}-{seed}", W::NAME);
        cut(&disk, &mut W::default(), &name, *seed, Fsync::LeftOut, &moment).is_err()
    });
    assert!(lost.count() > 0, "no power cut did harm without fsync: the test would not notice a missing one");
}

#[test]
fn a_log_keeps_all_that_it_acknowledged_when_the_power_fails() {
    check_power_cuts::<LogWorkload>();
}

#[test]
fn a_log_without_fsync_loses_what_it_acknowledged_when_the_power_fails() {
    check_power_cuts_are_noticed::<LogWorkload>();
}

#[test]
fn a_store_keeps_all_that_it_acknowledged_when_the_power_fails() {
    check_power_cuts::<StoreWorkload<Mixed>>();
}

#[test]
fn a_store_keeps_all_that_it_acknowledged_when_the_power_fails_while_sled_moves_rows_and_cuts_its_file() {
    check_power_cuts::<StoreWorkload<Bulky>>();
}

#[test]
fn an_imported_store_keeps_the_last_import_when_the_power_fails() {
    check_power_cuts::<StoreWorkload<Imported>>();
}

/// sled's own flush is none.
#[test]
fn a_store_without_fsync_loses_what_it_acknowledged_when_the_power_fails() {
    check_power_cuts_are_noticed::<StoreWorkload<Mixed>>();
}

//! The power of the disk is cut under a running process.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fastrand::Rng;

use super::ext4::{self, Ext4};
use super::log::LogWorkload;
use super::store::{Bulky, Imported, Mixed, StoreWorkload};
use super::workload::{Fsync, Running, Workload};

const CUTS: u64 = 8;

const DISK_BYTES: u64 = 64 << 20;

/// Cuts the power of a disk.
pub(crate) struct Cutter {
    perl: Child,
}

impl Cutter {
    pub(crate) fn cut_power(mut self) {
        drop(self.perl.stdin.take());
        assert!(self.perl.wait().expect("it ends").success(), "ext4 can be shut down");
    }
}

impl Ext4 {
    /// Gets ready to cut the power, so that the cut itself comes at once.
    pub(crate) fn cutter(&self) -> Cutter {
        // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH, from the kernel's fs/ext4/ext4.h: neither data nor what
        // the journal holds in memory reaches the disk any more. From Rust, an ioctl would be unsafe.
        let shutdown = r#"
            open(my $dir, "<", $ARGV[0]) or die $!;
            my $flags = pack("L", 2);
            $| = 1;
            print "ready\n";
            <STDIN>;
            ioctl($dir, 0x8004587d, $flags) or die $!;
        "#;
        let mut perl = Command::new("perl")
            .args(["-e", shutdown, ext4::text(self.path())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("perl was there before");
        let mut ready = [0; 6];
        perl.stdout.take().expect("piped").read_exact(&mut ready).expect("it opens the directory");
        Cutter { perl }
    }

    /// Mounts the disk as the power cut has left it. Everyone who used it must be gone.
    pub(crate) fn restart(&self) {
        ext4::run("umount", &[ext4::text(self.path())]).and_then(|()| self.mount()).expect("mounts again");
    }
}

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

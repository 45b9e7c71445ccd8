//! What was acknowledged is still there: after random histories, kills, power cuts, full disks and damaged bytes.
//!
//! A [`Workload`](workload::Workload) drives one store with steps and can tell afterwards whether everything
//! acknowledged is there. It runs in a child process, this same binary, which reports what its store calls durable
//! through a pipe, so that the process can be killed, or the power of its disk cut, at any moment. [`kill`],
//! [`power_cut`] and [`full_disk`] do so to any workload; [`log`] and [`store`] hold the workloads and the tests that
//! concern one store alone. Another store becomes part of these tests with its own workload and a line in
//! [`run_workload`].

mod ext4;
mod full_disk;
mod kill;
mod log;
mod power_cut;
mod store;
mod workload;

use std::path::Path;

use log::LogWorkload;
use store::{Bulky, Imported, Mixed, StoreWorkload};
use tempfile::TempDir;
use workload::{Task, Workload};

/// What the child processes of the other tests run. Run as a test, it does nothing.
#[test]
fn run_workload() {
    let Some(task) = Task::from_environment() else { return };
    match task.workload.as_str() {
        LogWorkload::NAME => task.run::<LogWorkload>(),
        StoreWorkload::<Mixed>::NAME => task.run::<StoreWorkload<Mixed>>(),
        StoreWorkload::<Bulky>::NAME => task.run::<StoreWorkload<Bulky>>(),
        StoreWorkload::<Imported>::NAME => task.run::<StoreWorkload<Imported>>(),
        unknown => panic!("no workload is called {unknown}"),
    }
}

/// A directory, in memory if there is a place for it: nothing here needs its syncs, and they are slow on a disk.
fn directory_in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a directory")
}

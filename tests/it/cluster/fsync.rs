//! A node's fsync, for a test to leave out or to let fail. The node is the one that everybody runs: what is replaced is
//! libc under it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cluster/fsync.c");

/// What a node that was started with it does at its next fsync.
#[derive(Clone, Debug)]
pub(crate) struct Fsync {
    library: PathBuf,
    order: PathBuf,
}

impl Fsync {
    /// Does as it should until told otherwise. None, after saying why, if this machine can't make one.
    pub(crate) fn new(dir: &Path) -> Option<Self> {
        let (library, order) = (dir.join("fsync.so"), dir.join("fsync"));
        let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(SOURCE).output();
        let reason = match made {
            Ok(output) if output.status.success() => return Some(Self { library, order }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        // Not `eprintln`, which the test harness would keep to itself.
        let _ = writeln!(std::io::stderr(), "skipped, as cc makes no library to load before libc: {reason}");
        None
    }

    /// It answers that all is well, and does nothing.
    pub(crate) fn leave_out(&self) {
        fs::write(&self.order, "leave out").expect("written");
    }

    /// It fails with EIO.
    pub(crate) fn fail(&self) {
        fs::write(&self.order, "fail").expect("written");
    }

    /// It does as it should.
    pub(crate) fn mend(&self) {
        fs::remove_file(&self.order).expect("it did not");
    }

    /// What a process needs to be told to use it.
    pub(super) fn variables(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("FSYNC_ORDER", &self.order)]
    }
}

//! What the figures were measured on. Without it they say nothing.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use super::histogram::{Latencies, Summary};
use crate::report::ms;
use crate::systems::Setup;

/// Fsyncs that are timed beforehand.
const FSYNCS: usize = 200;

/// About an entry of the log with one message.
const FSYNC_BYTES: usize = 256;

/// A machine, at the time of a measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Of the last minute, before the load: what else it was busy with.
    pub(crate) load_average: f64,
    /// Of the nodes' directories.
    pub(crate) file_system: String,
    /// Of one small append and its fsync, in a file of its own.
    pub(crate) fsync: Summary,
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, cpu, memory_mib, kernel, load_average, file_system, fsync } = self;
        let (p50, p99) = (ms(fsync.p50_us), ms(fsync.p99_us));
        writeln!(out, "{cores} cores ({cpu}), {memory_mib} MiB, Linux {kernel}, load {load_average}")?;
        write!(out, "{file_system}, write and fsync of 256 B: p50 {p50} ms, p99 {p99} ms")
    }
}

impl Machine {
    pub(crate) fn look(setup: &Setup) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("can't read {path}"));
        let cpu = read("/proc/cpuinfo")?;
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
        let memory = read("/proc/meminfo")?;
        let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
        let load = read("/proc/loadavg")?;
        let load = load.split(' ').next().and_then(|load| load.parse().ok());
        Ok(Self {
            cores: thread::available_parallelism().context("can't count the cores")?.get(),
            cpu: cpu.unwrap_or("unknown").to_owned(),
            memory_mib: memory.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_average: load.unwrap_or(0.0),
            file_system: file_system(&setup.dir, &read("/proc/mounts")?)?,
            fsync: fsync(&setup.dir).with_context(|| format!("can't write to {}", setup.dir.display()))?,
        })
    }
}

/// The type of the file system that holds a directory.
fn file_system(dir: &Path, mounts: &str) -> Result<String> {
    let dir = fs::canonicalize(dir).with_context(|| format!("can't find {}", dir.display()))?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    // Of those at the same place, the last one is seen.
    let holding = mounts.filter(|(at, _)| dir.starts_with(at)).max_by_key(|(at, _)| at.len());
    Ok(holding.map_or("unknown", |(_, kind)| kind).to_owned())
}

fn fsync(dir: &Path) -> Result<Summary> {
    let mut file: File = tempfile::tempfile_in(dir)?;
    let mut latencies = Latencies::new();
    for _ in 0..FSYNCS {
        let started = Instant::now();
        file.write_all(&[0; FSYNC_BYTES])?;
        file.sync_data()?;
        latencies.record(u64::try_from(started.elapsed().as_micros())?);
    }
    Ok(latencies.summary())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_holds_a_directory() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /proc proc rw 0 0\ntmpfs /pro tmpfs rw 0 0\n";
        assert_eq!(file_system(Path::new("/proc"), mounts).expect("found"), "proc");
        assert_eq!(file_system(Path::new("/"), mounts).expect("found"), "ext4");
    }
}

//! What the kernel counts of processes.

use std::fs;
use std::iter::Sum;
use std::time::Duration;

use anyhow::{Context, Result};

/// Of the CPU times in `/proc`, on every architecture of Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Memory of processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident, with pages that other processes have too.
    pub(crate) rss_kib: u64,
    /// Resident, each shared page divided by those who share it; but for pages of files, whose share changes whenever
    /// somebody else starts or ends the same program.
    pub(crate) pss_kib: u64,
}

/// A process, all that it has started, and those in turn.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at) {
        // Each thread has children of its own. One that has just ended has none.
        let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        let children: Vec<u32> =
            children.flat_map(|pids| pids.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
        found.extend(children);
        at += 1;
    }
    found
}

/// User and system time of all threads, those that have ended too. Counted in steps of 10 ms.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    parse_cpu_time(&text).with_context(|| format!("can't make sense of {path}"))
}

fn parse_cpu_time(stat: &str) -> Option<Duration> {
    // The name, in parentheses, may hold anything; fields are counted from behind it. See proc_pid_stat(5).
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_ascii_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    let (user, system) = (ticks.next()??, ticks.next()??);
    Some(Duration::from_millis((user + system) * 1_000 / TICKS_PER_SECOND))
}

/// What a process has in memory.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        kib.with_context(|| format!("{path} says nothing of {name}"))
    };
    Ok(Memory { rss_kib: field("Rss")?, pss_kib: field("Pss_Anon")? + field("Pss_Shmem")? })
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            rss_kib: sum.rss_kib + one.rss_kib,
            pss_kib: sum.pss_kib + one.pss_kib,
        })
    }
}

/// How many files and sockets this process, and those it starts, may have open.
pub(crate) fn open_files_max() -> Result<u64> {
    let limits = fs::read_to_string("/proc/self/limits").context("can't read /proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_ascii_whitespace().next());
    Ok(soft.and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 9 0 100 1000 10";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_cpu_time("7 (a"), None);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let pid = std::process::id();
        assert!(memory(pid).expect("memory").pss_kib > 0);
        cpu_time(pid).expect("time");
        assert!(open_files_max().expect("a limit") > 0);
        assert_eq!(tree(std::process::id()), [std::process::id()]);
    }
}

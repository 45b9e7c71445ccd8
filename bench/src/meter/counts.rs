//! What servers used, and what `repl` counts of itself, between two moments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::process;
use crate::systems::Running;

/// The counters of a node's `/metrics` by name, summed over labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(BTreeMap<String, f64>);

/// One moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    at: Instant,
    /// Of all processes together.
    servers: Duration,
    /// Of this process, which makes the load.
    load: Duration,
    counters: Counters,
}

/// What happened between two moments.
#[derive(Clone, Debug)]
pub(crate) struct Interval {
    pub(crate) elapsed: Duration,
    /// CPU time of all processes of the system together.
    pub(crate) servers: Duration,
    /// CPU time of the load.
    pub(crate) load: Duration,
    before: Counters,
    after: Counters,
}

impl Snapshot {
    pub(crate) async fn take(running: &Running) -> Result<Self> {
        let counters = running.counters().await?;
        Ok(Self {
            at: Instant::now(),
            servers: running.cpu_time()?,
            load: process::cpu_time(std::process::id())?,
            counters,
        })
    }

    pub(crate) fn until(self, later: Self) -> Interval {
        Interval {
            elapsed: later.at - self.at,
            servers: later.servers.saturating_sub(self.servers),
            load: later.load.saturating_sub(self.load),
            before: self.counters,
            after: later.counters,
        }
    }
}

impl Interval {
    /// How much a counter grew, over all nodes. Names are those of `/metrics` without `repl_`.
    pub(crate) fn grown(&self, counter: &str) -> f64 {
        self.after.get(counter) - self.before.get(counter)
    }

    /// What a counter or a gauge stood at in the end, over all nodes.
    pub(crate) fn at_end(&self, name: &str) -> f64 {
        self.after.get(name)
    }

    /// How many terms went by, which is none as long as the leader keeps up.
    pub(crate) fn elections(&self, nodes: usize) -> f64 {
        ratio(self.grown("raft_term"), real(nodes as u64))
    }

    pub(crate) fn per_second(&self, count: u64) -> f64 {
        ratio(real(count), self.elapsed.as_secs_f64())
    }

    pub(crate) fn per_server_cpu_second(&self, count: u64) -> f64 {
        ratio(real(count), self.servers.as_secs_f64())
    }

    /// Microseconds of the servers' CPU time for each of so many.
    pub(crate) fn server_us_per(&self, count: u64) -> f64 {
        ratio(self.servers.as_secs_f64() * 1e6, real(count))
    }

    /// How many cores the servers kept busy.
    pub(crate) fn server_cores(&self) -> f64 {
        ratio(self.servers.as_secs_f64(), self.elapsed.as_secs_f64())
    }

    /// How many cores the load kept busy.
    pub(crate) fn load_cores(&self) -> f64 {
        ratio(self.load.as_secs_f64(), self.elapsed.as_secs_f64())
    }
}

impl Counters {
    /// Reads the text form of Prometheus, or of OpenMetrics.
    pub(crate) fn parse(text: &str) -> Self {
        let mut counters = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let name = name.split('{').next().unwrap_or(name);
            let name = name.strip_prefix("repl_").unwrap_or(name);
            *counters.0.entry(name.to_owned()).or_default() += value.parse().unwrap_or(0.0);
        }
        counters
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            *self.0.entry(name.clone()).or_default() += value;
        }
    }

    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }
}

/// Zero if there is nothing to divide by.
pub(crate) fn ratio(count: f64, by: f64) -> f64 {
    if by > 0.0 { count / by } else { 0.0 }
}

/// Counts here stay far below the 2^53 that fit.
#[expect(clippy::cast_precision_loss, reason = "counts of a run of seconds")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels() {
        let page = "# TYPE repl_http_requests counter\nrepl_http_requests_total{a=\"x y\"} 2\n\
            repl_http_requests_total{a=\"z\"} 3\nrepl_log_fsync_duration_seconds_sum 0.25\n# EOF\n";
        let counters = Counters::parse(page);
        let got = ["http_requests_total", "log_fsync_duration_seconds_sum", "nothing"].map(|name| counters.get(name));
        assert_eq!(got, [5.0, 0.25, 0.0]);
    }
}

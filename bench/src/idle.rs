//! `idle`: what a subscriber costs that nothing happens for.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::sleep;

use crate::cluster::{Cluster, Setup};
use crate::counts::{Snapshot, real};
use crate::process::{self, Memory};
use crate::progress::say;
use crate::report::{Report, Row, number};
use crate::subscribers;

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip)]
    pub(crate) setup: Setup,
    /// One server and one row for each of these.
    pub(crate) subscribers: Vec<usize>,
    /// How long they are held. CPU time is what is used meanwhile; memory is read at the end.
    pub(crate) seconds: f64,
}

/// What one number of them came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    subscribers: usize,
    rss_kib_before: u64,
    rss_kib: u64,
    pss_kib_before: u64,
    pss_kib: u64,
    pss_kib_per_subscriber: f64,
    rss_kib_per_subscriber: f64,
    /// CPU seconds a second.
    server_cores: f64,
}

/// Measures all of it.
pub(crate) async fn run(options: &Options) -> Result<Report<Options, Found>> {
    let mut report = Report::begin("idle", &options.setup, options.clone())?;
    for subscribers in &options.subscribers {
        // A server of its own: memory that was used once is not always given back.
        let most = (subscribers + 100).to_string();
        let cluster = Cluster::start(&options.setup, 1, &["--max-connections", &most]).await?;
        report.version(cluster.version());
        let found = measure(options, &cluster, *subscribers).await;
        report.add(found.with_context(|| format!("{subscribers} subscribers"))?);
    }
    Ok(report)
}

async fn measure(options: &Options, cluster: &Cluster, count: usize) -> Result<Found> {
    let node = cluster.nodes().first().context("no node was started")?;
    cluster.create_topic("bench").await?;
    // One of each kind of request first, so that what is made once is not counted.
    drop(subscribers::open(&cluster.addresses(), "/topics/bench/sse", 1).await?);
    node.metrics().await?;
    let before = process::memory(node.pid())?;
    let streams = subscribers::open(&cluster.addresses(), "/topics/bench/sse", count).await?;
    say(format_args!("{} s of silence", options.seconds));
    let start = Snapshot::take(cluster).await?;
    sleep(Duration::from_secs_f64(options.seconds)).await;
    let interval = start.until(Snapshot::take(cluster).await?);
    let after = process::memory(node.pid())?;
    let open = interval.at_end("http_streams");
    ensure!(open >= real(count as u64), "only {open} of {count} streams are still open");
    drop(streams);
    Ok(Found::new(count, before, after, interval.server_cores()))
}

impl Found {
    fn new(subscribers: usize, before: Memory, after: Memory, server_cores: f64) -> Self {
        let each = |before: u64, after: u64| (real(after) - real(before)) / real(subscribers as u64);
        Self {
            subscribers,
            rss_kib_before: before.rss_kib,
            rss_kib: after.rss_kib,
            pss_kib_before: before.pss_kib,
            pss_kib: after.pss_kib,
            pss_kib_per_subscriber: each(before.pss_kib, after.pss_kib),
            rss_kib_per_subscriber: each(before.rss_kib, after.rss_kib),
            server_cores,
        }
    }
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] =
        &["subscribers", "KiB each (PSS)", "KiB each (RSS)", "PSS MiB before", "PSS MiB", "server cores"];

    fn cells(&self) -> Vec<String> {
        let mib = |kib: u64| real(kib) / 1024.0;
        let figures = [
            self.pss_kib_per_subscriber,
            self.rss_kib_per_subscriber,
            mib(self.pss_kib_before),
            mib(self.pss_kib),
            self.server_cores,
        ];
        [self.subscribers.to_string()].into_iter().chain(figures.map(number)).collect()
    }

    fn wrong(&self) -> Option<String> {
        None
    }
}

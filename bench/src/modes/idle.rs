//! `idle`: what a subscriber costs that nothing happens for.

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{measure_each, pass};
use crate::load::subscribers;
use crate::meter::counts::{Snapshot, real};
use crate::report::plot::Plot;
use crate::report::{self, Report, Row, number};
use crate::systems::{Lineup, Running, System};

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip)]
    pub(crate) lineup: Lineup,
    /// One row for each of these and each system, each with servers of its own: memory that was used once is not always
    /// given back.
    pub(crate) subscribers: Vec<usize>,
    /// How long they are held. CPU time is what is used meanwhile; memory is read at the end.
    pub(crate) seconds: f64,
}

/// What one number of them came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) system: System,
    pub(crate) subscribers: usize,
    rss_kib_before: u64,
    rss_kib: u64,
    pss_kib_before: u64,
    pss_kib: u64,
    pub(crate) pss_kib_per_subscriber: f64,
    rss_kib_per_subscriber: f64,
    /// CPU seconds a second.
    server_cores: f64,
}

/// Measures all of it.
pub(crate) async fn run(options: &Options) -> Result<Report<Options, Found>> {
    let mut report = Report::begin("idle", &options.lineup.setup, options.clone())?;
    for subscribers in &options.subscribers {
        let load = format!("{subscribers} subscribers");
        let measure = async |running: &Running| measure(running, *subscribers, options.seconds).await;
        measure_each(&mut report, &options.lineup, *subscribers, &load, measure).await?;
    }
    Ok(report)
}

async fn measure(running: &Running, count: usize, seconds: f64) -> Result<Found> {
    // One of each kind of request first, so that what is made once is not counted.
    drop(subscribers::open(running.outlet()?, 1).await?);
    running.counters().await?;
    let before = running.memory()?;
    let streams = subscribers::open(running.outlet()?, count).await?;
    let start = Snapshot::take(running).await?;
    pass(seconds).await;
    let interval = start.until(Snapshot::take(running).await?);
    let after = running.memory()?;
    let open = interval.at_end("http_streams");
    ensure!(running.cluster.is_none() || open >= real(count as u64), "only {open} of {count} streams are still open");
    drop(streams);
    let each = |before: u64, after: u64| (real(after) - real(before)) / real(count as u64);
    Ok(Found {
        system: running.system,
        subscribers: count,
        rss_kib_before: before.rss_kib,
        rss_kib: after.rss_kib,
        pss_kib_before: before.pss_kib,
        pss_kib: after.pss_kib,
        pss_kib_per_subscriber: each(before.pss_kib, after.pss_kib),
        rss_kib_per_subscriber: each(before.rss_kib, after.rss_kib),
        server_cores: interval.server_cores(),
    })
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] =
        &["system", "subscribers", "KiB each (PSS)", "KiB each (RSS)", "PSS MiB before", "PSS MiB", "server cores"];

    fn cells(&self) -> Vec<String> {
        let mib = |kib: u64| real(kib) / 1024.0;
        let figures = [
            self.pss_kib_per_subscriber,
            self.rss_kib_per_subscriber,
            mib(self.pss_kib_before),
            mib(self.pss_kib),
            self.server_cores,
        ];
        let start = [self.system.name().to_owned(), report::count(self.subscribers)];
        start.into_iter().chain(figures.map(number)).collect()
    }

    fn wrong(&self) -> Option<String> {
        None
    }

    fn plots(rows: &[&Self]) -> Vec<Plot> {
        let most = rows.iter().map(|row| row.subscribers).max().unwrap_or(0);
        let rows = rows.iter().filter(|row| row.subscribers == most);
        let bars = rows.map(|row| (row.system.name().to_owned(), row.pss_kib_per_subscriber)).collect();
        vec![Plot::bars(
            "idle",
            &format!("Memory of the server for each of {most} idle subscribers"),
            "KiB (PSS)",
            bars,
        )]
    }
}

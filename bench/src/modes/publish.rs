//! `publish`: how many messages a second are acknowledged, which for `repl` means durable, and what one costs.

use anyhow::Result;
use serde::Serialize;

use super::{measure_each, pass, pass_and_measure};
use crate::load::message::{Clock, Values};
use crate::load::pace::Pace;
use crate::load::publishers::{Load, Publishers};
use crate::meter::counts::{Snapshot, ratio, real};
use crate::meter::histogram::Summary;
use crate::report::plot::{Plot, lines};
use crate::report::{self, Repeatable, Report, Row, latency, number, of_repl};
use crate::systems::{Lineup, Running, System};

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip)]
    pub(crate) lineup: Lineup,
    /// One row for each of these and each system, each with servers of its own.
    pub(crate) publishers: Vec<usize>,
    /// Messages of a request.
    pub(crate) batch: usize,
    pub(crate) keys: bool,
    pub(crate) topics: usize,
    pub(crate) value_bytes: usize,
    /// Publish at the leader only, rather than at all nodes in turn.
    pub(crate) leader_only: bool,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
}

/// What one load came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) system: System,
    pub(crate) publishers: usize,
    pub(crate) batch: usize,
    pub(crate) acks_per_second: f64,
    /// From request to answer.
    pub(crate) ack: Summary,
    /// CPU seconds a second, of all nodes.
    server_cores: f64,
    pub(crate) acks_per_server_cpu_second: f64,
    /// Of one node: each node has every message, and fsyncs for itself. Of `repl` only, as are the next ones.
    messages_per_fsync: f64,
    entries_per_fsync: f64,
    messages_per_entry: f64,
    fsync_ms: f64,
    elections: f64,
    /// CPU seconds a second, of the load.
    load_cores: f64,
    /// From beginning to end, not only while measuring.
    acknowledged: u64,
    unknown: u64,
    refused: u64,
    /// What the system says that it has, if it can tell.
    stored: Option<u64>,
    /// Entries of the logs of all nodes together.
    entries: f64,
}

/// Measures all of it.
pub(crate) async fn run(options: &Options) -> Result<Report<Options, Found>> {
    let mut report = Report::begin("publish", &options.lineup.setup, options.clone())?;
    for publishers in &options.publishers {
        let load = format!("{publishers} publishers");
        let measure = async |running: &Running| measure(options, running, *publishers).await;
        measure_each(&mut report, &options.lineup, *publishers, &load, measure).await?;
    }
    Ok(report)
}

async fn measure(options: &Options, running: &Running, publishers: usize) -> Result<Found> {
    let inlet = match &running.cluster {
        Some(cluster) => {
            cluster.create_topics("bench", options.topics).await?;
            if options.leader_only { cluster.inlet_of_leader("bench").await? } else { cluster.inlet("bench") }
        }
        None => running.inlet.clone(),
    };
    let begin = Snapshot::take(running).await?;
    let load = Publishers::start(Load {
        inlet,
        publishers,
        topics: options.topics,
        batch: options.batch,
        keys: options.keys.then(|| "key".to_owned()),
        values: Values::new(options.value_bytes),
        clock: Clock::start(),
        pace: Pace::Answers,
    })?;
    pass(options.warm_up_seconds).await;
    let (before, acknowledged_before) = (Snapshot::take(running).await?, load.acknowledged());
    load.measure(true);
    pass_and_measure(options.seconds, || load.acknowledged() > acknowledged_before).await;
    load.measure(false);
    let acknowledged = load.acknowledged() - acknowledged_before;
    let interval = before.until(Snapshot::take(running).await?);
    let tally = load.stop().await?;

    let nodes = running.system.repl_nodes().unwrap_or(1);
    let (fsyncs, entries) = (interval.grown("log_fsync_duration_seconds_count"), interval.grown("log_entries_total"));
    let messages_of_all_nodes = real(acknowledged) * real(nodes as u64);
    Ok(Found {
        system: running.system,
        publishers,
        batch: options.batch,
        acks_per_second: interval.per_second(acknowledged),
        ack: tally.latencies.summary(),
        server_cores: interval.server_cores(),
        acks_per_server_cpu_second: interval.per_server_cpu_second(acknowledged),
        messages_per_fsync: ratio(messages_of_all_nodes, fsyncs),
        entries_per_fsync: ratio(entries, fsyncs),
        messages_per_entry: ratio(messages_of_all_nodes, entries),
        fsync_ms: ratio(interval.grown("log_fsync_duration_seconds_sum") * 1_000.0, fsyncs),
        elections: interval.elections(nodes),
        load_cores: interval.load_cores(),
        acknowledged: tally.acknowledged,
        unknown: tally.unknown,
        refused: tally.refused,
        stored: running.stored(options.topics).await?,
        entries: begin.until(Snapshot::take(running).await?).grown("log_entries_total"),
    })
}

impl Found {
    /// Whether what was acknowledged is there, and nothing that was not sent. A system that can't tell is believed.
    fn trouble(&self) -> Option<String> {
        let Self { acknowledged, unknown, refused, stored, .. } = *self;
        let stored = stored.unwrap_or(acknowledged);
        let exact = (acknowledged..=acknowledged + unknown).contains(&stored);
        (!exact || unknown + refused > 0).then(|| {
            format!("{acknowledged} messages acknowledged, {stored} stored, {refused} refused, {unknown} not known")
        })
    }
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] = &[
        "system",
        "publishers",
        "batch",
        "acks/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "server cores",
        "acks/CPU-s",
        "msgs/fsync",
        "entries/fsync",
        "fsync ms",
        "elections",
        "load cores",
        "trouble",
    ];

    fn cells(&self) -> Vec<String> {
        let [p50, p99, max] = latency(&self.ack);
        let start = [self.system.name().to_owned(), report::count(self.publishers), report::count(self.batch)];
        let start = start.into_iter().chain([number(self.acks_per_second), p50, p99, max]);
        let figures = [self.server_cores, self.acks_per_server_cpu_second].map(number);
        let own = [self.messages_per_fsync, self.entries_per_fsync, self.fsync_ms, self.elections];
        let own = own.map(|figure| of_repl(self.system, figure));
        let trouble = self.trouble().unwrap_or_else(|| "–".to_owned());
        start.chain(figures).chain(own).chain([number(self.load_cores), trouble]).collect()
    }

    fn wrong(&self) -> Option<String> {
        self.system.repl_nodes()?;
        self.trouble().map(|trouble| format!("{}, {} publishers: {trouble}", self.system.name(), self.publishers))
    }

    fn plots(rows: &[&Self]) -> Vec<Plot> {
        let by = |y: fn(&Self) -> f64| {
            let name = |row: &Self| match row.batch {
                1 => row.system.name().to_owned(),
                batch => format!("{}, batches of {batch}", row.system.name()),
            };
            lines(rows.iter().map(|row| (name(row), row.publishers as f64, y(row))))
        };
        vec![
            Plot::lines(
                "acks-per-cpu",
                "Durable publishes per second of server CPU",
                ("publishers, one request at a time each", "acks / CPU-s"),
                by(|row| row.acks_per_server_cpu_second),
            ),
            Plot::lines(
                "acks",
                "Durable publishes per second",
                ("publishers, one request at a time each", "acks / s"),
                by(|row| row.acks_per_second),
            ),
        ]
    }
}

impl Repeatable for Found {
    fn load(&self) -> String {
        format!("{} {} {}", self.system.name(), self.publishers, self.batch)
    }

    fn figure(&self) -> f64 {
        self.acks_per_server_cpu_second
    }
}

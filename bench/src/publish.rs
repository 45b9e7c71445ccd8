//! `publish`: how many messages a second are acknowledged, which means durable, and what one costs.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::sleep;

use crate::cluster::{Cluster, Setup};
use crate::counts::{Interval, Snapshot, ratio, real};
use crate::latency::Summary;
use crate::message::{Clock, Values};
use crate::progress::say;
use crate::publishers::{Load, Publishers, Tally};
use crate::report::{Report, Row, latency, number};

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip)]
    pub(crate) setup: Setup,
    /// One cluster for each of these sizes, and in it one row for each number of publishers.
    pub(crate) nodes: Vec<usize>,
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
    nodes: usize,
    publishers: usize,
    acks_per_second: f64,
    /// From request to answer.
    ack: Summary,
    /// CPU seconds a second, of all nodes.
    server_cores: f64,
    acks_per_server_cpu_second: f64,
    /// Of one node: each node has every message, and fsyncs for itself.
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
    #[serde(flatten)]
    written: Written,
}

/// What the nodes say that the load came to, from beginning to end.
#[derive(Clone, Copy, Debug, Serialize)]
struct Written {
    /// Messages.
    stored: u64,
    /// Entries of their logs, of all nodes together.
    entries: f64,
}

/// Measures all of it.
pub(crate) async fn run(options: &Options) -> Result<Report<Options, Found>> {
    let mut report = Report::begin("publish", &options.setup, options.clone())?;
    for (number, nodes) in options.nodes.iter().enumerate() {
        let cluster = Cluster::start(&options.setup, *nodes, &[]).await?;
        report.version(cluster.version());
        for publishers in &options.publishers {
            let name = format!("bench-{number}-{publishers}");
            let found = measure(options, &cluster, *publishers, &name).await;
            report.add(found.with_context(|| format!("{publishers} publishers on {nodes} nodes"))?);
        }
    }
    Ok(report)
}

async fn measure(options: &Options, cluster: &Cluster, publishers: usize, name: &str) -> Result<Found> {
    let topics: Vec<String> = (0..options.topics).map(|topic| format!("{name}:{topic}")).collect();
    for topic in &topics {
        cluster.create_topic(topic).await?;
    }
    let nodes = if options.leader_only { vec![cluster.leader().await?] } else { cluster.addresses() };
    say(format_args!("{publishers} publishers, {} s", options.seconds));
    let begin = Snapshot::take(cluster).await?;
    let load = Publishers::start(Load {
        publishers,
        nodes,
        topics: topics.clone(),
        batch: options.batch,
        keys: options.keys,
        values: Values::new(options.value_bytes),
        clock: Clock::start(),
        window: None,
    })?;
    sleep(Duration::from_secs_f64(options.warm_up_seconds)).await;
    let (before, acknowledged_before) = (Snapshot::take(cluster).await?, load.acknowledged());
    load.measure(true);
    sleep(Duration::from_secs_f64(options.seconds)).await;
    load.measure(false);
    let acknowledged = load.acknowledged() - acknowledged_before;
    let interval = before.until(Snapshot::take(cluster).await?);
    let tally = load.stop().await?;
    let entries = begin.until(Snapshot::take(cluster).await?).grown("log_entries_total");
    let mut stored = 0;
    for topic in &topics {
        stored += cluster.topic(topic).await?.next_seq - 1;
    }
    Ok(Found::new(cluster.nodes().len(), publishers, acknowledged, &interval, &tally, Written { stored, entries }))
}

impl Found {
    fn new(
        nodes: usize,
        publishers: usize,
        acknowledged: u64,
        interval: &Interval,
        tally: &Tally,
        written: Written,
    ) -> Self {
        let (fsyncs, entries) = (interval.grown("log_fsyncs_total"), interval.grown("log_entries_total"));
        let messages_of_all_nodes = real(acknowledged) * real(nodes as u64);
        Self {
            nodes,
            publishers,
            acks_per_second: interval.per_second(acknowledged),
            ack: tally.latencies.summary(),
            server_cores: interval.server_cores(),
            acks_per_server_cpu_second: interval.per_server_cpu_second(acknowledged),
            messages_per_fsync: ratio(messages_of_all_nodes, fsyncs),
            entries_per_fsync: ratio(entries, fsyncs),
            messages_per_entry: ratio(messages_of_all_nodes, entries),
            fsync_ms: ratio(interval.grown("log_fsync_seconds_total") * 1_000.0, fsyncs),
            elections: interval.elections(nodes),
            load_cores: interval.load_cores(),
            acknowledged: tally.acknowledged,
            unknown: tally.unknown,
            refused: tally.refused,
            written,
        }
    }
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] = &[
        "nodes",
        "publishers",
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
    ];

    fn cells(&self) -> Vec<String> {
        let [p50, p99, max] = latency(&self.ack);
        let figures = [
            number(self.server_cores),
            number(self.acks_per_server_cpu_second),
            number(self.messages_per_fsync),
            number(self.entries_per_fsync),
            number(self.fsync_ms),
            number(self.elections),
            number(self.load_cores),
        ];
        let start = [self.nodes.to_string(), self.publishers.to_string(), number(self.acks_per_second), p50, p99, max];
        start.into_iter().chain(figures).collect()
    }

    fn wrong(&self) -> Option<String> {
        let Self { nodes, publishers, acknowledged, unknown, refused, written: Written { stored, .. }, .. } = *self;
        let exact = (acknowledged..=acknowledged + unknown).contains(&stored);
        (!exact || unknown + refused > 0).then(|| {
            format!(
                "{publishers} publishers on {nodes} nodes: {acknowledged} messages acknowledged, {stored} stored, \
                 {refused} refused, {unknown} not known"
            )
        })
    }
}

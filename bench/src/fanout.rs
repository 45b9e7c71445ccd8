//! `fanout`: how many messages a second reach the subscribers of one topic, and what one delivery costs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::sleep;

use crate::cluster::{Cluster, Setup};
use crate::counts::{Snapshot, ratio, real};
use crate::latency::Summary;
use crate::message::{Clock, Values};
use crate::progress::say;
use crate::publishers::{Load, Publishers};
use crate::report::{Report, Row, latency, ms, number};
use crate::sequence::Faults;
use crate::subscribers::{self, Subscribers};
use crate::window::Window;

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip)]
    pub(crate) setup: Setup,
    pub(crate) nodes: usize,
    /// One row for each of these, each with a topic of its own.
    pub(crate) subscribers: Vec<usize>,
    pub(crate) publishers: usize,
    /// Messages that were sent and have not reached the subscribers.
    pub(crate) in_flight: usize,
    /// Messages of a request.
    pub(crate) batch: usize,
    pub(crate) value_bytes: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
}

/// What one load came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    subscribers: usize,
    publishes_per_second: f64,
    deliveries_per_second: f64,
    /// CPU seconds a second, of all nodes.
    server_cores: f64,
    deliveries_per_server_cpu_second: f64,
    /// Messages that the nodes' counters say were handed to one subscriber at once.
    frames_per_batch: f64,
    /// Messages that a subscriber found in one read.
    frames_per_read: f64,
    bytes_per_delivery: f64,
    /// From before the request to the event.
    delivery: Summary,
    /// From request to answer.
    ack: Summary,
    elections: f64,
    /// CPU seconds a second, of the load.
    load_cores: f64,
    /// From beginning to end, not only while measuring.
    published: u64,
    refused: u64,
    unknown: u64,
    faults: Faults,
}

/// Measures all of it.
pub(crate) async fn run(options: &Options) -> Result<Report<Options, Found>> {
    let mut report = Report::begin("fanout", &options.setup, options.clone())?;
    let most = options.subscribers.iter().max().copied().unwrap_or(0) + options.publishers + 100;
    let cluster = Cluster::start(&options.setup, options.nodes, &["--max-connections", &most.to_string()]).await?;
    report.version(cluster.version());
    for subscribers in &options.subscribers {
        let found = measure(options, &cluster, *subscribers).await;
        report.add(found.with_context(|| format!("{subscribers} subscribers"))?);
    }
    Ok(report)
}

async fn measure(options: &Options, cluster: &Cluster, count: usize) -> Result<Found> {
    let topic = format!("bench-{count}");
    cluster.create_topic(&topic).await?;
    let (values, clock) = (Values::new(options.value_bytes), Clock::start());
    let window = Arc::new(Window::new(options.in_flight, u64::try_from(count)?));
    let streams = subscribers::open(&cluster.addresses(), &format!("/topics/{topic}/sse"), count).await?;
    let readers = Subscribers::start(streams, values.clone(), clock, Arc::clone(&window));
    say(format_args!("{count} subscribers, {} publishers, {} s", options.publishers, options.seconds));
    let load = Publishers::start(Load {
        publishers: options.publishers,
        nodes: cluster.addresses(),
        topics: vec![topic.clone()],
        batch: options.batch,
        keys: false,
        values,
        clock,
        window: Some(Arc::clone(&window)),
    })?;
    sleep(Duration::from_secs_f64(options.warm_up_seconds)).await;
    let progress = || (load.acknowledged(), window.deliveries(), readers.reads());
    let (before, (published, delivered, reads)) = (Snapshot::take(cluster).await?, progress());
    readers.measure(true);
    load.measure(true);
    sleep(Duration::from_secs_f64(options.seconds)).await;
    readers.measure(false);
    load.measure(false);
    let (published_after, delivered_after, reads_after) = progress();
    let interval = before.until(Snapshot::take(cluster).await?);
    let (published, delivered) = (published_after - published, delivered_after - delivered);

    let tally = load.stop().await?;
    let delivery = readers.latencies();
    let stored = cluster.topic(&topic).await?.next_seq - 1;
    Ok(Found {
        subscribers: count,
        publishes_per_second: interval.per_second(published),
        deliveries_per_second: interval.per_second(delivered),
        server_cores: interval.server_cores(),
        deliveries_per_server_cpu_second: interval.per_server_cpu_second(delivered),
        frames_per_batch: ratio(interval.grown("fanout_frames_total"), interval.grown("fanout_batches_total")),
        frames_per_read: ratio(real(delivered), real(reads_after - reads)),
        bytes_per_delivery: ratio(
            interval.grown("messages_delivered_bytes_total"),
            interval.grown("messages_delivered_total"),
        ),
        delivery,
        ack: tally.latencies.summary(),
        elections: interval.elections(options.nodes),
        load_cores: interval.load_cores(),
        published: stored,
        refused: tally.refused,
        unknown: tally.unknown,
        faults: readers.finish(stored).await?,
    })
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] = &[
        "subscribers",
        "publishes/s",
        "deliveries/s",
        "server cores",
        "deliveries/CPU-s",
        "frames/batch",
        "frames/read",
        "B/delivery",
        "p50 ms",
        "p99 ms",
        "max ms",
        "ack p50 ms",
        "elections",
        "load cores",
    ];

    fn cells(&self) -> Vec<String> {
        let figures = [
            self.publishes_per_second,
            self.deliveries_per_second,
            self.server_cores,
            self.deliveries_per_server_cpu_second,
            self.frames_per_batch,
            self.frames_per_read,
            self.bytes_per_delivery,
        ];
        let start = [self.subscribers.to_string()].into_iter().chain(figures.map(number));
        start
            .chain(latency(&self.delivery))
            .chain([ms(self.ack.p50_us)])
            .chain([self.elections, self.load_cores].map(number))
            .collect()
    }

    fn wrong(&self) -> Option<String> {
        let Self { subscribers, published, refused, unknown, faults, .. } = self;
        let Faults { missing, repeated, out_of_order, damaged } = faults;
        let right = *faults == Faults::default() && refused + unknown == 0;
        (!right).then(|| {
            format!(
                "{subscribers} subscribers of {published} messages: {missing} missing, {repeated} repeated, \
                 {out_of_order} out of order, {damaged} damaged; {refused} publishes refused, {unknown} not known"
            )
        })
    }
}

//! `latency`: how long a message takes at a rate that leaves the servers time, and what a delivery costs when there is
//! nothing to coalesce. An open loop: latencies are counted from when a message should have been sent.

use anyhow::Result;
use serde::Serialize;

use super::fan::{self, Drive, Shape};
use super::measure_each;
use crate::report::plot::Plot;
use crate::report::{self, Repeatable, Report, Row, latency, ms, number};
use crate::systems::{Lineup, Running};

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip)]
    pub(crate) lineup: Lineup,
    pub(crate) subscribers: Vec<usize>,
    pub(crate) publishers: usize,
    /// Messages a second, of all publishers together.
    pub(crate) rate: f64,
    pub(crate) value_bytes: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
}

/// One of them, as a paced load is looked at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found(pub(crate) fan::Found);

/// Measures all of it.
pub(crate) async fn run(options: &Options) -> Result<Report<Options, Found>> {
    let mut report = Report::begin("latency", &options.lineup.setup, options.clone())?;
    for subscribers in &options.subscribers {
        let connections = subscribers + options.publishers;
        let load = format!("{subscribers} subscribers, {} messages a second", options.rate);
        let measure = async |running: &Running| fan::measure(running, options.shape(*subscribers)).await.map(Found);
        measure_each(&mut report, &options.lineup, connections, &load, measure).await?;
    }
    Ok(report)
}

impl Options {
    fn shape(&self, subscribers: usize) -> Shape {
        Shape {
            subscribers,
            publishers: self.publishers,
            drive: Drive::Rate(self.rate),
            batch: 1,
            value_bytes: self.value_bytes,
            seconds: self.seconds,
            warm_up_seconds: self.warm_up_seconds,
        }
    }
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] = &[
        "system",
        "subscribers",
        "publishes/s",
        "CPU µs/delivery",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms",
        "ack p50 ms",
        "ack p99 ms",
        "server cores",
        "load cores",
        "trouble",
    ];

    fn cells(&self) -> Vec<String> {
        let Self(found) = self;
        let [p50, p99, max] = latency(&found.delivery);
        let start = [found.system.name().to_owned(), report::count(found.subscribers)];
        let figures = [number(found.publishes_per_second), number(found.server_us_per_delivery)];
        let latencies = [p50, ms(found.delivery.p90_us), p99, max, ms(found.ack.p50_us), ms(found.ack.p99_us)];
        let end = [number(found.server_cores), number(found.load_cores), found.trouble()];
        start.into_iter().chain(figures).chain(latencies).chain(end).collect()
    }

    fn wrong(&self) -> Option<String> {
        self.0.wrong()
    }

    fn plots(rows: &[&Self]) -> Vec<Plot> {
        // Bars are one for each system: of the most subscribers.
        let most = rows.iter().map(|Self(row)| row.subscribers).max().unwrap_or(0);
        let rows: Vec<_> = rows.iter().map(|Self(row)| row).filter(|row| row.subscribers == most).collect();
        let bars = |y: fn(&fan::Found) -> f64| rows.iter().map(|row| (row.system.name().to_owned(), y(row))).collect();
        vec![
            Plot::bars(
                "paced-cpu",
                &format!("Server CPU of one delivery, {most} subscribers, nothing to coalesce"),
                "µs / delivery",
                bars(|row| row.server_us_per_delivery),
            ),
            Plot::bars(
                "paced-latency",
                &format!("Publish to delivery, 99th percentile, {most} subscribers"),
                "ms",
                bars(|row| row.delivery.p99_us as f64 / 1_000.0),
            ),
        ]
    }
}

impl Repeatable for Found {
    fn load(&self) -> String {
        format!("{} {}", self.0.system.name(), self.0.subscribers)
    }

    fn figure(&self) -> f64 {
        self.0.server_us_per_delivery
    }
}

//! `fanout`: how many messages a second reach the subscribers of one topic, and what one delivery costs.

use anyhow::Result;
use serde::Serialize;

use super::fan::{self, Drive, Shape};
use super::measure_each;
use crate::report::plot::{Plot, lines};
use crate::report::{self, Repeatable, Report, Row, latency, ms, number, of_repl};
use crate::systems::{Lineup, Running};

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip)]
    pub(crate) lineup: Lineup,
    /// One row for each of these and each system, each with servers of its own.
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

/// One of them, as a saturated load is looked at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found(pub(crate) fan::Found);

/// Measures all of it.
pub(crate) async fn run(options: &Options) -> Result<Report<Options, Found>> {
    let mut report = Report::begin("fanout", &options.lineup.setup, options.clone())?;
    // By number first, so that what is compared was measured close together.
    for subscribers in &options.subscribers {
        let connections = subscribers + options.publishers;
        let load = format!("{subscribers} subscribers");
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
            drive: Drive::InFlight(self.in_flight),
            batch: self.batch,
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
        "deliveries/s",
        "server cores",
        "publishes/CPU-s",
        "deliveries/CPU-s",
        "frames/read",
        "frames/batch",
        "B/delivery",
        "p50 ms",
        "p99 ms",
        "max ms",
        "ack p50 ms",
        "orders",
        "elections",
        "load cores",
        "trouble",
    ];

    fn cells(&self) -> Vec<String> {
        let Self(found) = self;
        let start = [found.system.name().to_owned(), report::count(found.subscribers)];
        let figures = [
            found.publishes_per_second,
            found.deliveries_per_second,
            found.server_cores,
            found.publishes_per_server_cpu_second,
            found.deliveries_per_server_cpu_second,
            found.frames_per_read,
        ];
        let own = [found.frames_per_batch, found.bytes_per_delivery].map(|figure| of_repl(found.system, figure));
        let start = start.into_iter().chain(figures.map(number)).chain(own).chain(latency(&found.delivery));
        let end = [
            ms(found.ack.p50_us),
            report::count(found.orders),
            of_repl(found.system, found.elections),
            number(found.load_cores),
        ];
        start.chain(end).chain([found.trouble()]).collect()
    }

    fn wrong(&self) -> Option<String> {
        self.0.wrong()
    }

    fn plots(rows: &[&Self]) -> Vec<Plot> {
        let by = |y: fn(&fan::Found) -> f64| {
            lines(rows.iter().map(|Self(row)| (row.system.name(), row.subscribers as f64, y(row))))
        };
        vec![
            Plot::lines(
                "deliveries",
                "Deliveries per second of server CPU",
                ("subscribers of one topic", "deliveries / CPU-s"),
                by(|row| row.deliveries_per_server_cpu_second),
            ),
            Plot::lines(
                "publishes",
                "Publishes per second",
                ("subscribers of one topic", "publishes / s"),
                by(|row| row.publishes_per_second),
            ),
        ]
    }
}

impl Repeatable for Found {
    fn load(&self) -> String {
        format!("{} {}", self.0.system.name(), self.0.subscribers)
    }

    fn figure(&self) -> f64 {
        self.0.deliveries_per_server_cpu_second
    }
}

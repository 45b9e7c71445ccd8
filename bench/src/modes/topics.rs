//! `topics`: whether what a publish and a delivery cost depends on how much there is already: topics, messages of a
//! topic, idempotency keys that are remembered.

use anyhow::{Context, Result};
use serde::Serialize;

use super::fan::{self, Drive, Shape};
use super::{measure_each, pass};
use crate::load::message::{Clock, Values};
use crate::load::pace::Pace;
use crate::load::publishers::{Load, Publishers};
use crate::meter::counts::{Snapshot, real};
use crate::report::plot::{Plot, lines};
use crate::report::{self, Repeatable, Report, Row, number};
use crate::systems::{Lineup, Running, System};

/// Of the batches that make what there is already.
const BATCH: usize = 500;

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip)]
    pub(crate) lineup: Lineup,
    /// One row for each of these, in which publishers go through all topics in turn.
    pub(crate) topics: Vec<usize>,
    /// One row for each of these, in which a topic keeps so many messages.
    pub(crate) history: Vec<usize>,
    /// One row for each of these, in which so many keys are remembered.
    pub(crate) keys: Vec<usize>,
    pub(crate) publishers: usize,
    /// Of the first topic, for the cost of a delivery.
    pub(crate) subscribers: usize,
    pub(crate) in_flight: usize,
    pub(crate) value_bytes: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
}

/// What there is much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Growing {
    Topics,
    History,
    Keys,
}

/// What publishes and deliveries cost with so much of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    system: System,
    pub(crate) growing: Growing,
    pub(crate) count: usize,
    publishes_per_second: f64,
    pub(crate) server_us_per_publish: f64,
    /// With subscribers, whose part it is then. Not for keys.
    pub(crate) server_us_per_delivery: Option<f64>,
    pss_mib: f64,
    refused: u64,
    unknown: u64,
    wrong: Option<String>,
}

/// Measures all of it.
pub(crate) async fn run(options: &Options) -> Result<Report<Options, Found>> {
    let mut report = Report::begin("topics", &options.lineup.setup, options.clone())?;
    let each = |growing: Growing, counts: &[usize]| counts.iter().map(|count| (growing, *count)).collect::<Vec<_>>();
    let cases = [
        each(Growing::Topics, &options.topics),
        each(Growing::History, &options.history),
        each(Growing::Keys, &options.keys),
    ];
    for (growing, count) in cases.concat() {
        let connections = options.publishers + options.subscribers;
        let load = format!("{count} {}", growing.name());
        let measure = async |running: &Running| measure(options, running, growing, count).await;
        measure_each(&mut report, &options.lineup, connections, &load, measure).await?;
    }
    Ok(report)
}

async fn measure(options: &Options, running: &Running, growing: Growing, count: usize) -> Result<Found> {
    let cluster = running.cluster.as_ref().context("only repl tells what grows")?;
    let inlet = cluster.inlet("many");
    match growing {
        Growing::Topics => cluster.create_topics("many", count).await?,
        Growing::History => cluster.keep("many:0", count).await?,
        Growing::Keys => cluster.create_topics("many", 1).await?,
    }
    let load = Load {
        inlet,
        publishers: options.publishers,
        topics: if growing == Growing::Topics { count } else { 1 },
        batch: 1,
        keys: (growing == Growing::Keys).then(|| "key".to_owned()),
        values: Values::new(options.value_bytes),
        clock: Clock::start(),
        pace: Pace::Answers,
    };
    if growing != Growing::Topics {
        fill(&load, count).await?;
    }
    let load = Publishers::start(load)?;
    pass(options.warm_up_seconds).await;
    let (before, acknowledged) = (Snapshot::take(running).await?, load.acknowledged());
    pass(options.seconds).await;
    let published = load.acknowledged() - acknowledged;
    let interval = before.until(Snapshot::take(running).await?);
    let tally = load.stop().await?;

    let shape = Shape {
        subscribers: options.subscribers,
        publishers: options.publishers,
        drive: Drive::InFlight(options.in_flight),
        batch: 1,
        value_bytes: options.value_bytes,
        seconds: options.seconds,
        warm_up_seconds: options.warm_up_seconds,
    };
    let fan = if growing == Growing::Topics { Some(fan::measure(running, shape).await?) } else { None };
    Ok(Found {
        system: running.system,
        growing,
        count,
        publishes_per_second: interval.per_second(published),
        server_us_per_publish: interval.server_us_per(published),
        server_us_per_delivery: fan.as_ref().map(|fan| fan.server_us_per_delivery),
        pss_mib: real(running.memory()?.pss_kib) / 1024.0,
        refused: tally.refused,
        unknown: tally.unknown,
        wrong: fan.and_then(|fan| fan.wrong()),
    })
}

/// Publishes so many messages in batches, with keys of their own if there are keys.
async fn fill(load: &Load, count: usize) -> Result<()> {
    let filling = Load { keys: load.keys.as_ref().map(|_| "old".to_owned()), batch: BATCH.min(count), ..load.clone() };
    let filling = Publishers::start(Load { publishers: 4, ..filling })?;
    while filling.acknowledged() < count as u64 {
        pass(0.01).await;
    }
    filling.stop().await.map(drop)
}

impl Growing {
    fn name(self) -> &'static str {
        match self {
            Self::Topics => "topics",
            Self::History => "messages of a topic",
            Self::Keys => "keys",
        }
    }
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] =
        &["system", "with", "of", "publishes/s", "CPU µs/publish", "CPU µs/delivery", "PSS MiB"];

    fn cells(&self) -> Vec<String> {
        let delivery = self.server_us_per_delivery.map_or_else(|| "–".to_owned(), number);
        vec![
            self.system.name().to_owned(),
            report::count(self.count),
            self.growing.name().to_owned(),
            number(self.publishes_per_second),
            number(self.server_us_per_publish),
            delivery,
            number(self.pss_mib),
        ]
    }

    fn wrong(&self) -> Option<String> {
        let failed = self.refused + self.unknown;
        let refused = (failed > 0).then(|| format!("{failed} publishes with {} {}", self.count, self.growing.name()));
        refused.or_else(|| self.wrong.clone())
    }

    fn plots(rows: &[&Self]) -> Vec<Plot> {
        let points = lines(rows.iter().map(|row| (row.growing.name(), row.count as f64, row.server_us_per_publish)));
        let axes = ("how many there are", "µs / publish");
        vec![Plot::lines("growth", "Server CPU of one publish, as there is more of everything", axes, points)]
    }
}

impl Repeatable for Found {
    fn load(&self) -> String {
        format!("{} {} {}", self.system.name(), self.count, self.growing.name())
    }

    fn figure(&self) -> f64 {
        self.server_us_per_publish
    }
}

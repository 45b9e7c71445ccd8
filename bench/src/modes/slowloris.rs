//! `slowloris`: what publishers notice of thousands of clients that only take up room, and how soon those are gone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::sleep;

use super::{measure_each, pass};
use crate::load::attackers::Attackers;
use crate::load::message::{Clock, Values};
use crate::load::pace::Pace;
use crate::load::publishers::{Load, Publishers};
use crate::meter::counts::{Snapshot, real};
use crate::meter::histogram::Summary;
use crate::report::plot::Plot;
use crate::report::{self, Report, Row, ms, number};
use crate::systems::{Lineup, Running, System};
use crate::wire::Outlet;

/// Between two looks at the server.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// For all attackers to be gone.
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip)]
    pub(crate) lineup: Lineup,
    /// Heads of requests that trickle in.
    pub(crate) heads: usize,
    /// Streams that nobody reads.
    pub(crate) streams: usize,
    pub(crate) publishers: usize,
    /// Messages a second, of all publishers together.
    pub(crate) rate: f64,
    pub(crate) value_bytes: usize,
    pub(crate) seconds: f64,
}

/// What it came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) system: System,
    calm: Summary,
    attacked: Summary,
    memory_kib_before: u64,
    memory_kib_max: u64,
    /// From when all were there.
    heads_gone_seconds: f64,
    all_gone_seconds: f64,
    server_cores: f64,
    load_cores: f64,
    failed: u64,
}

/// Measures it.
pub(crate) async fn run(options: &Options) -> Result<Report<Options, Found>> {
    let mut report = Report::begin("slowloris", &options.lineup.setup, options.clone())?;
    let Options { heads, streams, publishers, .. } = options;
    let load = format!("{heads} heads, {streams} streams");
    let measure = async |running: &Running| measure(running, options).await;
    measure_each(&mut report, &options.lineup, heads + streams + publishers, &load, measure).await?;
    Ok(report)
}

async fn measure(running: &Running, options: &Options) -> Result<Found> {
    let publishers = || {
        Publishers::start(Load {
            inlet: running.inlet.clone(),
            publishers: options.publishers,
            topics: 1,
            batch: 1,
            keys: None,
            values: Values::new(options.value_bytes),
            clock: Clock::start(),
            pace: Pace::Rate(options.rate),
        })
    };
    let calm = publishers()?;
    pass(1.0).await;
    calm.measure(true);
    pass(options.seconds).await;
    let calm = calm.stop().await?;
    let Outlet::Sse { servers, path, .. } = running.outlet()? else { unreachable!("repl speaks SSE") };
    let server = *servers.first().context("no server")?;
    let memory_kib_before = running.memory()?.rss_kib;

    let load = publishers()?;
    let attackers = Attackers::start(server, options.heads, options.streams, path).await?;
    let all_there = Instant::now();
    let begin = Snapshot::take(running).await?;
    load.measure(true);
    let (mut memory_kib_max, mut heads_gone, mut end) = (0, None, None);
    let (all_gone, end) = loop {
        sleep(LOOK_EVERY).await;
        memory_kib_max = memory_kib_max.max(running.memory()?.rss_kib);
        let elapsed = all_there.elapsed();
        if attackers.trickling() == 0 {
            heads_gone.get_or_insert(elapsed);
        }
        if end.is_none() && elapsed.as_secs_f64() >= options.seconds {
            load.measure(false);
            end = Some(Snapshot::take(running).await?);
        }
        let streams = running.counters().await?.get("http_streams");
        match end.take() {
            Some(end) if heads_gone.is_some() && streams < 1.0 => break (elapsed, end),
            unfinished => end = unfinished,
        }
        ensure!(elapsed < GIVE_UP_AFTER, "attackers are still there after {} s", GIVE_UP_AFTER.as_secs());
    };
    let interval = begin.until(end);
    let tally = load.stop().await?;
    Ok(Found {
        system: running.system,
        calm: calm.latencies.summary(),
        attacked: tally.latencies.summary(),
        memory_kib_before,
        memory_kib_max,
        heads_gone_seconds: heads_gone.unwrap_or(all_gone).as_secs_f64(),
        all_gone_seconds: all_gone.as_secs_f64(),
        server_cores: interval.server_cores(),
        load_cores: interval.load_cores(),
        failed: calm.refused + calm.unknown + tally.refused + tally.unknown,
    })
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] = &[
        "system",
        "calm p50 ms",
        "calm p99 ms",
        "attacked p50 ms",
        "attacked p99 ms",
        "memory + MiB",
        "heads gone after s",
        "all gone after s",
        "server cores",
        "load cores",
        "failed",
    ];

    fn cells(&self) -> Vec<String> {
        let Self { calm, attacked, .. } = self;
        let start = [self.system.name().to_owned()];
        let latencies = [calm.p50_us, calm.p99_us, attacked.p50_us, attacked.p99_us].map(ms);
        let grown = real(self.memory_kib_max) - real(self.memory_kib_before);
        let figures =
            [grown / 1024.0, self.heads_gone_seconds, self.all_gone_seconds, self.server_cores, self.load_cores];
        let end = [report::count(usize::try_from(self.failed).unwrap_or(usize::MAX))];
        start.into_iter().chain(latencies).chain(figures.map(number)).chain(end).collect()
    }

    fn wrong(&self) -> Option<String> {
        (self.failed > 0).then(|| format!("{} publishes failed under attack", self.failed))
    }

    fn plots(_: &[&Self]) -> Vec<Plot> {
        Vec::new()
    }
}

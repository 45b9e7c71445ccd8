//! `resume`: a reconnect storm. Subscribers come back all at once, each some messages behind, while others publish.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{measure_each, pass};
use crate::load::message::{Clock, Tag, Values};
use crate::load::pace::Pace;
use crate::load::publishers::{Load, Publishers};
use crate::load::sequence::{Faults, Sequences};
use crate::load::subscribers::{ensure_descriptors, source};
use crate::meter::counts::{Snapshot, real};
use crate::meter::histogram::{Latencies, Summary};
use crate::report::{self, Repeatable, Report, Row, ms, number};
use crate::systems::{Lineup, Running, System};
use crate::wire::{Draft, Event, Outlet, Stream};

/// For all of them to be served.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A stream that is closed before it is live is opened again after this long, and so often.
const PAUSE_SECONDS: f64 = 0.1;
const AGAIN_MAX: u64 = 100;

/// Connections that publish meanwhile.
const PUBLISHERS: usize = 16;

/// Of the batches that make history.
const BATCH: usize = 500;

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip)]
    pub(crate) lineup: Lineup,
    pub(crate) subscribers: Vec<usize>,
    /// Messages that each of them has missed.
    pub(crate) behind: usize,
    /// Messages a second that are published to another topic meanwhile.
    pub(crate) rate: f64,
    pub(crate) value_bytes: usize,
    /// How long publishers are watched before, while nobody comes.
    pub(crate) seconds: f64,
}

/// What one storm came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    system: System,
    pub(crate) subscribers: usize,
    /// From the first connect until the last one was told that what follows is live.
    pub(crate) caught_up_seconds: f64,
    /// From the connect of each until it was.
    each: Summary,
    messages_per_second: f64,
    server_us_per_message: f64,
    server_cores: f64,
    load_cores: f64,
    /// From when a message should have been sent to its answer, with nobody else there.
    pub(crate) calm_ack: Summary,
    /// The same, during the storm.
    pub(crate) ack: Summary,
    faults: Faults,
    /// Streams that were closed before they were live, and opened again.
    again: u64,
    refused: u64,
    unknown: u64,
}

/// Measures all of it.
pub(crate) async fn run(options: &Options) -> Result<Report<Options, Found>> {
    let mut report = Report::begin("resume", &options.lineup.setup, options.clone())?;
    for subscribers in &options.subscribers {
        ensure_descriptors(*subscribers)?;
        let load = format!("{subscribers} subscribers");
        let measure = async |running: &Running| measure(options, running, *subscribers).await;
        measure_each(&mut report, &options.lineup, subscribers + PUBLISHERS, &load, measure).await?;
    }
    Ok(report)
}

async fn measure(options: &Options, running: &Running, count: usize) -> Result<Found> {
    let cluster = running.cluster.as_ref().context("only repl has cursors")?;
    cluster.keep("missed:0", options.behind + 1).await?;
    let values = Values::new(options.value_bytes);
    let mut history = cluster.inlet("missed").open(0).await?;
    // What everybody has read, and its cursor.
    history.publish(&Draft { values: vec!["null".to_owned()], ..Draft::default() }).await.stored()?;
    let cursor = cluster.last_cursor("missed:0").await?;
    for first in (0..options.behind).step_by(BATCH) {
        let mut draft = Draft::default();
        for number in first..(first + BATCH).min(options.behind) {
            let (mut value, number) = (String::new(), number as u64 + 1);
            values.write(Tag { publisher: 0, number }, 0, &mut value);
            draft.values.push(value);
        }
        history.publish(&draft).await.stored()?;
    }

    let calm = publish(options, running).await?;
    pass(options.seconds).await;
    let calm = calm.stop().await?;

    let storm = publish(options, running).await?;
    let before = Snapshot::take(running).await?;
    let began = Instant::now();
    let outlet = cluster.outlet("missed");
    let mut streams = JoinSet::new();
    for number in 0..count {
        streams.spawn(come_back(outlet.clone(), number, cursor.clone(), values.clone(), options.behind));
    }
    let (mut each, mut faults, mut again) = (Latencies::new(), Faults::default(), 0);
    // They stay, as they would.
    let mut open = Vec::with_capacity(count);
    let all = async {
        while let Some(stream) = streams.join_next().await {
            let found = stream.context("a reader panicked")??;
            each.record(u64::try_from(found.took.as_micros())?);
            faults += found.faults;
            again += found.again;
            open.push(found.stream);
        }
        anyhow::Ok(())
    };
    timeout(TIMEOUT, all).await.with_context(|| format!("not caught up after {} s", TIMEOUT.as_secs()))??;
    let took = began.elapsed();
    let interval = before.until(Snapshot::take(running).await?);
    let storm = storm.stop().await?;
    ensure!(open.len() == count, "only {} streams are open", open.len());

    let messages = u64::try_from(count * options.behind)?;
    Ok(Found {
        system: running.system,
        subscribers: count,
        caught_up_seconds: took.as_secs_f64(),
        each: each.summary(),
        messages_per_second: real(messages) / took.as_secs_f64(),
        server_us_per_message: interval.server_us_per(messages),
        server_cores: interval.server_cores(),
        load_cores: interval.load_cores(),
        calm_ack: calm.latencies.summary(),
        ack: storm.latencies.summary(),
        faults,
        again,
        refused: calm.refused + storm.refused,
        unknown: calm.unknown + storm.unknown,
    })
}

/// Publishes to a topic that nobody reads, and notes how long that takes once all publishers are connected.
async fn publish(options: &Options, running: &Running) -> Result<Publishers> {
    let load = Publishers::start(Load {
        inlet: running.inlet.clone(),
        publishers: PUBLISHERS,
        topics: 1,
        batch: 1,
        keys: None,
        values: Values::new(options.value_bytes),
        clock: Clock::start(),
        pace: Pace::Rate(options.rate),
    })?;
    while load.acknowledged() < 2 * PUBLISHERS as u64 {
        pass(0.01).await;
    }
    load.measure(true);
    Ok(load)
}

/// What one of them saw.
struct Return {
    stream: Stream,
    took: Duration,
    faults: Faults,
    /// How often it had to connect again, as an `EventSource` does by itself.
    again: u64,
}

/// Connects, and reads all that was missed.
async fn come_back(outlet: Outlet, number: usize, cursor: String, values: Values, behind: usize) -> Result<Return> {
    let began = Instant::now();
    let (mut sequences, mut last, mut again) = (Sequences::new(1), cursor, 0);
    loop {
        let mut stream = outlet.after(&last).open(source(number)?, number).await?;
        let read = stream.until_live(|event| {
            let Event::Message(lines) = event else { return };
            match values.tag(lines) {
                Some(tag) => sequences.see(tag),
                None => sequences.damaged(),
            }
            if let Some(id) = id(lines) {
                id.clone_into(&mut last);
            }
        });
        match read.await {
            Ok(()) => {
                return Ok(Return { stream, took: began.elapsed(), faults: sequences.faults(&[behind as u64]), again });
            }
            Err(error) if again == AGAIN_MAX => return Err(error.context("it was turned away too often")),
            Err(_) => again += 1,
        }
        pass(PAUSE_SECONDS).await;
    }
}

/// The id of an event.
fn id(lines: &[u8]) -> Option<&str> {
    let lines = lines.split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.strip_prefix(b"id: ")).find_map(|id| str::from_utf8(id).ok())
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] = &[
        "system",
        "subscribers",
        "caught up s",
        "p50 s",
        "messages/s",
        "CPU µs/message",
        "calm ack p50 ms",
        "calm ack p99 ms",
        "ack p50 ms",
        "ack p99 ms",
        "connects again",
        "server cores",
        "load cores",
    ];

    fn cells(&self) -> Vec<String> {
        let start = [self.system.name().to_owned(), report::count(self.subscribers)];
        let figures = [
            self.caught_up_seconds,
            real(self.each.p50_us) / 1e6,
            self.messages_per_second,
            self.server_us_per_message,
        ];
        let latencies = [self.calm_ack.p50_us, self.calm_ack.p99_us, self.ack.p50_us, self.ack.p99_us];
        let end = [self.again.to_string(), number(self.server_cores), number(self.load_cores)];
        start.into_iter().chain(figures.map(number)).chain(latencies.map(ms)).chain(end).collect()
    }

    fn wrong(&self) -> Option<String> {
        let right = self.faults == Faults::default() && self.refused + self.unknown == 0;
        (!right).then(|| {
            let Faults { missing, repeated, out_of_order, damaged } = self.faults;
            format!(
                "{} subscribers: {missing} missing, {repeated} repeated, {out_of_order} out of order, {damaged} damaged; \
                 {} publishes refused, {} not known",
                self.subscribers, self.refused, self.unknown
            )
        })
    }
}

impl Repeatable for Found {
    fn load(&self) -> String {
        format!("{} {}", self.system.name(), self.subscribers)
    }

    fn figure(&self) -> f64 {
        self.caught_up_seconds
    }
}

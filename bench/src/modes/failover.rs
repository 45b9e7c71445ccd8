//! `failover`: how long nothing is acknowledged after the leader was killed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::load::message::{Tag, Values};
use crate::meter::counts::real;
use crate::meter::histogram::{Latencies, Summary};
use crate::progress::say;
use crate::report::plot::Plot;
use crate::report::{self, Report, Row, latency, ms};
use crate::systems::{Setup, System};
use crate::wire::{Draft, Inlet};

/// Between two publishes that try to be the first. Each is on a connection of its own.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// Of each node: those of the tries of one round.
const CONNECTIONS_MAX: usize = 5_000;

/// For the first of them to be acknowledged.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip)]
    pub(crate) setup: Setup,
    /// Leaders that are killed.
    pub(crate) rounds: usize,
    pub(crate) value_bytes: usize,
}

/// What all rounds together came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    system: System,
    pub(crate) rounds: usize,
    /// From the kill to the first acknowledgement of a message that was sent after it.
    pub(crate) down: Summary,
    rounds_us: Vec<u64>,
    /// Messages.
    sent: u64,
    acknowledged: u64,
    stored: u64,
}

/// Measures all of it.
pub(crate) async fn run(options: &Options) -> Result<Report<Options, Found>> {
    let mut report = Report::begin("failover", &options.setup, options.clone())?;
    let mut running = System::Repl3.start(&options.setup, CONNECTIONS_MAX).await?;
    report.version(&running);
    let cluster = running.cluster.as_mut().context("repl is a cluster")?;
    let values = Values::new(options.value_bytes);
    let (mut down, mut rounds_us, mut sent, mut acknowledged) = (Latencies::new(), Vec::new(), 0, 0);
    for round in 0..options.rounds {
        let leader = cluster.leader().await?;
        cluster.kill(leader);
        let killed = Instant::now();
        let inlet = cluster.inlet("bench");
        let tried = publish_until_acknowledged(&inlet, round, &values);
        let (tries, at) = timeout(TIMEOUT, tried).await.context("nothing is acknowledged any more")??;
        let us = u64::try_from((at - killed).as_micros())?;
        say(format_args!("failover: round {} of {}, {} ms", round + 1, options.rounds, us / 1_000));
        down.record(us);
        rounds_us.push(us);
        sent += tries;
        acknowledged += 1;
        cluster.restart(leader).await?;
        cluster.wait_until_complete().await?;
    }
    let (rounds, down, stored) = (options.rounds, down.summary(), cluster.stored("bench", 1).await?);
    report
        .add(System::Repl3, Ok(Found { system: System::Repl3, rounds, down, rounds_us, sent, acknowledged, stored }))?;
    Ok(report)
}

/// Publishes at those that live, again and again, without waiting for answers. Tells how often, and when the first was
/// acknowledged.
async fn publish_until_acknowledged(inlet: &Inlet, round: usize, values: &Values) -> Result<(u64, Instant)> {
    let (mut tries, mut next_try) = (JoinSet::new(), interval(TRY_EVERY));
    let mut number = 0;
    loop {
        tokio::select! {
            _ = next_try.tick() => {
                number += 1;
                let mut value = String::new();
                values.write(Tag { publisher: round, number }, 0, &mut value);
                tries.spawn(publish(inlet.clone(), number, Draft {
                    topic: 0,
                    values: vec![value],
                    keys: vec![format!("{round}-{number}")],
                }));
            }
            Some(tried) = tries.join_next() => {
                if let Some(at) = tried.context("a publisher panicked")? {
                    return Ok((number, at));
                }
            }
        }
    }
}

/// When it was acknowledged, if it was.
async fn publish(inlet: Inlet, number: u64, draft: Draft) -> Option<Instant> {
    let mut publisher = inlet.open(usize::try_from(number).ok()?).await.ok()?;
    publisher.publish(&draft).await.stored().ok().map(|()| Instant::now())
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] = &["system", "rounds", "p50 ms", "p90 ms", "p99 ms", "max ms"];

    fn cells(&self) -> Vec<String> {
        let [p50, p99, max] = latency(&self.down);
        vec![self.system.name().to_owned(), report::count(self.rounds), p50, ms(self.down.p90_us), p99, max]
    }

    fn wrong(&self) -> Option<String> {
        let Self { sent, acknowledged, stored, .. } = self;
        let right = (acknowledged..=sent).contains(&stored);
        (!right).then(|| format!("{sent} messages sent, {acknowledged} acknowledged, {stored} stored"))
    }

    fn plots(rows: &[&Self]) -> Vec<Plot> {
        let rounds = rows.iter().flat_map(|row| &row.rounds_us).enumerate();
        let bars = rounds.map(|(round, us)| (format!("round {}", round + 1), real(*us) / 1_000.0)).collect();
        vec![Plot::bars("failover", "From the death of the leader to the first acknowledgement", "ms", bars)]
    }
}

//! `targets`: everything that there is a target for, in one run, and whether it was met.

mod judge;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use self::judge::Target;
use super::{failover, fanout, idle, latency, publish, resume, topics};
use crate::progress::say;
use crate::report::{Output, Repeatable, Report, page};
use crate::systems::{Lineup, System};

/// Of fan-outs: what browsers are sent.
const VALUE_BYTES: usize = 150;

/// Of durable publishes.
const DURABLE_VALUE_BYTES: usize = 200;

/// Of a saturated load.
const PUBLISHERS: usize = 32;
const IN_FLIGHT: usize = 256;

/// What to measure.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) lineup: Lineup,
    /// Of each load.
    pub(crate) seconds: f64,
    /// How often each load takes its turn, but those of the thesis. What is shown is the one in the middle.
    pub(crate) repeat: usize,
    /// Of each battery of the thesis.
    pub(crate) battery_seconds: f64,
    /// Leaders that are killed.
    pub(crate) rounds: usize,
    /// All other counts are divided by this, to see that it works. What becomes equal is measured once.
    pub(crate) divide: usize,
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Findings {
    saturated: Report<fanout::Options, fanout::Found>,
    narrow: Report<fanout::Options, fanout::Found>,
    wide: Report<fanout::Options, fanout::Found>,
    paced: Report<latency::Options, latency::Found>,
    idle: Report<idle::Options, idle::Found>,
    publish: Report<publish::Options, publish::Found>,
    batches: Report<publish::Options, publish::Found>,
    topics: Report<topics::Options, topics::Found>,
    resume: Report<resume::Options, resume::Found>,
    failover: Report<failover::Options, failover::Found>,
    batteries: Report<fanout::Options, fanout::Found>,
}

/// Measures all of it, prints the targets, and fills in the page.
pub(crate) async fn run(options: &Options, output: &Output) -> Result<()> {
    let findings = Findings::measure(options).await?;
    let targets = judge::targets(&findings, options);
    let text = if output.json {
        #[derive(Serialize)]
        struct All<'a> {
            targets: &'a [Target],
            findings: &'a Findings,
        }
        serde_json::to_string_pretty(&All { targets: &targets, findings: &findings })? + "\n"
    } else {
        format!("{}\n{}", findings.head(), Target::table(&targets).text())
    };
    io::stdout().write_all(text.as_bytes()).context("can't print the targets")?;
    if let Some(file) = &output.page {
        findings.write(file, &targets)?;
    }
    Ok(())
}

impl Findings {
    async fn measure(options: &Options) -> Result<Self> {
        let of = |count: usize| options.of(count);
        let each = |counts: &[usize]| {
            let mut counts: Vec<_> = counts.iter().map(|count| of(*count)).collect();
            counts.dedup();
            counts
        };
        let fan = |subscribers: &[usize]| fanout::Options {
            lineup: options.those(System::fans_out),
            subscribers: each(subscribers),
            publishers: PUBLISHERS,
            in_flight: IN_FLIGHT,
            batch: 1,
            value_bytes: VALUE_BYTES,
            seconds: options.seconds,
            warm_up_seconds: options.seconds.min(1.0),
        };
        let repl = || options.those(|system| system == System::Repl);
        let one_node = options.those(|system| system.fans_out() && system != System::Repl3);

        say(format_args!("1 of 11: saturated fan-out"));
        let saturated = fanout::Options { lineup: one_node.clone(), ..fan(&[100, 1_000, 2_000]) };
        let saturated = options.repeated(async || fanout::run(&saturated).await).await?;
        say(format_args!("2 of 11: the same with fewer messages in flight"));
        let narrow = fanout::Options { lineup: one_node.clone(), in_flight: 16, ..fan(&[1_000]) };
        let narrow = options.repeated(async || fanout::run(&narrow).await).await?;
        say(format_args!("3 of 11: the same from 100 subscribers to as many as a node may have"));
        let wide = fanout::Options { lineup: repl(), ..fan(&[100, 1_000, 10_000, 19_000]) };
        let wide = options.repeated(async || fanout::run(&wide).await).await?;
        say(format_args!("4 of 11: paced"));
        let paced = latency::Options {
            lineup: one_node.clone(),
            subscribers: vec![of(1_000)],
            publishers: 8,
            rate: 20.0,
            value_bytes: VALUE_BYTES,
            seconds: 2.0 * options.seconds,
            warm_up_seconds: options.seconds.min(1.0),
        };
        let paced = options.repeated(async || latency::run(&paced).await).await?;
        say(format_args!("5 of 11: idle"));
        let idle = idle::Options { lineup: one_node, subscribers: vec![of(10_000)], seconds: options.seconds.min(2.0) };
        let most = idle::run(&idle::Options { lineup: repl(), subscribers: vec![of(19_000)], ..idle.clone() }).await?;
        let mut idle = idle::run(&idle).await?;
        idle.rows.extend(most.rows);
        say(format_args!("6 of 11: durable publishes"));
        let durable = publish::Options {
            lineup: options.those(System::is_durable),
            publishers: each(&[1, 64, 256]),
            batch: 1,
            keys: false,
            topics: 1,
            value_bytes: DURABLE_VALUE_BYTES,
            leader_only: true,
            seconds: options.seconds,
            warm_up_seconds: options.seconds.min(1.0),
        };
        let publish = options.repeated(async || publish::run(&durable).await).await?;
        say(format_args!("7 of 11: the same in batches"));
        let lineup = options.those(|system| system.repl_nodes().is_some());
        let batches = publish::Options { lineup, publishers: vec![of(64)], batch: 64, ..durable };
        let batches = options.repeated(async || publish::run(&batches).await).await?;
        say(format_args!("8 of 11: as there is more of everything"));
        let topics = topics::Options {
            lineup: repl(),
            topics: each(&[1, 1_000, 100_000]),
            history: each(&[1_000, 1_000_000]),
            keys: each(&[100, 100_000]),
            publishers: 64,
            subscribers: of(100),
            in_flight: IN_FLIGHT,
            value_bytes: VALUE_BYTES,
            seconds: options.seconds,
            warm_up_seconds: options.seconds.min(1.0),
        };
        let topics = options.repeated(async || topics::run(&topics).await).await?;
        say(format_args!("9 of 11: a reconnect storm"));
        let resume = resume::Options {
            lineup: repl(),
            subscribers: vec![of(10_000)],
            behind: of(1_000),
            rate: 200.0,
            value_bytes: VALUE_BYTES,
            seconds: options.seconds,
        };
        let resume = options.repeated(async || resume::run(&resume).await).await?;
        say(format_args!("10 of 11: the death of leaders"));
        let failover =
            failover::Options { setup: options.lineup.setup.clone(), rounds: options.rounds, value_bytes: VALUE_BYTES };
        let failover = failover::run(&failover).await?;
        failover.check()?;
        say(format_args!("11 of 11: the batteries of the thesis"));
        let demos = [System::Repl, System::Node, System::NodeRedis, System::NodeRepl];
        let batteries = fanout::Options {
            lineup: options.those(|system| demos.contains(&system)),
            seconds: options.battery_seconds,
            ..fan(&[50, 100, 500, 1_000, 2_000])
        };
        let batteries = fanout::run(&batteries).await?;
        batteries.check()?;
        Ok(Self { saturated, narrow, wide, paced, idle, publish, batches, topics, resume, failover, batteries })
    }

    /// When, where and of what.
    fn head(&self) -> String {
        let mut text = format!("{}\n{}\n", self.saturated.date, self.saturated.machine);
        let reports = [&self.saturated.versions, &self.publish.versions];
        let versions: BTreeMap<_, _> = reports.into_iter().flatten().collect();
        for (system, version) in versions {
            let configuration = System::parse(system).map_or("", System::configuration);
            let _ = writeln!(text, "{system} {version}: {configuration}");
        }
        let skipped: BTreeMap<_, _> = [&self.saturated.skipped, &self.publish.skipped].into_iter().flatten().collect();
        for (system, reason) in skipped {
            let _ = writeln!(text, "{system} left out: {reason}");
        }
        text
    }

    fn write(&self, file: &Path, targets: &[Target]) -> Result<()> {
        let head = format!("```text\n{}```", self.head());
        let parts = [
            ("machine", head),
            ("targets", Target::table(targets).markdown()),
            ("fanout", self.saturated.table().markdown()),
            ("narrow", self.narrow.table().markdown()),
            ("wide", self.wide.table().markdown()),
            ("latency", self.paced.table().markdown()),
            ("idle", self.idle.table().markdown()),
            ("publish", self.publish.table().markdown()),
            ("batches", self.batches.table().markdown()),
            ("topics", self.topics.table().markdown()),
            ("resume", self.resume.table().markdown()),
            ("failover", self.failover.table().markdown()),
            ("batteries", self.batteries.table().markdown()),
        ];
        let plots = [
            self.saturated.plots(),
            self.paced.plots(),
            self.idle.plots(),
            self.publish.plots(),
            self.topics.plots(),
            self.failover.plots(),
        ];
        page::fill(file, &parts, &plots.concat())
    }
}

impl Options {
    /// Measures as often as it is to be, and keeps the middle of each load: a machine is not equally fast at all times.
    ///
    /// # Errors
    /// It failed, or `repl` was wrong.
    async fn repeated<P: Serialize, R: Repeatable>(
        &self,
        measure: impl AsyncFn() -> Result<Report<P, R>>,
    ) -> Result<Report<P, R>> {
        let mut report = measure().await?;
        for _ in 1..self.repeat {
            report.absorb(measure().await?);
        }
        report.check()?;
        report.keep_the_middle();
        Ok(report)
    }

    fn of(&self, count: usize) -> usize {
        (count / self.divide).max(1)
    }

    fn those(&self, can: impl Fn(System) -> bool) -> Lineup {
        let systems = self.lineup.systems.iter().copied().filter(|system| can(*system)).collect();
        Lineup { systems, setup: self.lineup.setup.clone() }
    }
}

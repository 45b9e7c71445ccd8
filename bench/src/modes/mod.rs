//! One file for each mode: what it does, and a row of what it found.

pub(crate) mod failover;
pub(crate) mod fan;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod publish;
pub(crate) mod resume;
pub(crate) mod slowloris;
pub(crate) mod targets;
pub(crate) mod topics;

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::sleep;

use crate::progress::say;
use crate::report::{Report, Row};
use crate::systems::{Lineup, Running};

/// Starts each of these systems that is here, ready for so many connections, and adds to the report what is found of it
/// under a load.
async fn measure_each<P: Serialize, R: Row>(
    report: &mut Report<P, R>,
    lineup: &Lineup,
    connections: usize,
    load: &str,
    measure: impl AsyncFn(&Running) -> Result<R>,
) -> Result<()> {
    for system in report.present(lineup) {
        let what = format!("{}: {}, {load}", report.mode, system.name());
        say(format_args!("{what}"));
        let measured = async {
            let running = system.start(&lineup.setup, connections).await?;
            report.version(&running);
            measure(&running).await
        };
        let found = measured.await.context(what);
        report.add(system, found)?;
    }
    Ok(())
}

/// Lets a load go on.
async fn pass(seconds: f64) {
    sleep(Duration::from_secs_f64(seconds)).await;
}

/// Lets a load go on for so long, and until something has come of it, unless nothing ever does: a window that holds nothing
/// says nothing.
async fn pass_and_measure(seconds: f64, has_come: impl Fn() -> bool) {
    const LOOK_SECONDS: f64 = 0.01;
    const LOOKS_MAX: usize = 1_000;
    pass(seconds).await;
    for _ in 0..LOOKS_MAX {
        if has_come() {
            return;
        }
        pass(LOOK_SECONDS).await;
    }
}

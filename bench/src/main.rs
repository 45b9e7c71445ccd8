//! `repl-bench`: what `repl` and others do, and what that costs.
//!
//! Each mode starts the servers itself, over real sockets and a real disk; puts one kind of load on them; checks that
//! everything arrived; and reports how much was done, and how much of it per second of the servers' CPU time. That is the
//! figure to compare: unlike what is done per second, it hardly depends on how many cores the load took for itself.
//!
//! ```text
//! cli ─► modes        what is done, and a row of what was found
//!          │
//!          ├─► load      publishers, subscribers, and what was wrong with what they saw
//!          │     └─► wire      the protocols they speak
//!          ├─► systems   what is measured: started, where to publish and to subscribe, killed
//!          ├─► meter     CPU time, memory, latencies, the machine
//!          └─► report    the table, JSON, a page with plots
//! ```
//!
//! It is *not* a test of speed: nothing here fails because it was slow. It fails when `repl` lost a message, repeated or
//! damaged one, or put it out of order, for then the figures are worth nothing. What other systems lose is counted and
//! told; they promise other things.

mod cli;
mod load;
mod meter;
mod modes;
mod progress;
mod report;
mod systems;
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use tokio::runtime::Runtime;

use self::cli::{Invocation, Mode};
use self::modes::{failover, fanout, idle, latency, publish, resume, slowloris, targets, topics};

/// What went wrong while measuring.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let invocation = cli::parse();
    let measured = Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(&invocation)));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            FAILED.into()
        }
    }
}

async fn run(Invocation { mode, output }: &Invocation) -> Result<()> {
    match mode {
        Mode::Publish(options) => publish::run(options).await?.finish(output),
        Mode::Fanout(options) => fanout::run(options).await?.finish(output),
        Mode::Latency(options) => latency::run(options).await?.finish(output),
        Mode::Idle(options) => idle::run(options).await?.finish(output),
        Mode::Resume(options) => resume::run(options).await?.finish(output),
        Mode::Slowloris(options) => slowloris::run(options).await?.finish(output),
        Mode::Topics(options) => topics::run(options).await?.finish(output),
        Mode::Failover(options) => failover::run(options).await?.finish(output),
        Mode::Targets(options) => targets::run(options, output).await,
        Mode::ServeAxum(address) => systems::serve_axum(*address).await,
    }
}

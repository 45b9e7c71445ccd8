//! `repl-bench`: what `repl` does, and what that costs.
//!
//! Each mode starts the servers itself, from the program that users run, over real sockets and a real disk; puts one kind
//! of load on them; checks that everything arrived as promised; and reports how much was done, and how much of it per
//! second of the servers' CPU time. That is the figure to compare: unlike what is done per second, it hardly depends on
//! how many cores the load took for itself.
//!
//! ```text
//! cli ─► publish │ fanout │ idle        one file for each mode: what it does, and a row of what it found
//!            │
//!            ├─► cluster, process       the servers: started, counted, stopped
//!            ├─► publishers             connections that publish, one request at a time each
//!            ├─► subscribers, sse       streams, and what was wrong with them
//!            └─► report                 the table, or JSON
//! ```
//!
//! It is *not* a test of speed: nothing here fails because it was slow. It fails when a message was lost, came twice, came
//! out of order or was damaged, for then the figures are worth nothing.

mod cli;
mod cluster;
mod counts;
mod fanout;
mod http;
mod idle;
mod latency;
mod machine;
mod message;
mod process;
mod progress;
mod publish;
mod publishers;
mod report;
mod sequence;
mod sse;
mod subscribers;
mod threads;
mod window;

use std::io::{self, Write};
use std::process::ExitCode;

use tokio::runtime::Runtime;

use self::cli::Mode;

/// What went wrong while measuring.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let invocation = cli::parse();
    let measured = Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match &invocation.mode {
                Mode::Publish(options) => publish::run(options).await?.print(invocation.json),
                Mode::Fanout(options) => fanout::run(options).await?.print(invocation.json),
                Mode::Idle(options) => idle::run(options).await?.print(invocation.json),
            }
        })
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            FAILED.into()
        }
    }
}

//! The command line: what `repl` understands, and what it prints.
//!
//! It turns words into [`Settings`](crate::config::Settings), starts the server, and tells people how it went; `repl
//! cluster` speaks to one that runs by its socket, `repl pub` and its like do so as clients. It decides nothing about the
//! server itself. Standard output is for what was asked for; the log and errors go to standard error.

mod admin;
mod backup;
mod banner;
mod cluster;
mod columns;
mod command;
mod dev;
mod ready_file;
mod recover;
mod remote;
mod report;
mod serve;
mod signal;
mod token;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

pub use banner::banner;

use self::admin::AdminError;
use crate::config::ConfigError;
use crate::server::{Expelled, ServerError};

/// What went wrong while running.
const FAILED: u8 = 1;
/// The cluster has removed the node. A service manager must not start it again.
const REMOVED: u8 = 3;
/// No node answers at its socket.
const UNREACHABLE: u8 = 4;
/// What was said on the command line, in the environment or in the file can't be used. As clap has it.
const MISUSED: u8 = 2;

/// Does what the `arguments` (the program's name first) ask for, until it is done.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let matches = match command::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        // Help and version come as errors too; they go to standard output, and end well.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { MISUSED.into() } else { ExitCode::SUCCESS };
        }
    };
    let done = match matches.subcommand() {
        Some(("cluster", matches)) => cluster::run(matches, environment),
        Some(("backup", matches)) => backup::run(matches, environment),
        Some(("recover", matches)) => recover::run(matches, environment),
        Some(("token", matches)) => token::run(matches, environment),
        Some(("dev", matches)) => dev::run(matches),
        Some((name @ ("pub" | "sub" | "topic"), matches)) => remote::run(name, matches, environment),
        _ => serve::serve(&matches, environment).map(|()| String::new()),
    };
    match done {
        Ok(text) => {
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let misused = error.is::<ConfigError>() || matches!(error.downcast_ref(), Some(ServerError::Tls { .. }));
            let _ = io::stderr().write_all(report::report(&error, misused).as_bytes());
            let removed = matches!(error.downcast_ref(), Some(ServerError::Expelled(Expelled::Removed)));
            let unreachable = matches!(error.downcast_ref(), Some(AdminError::Unreachable { .. }));
            match remote::exit_code(&error) {
                Some(code) => code,
                None if removed => REMOVED,
                None if unreachable => UNREACHABLE,
                None if misused => MISUSED,
                None => FAILED,
            }
            .into()
        }
    }
}

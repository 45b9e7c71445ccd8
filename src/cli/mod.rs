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
mod completion;
mod config;
mod context;
mod dev;
mod exit;
mod output;
mod progress;
mod ready_file;
mod recover;
mod remote;
mod report;
mod serve;
mod service;
mod signal;
mod terminal;
mod token;
mod version;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

pub use banner::banner;
pub use exit::EXIT_CODES;

use self::exit::Misuse;
use self::output::Done;

/// Does what the `arguments` (the program's name first) ask for, until it is done.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let misused = if arguments.get(1).is_some_and(|name| name == "check") { exit::UNKNOWN } else { exit::MISUSED };
    let matches = match command::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        // Help and version come as errors too; they go to standard output, and end well.
        Err(error) => {
            let error = command::advised(error);
            let _ = error.print();
            return if error.use_stderr() { misused.into() } else { ExitCode::SUCCESS };
        }
    };
    if let (Some(name), Some(setting)) = (matches.subcommand_name(), command::of_node(&matches)) {
        let flag = setting.flag();
        let text =
            format!("{flag} is a node's, and not heeded before `{name}`: leave it out, or put it behind the command");
        let _ = io::stderr().write_all(report::report(&Misuse::new(text).into(), false).as_bytes());
        return misused.into();
    }
    let done = match matches.subcommand() {
        Some(("cluster", matches)) => cluster::run(matches, environment),
        Some(("backup", matches)) => backup::run(matches, environment),
        Some(("recover", matches)) => recover::run(matches, environment),
        Some(("token", matches)) => token::run(matches, environment),
        Some(("config", matches)) => config::run(matches, environment),
        Some(("context", matches)) => context::run(matches, environment),
        Some(("completion", matches)) => Ok(completion::run(matches)),
        Some(("version", matches)) => Ok(version::run(matches)),
        Some(("dev", matches)) => dev::run(matches).map(Done::from),
        Some((name @ ("pub" | "sub" | "topic" | "presence" | "top" | "check"), matches)) => {
            remote::run(name, matches, environment)
        }
        _ => serve::serve(&matches, environment).map(|()| String::new().into()),
    };
    match done {
        Ok(Done { text, code }) => {
            let _ = io::stdout().write_all(text.as_bytes());
            code.into()
        }
        Err(error) => {
            let _ = io::stderr().write_all(report::report(&error, exit::is_misuse(&error)).as_bytes());
            exit::code(&error).into()
        }
    }
}

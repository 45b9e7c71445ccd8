//! What a client does, by way of any server that clients reach: `repl pub`, `repl sub` and `repl topic`, and what people and
//! monitors look at.

mod check;
mod lines;
mod presence;
mod publish;
mod subscribe;
mod target;
mod top;
mod topic;

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use thiserror::Error;
use tokio::runtime::Builder;

use super::output::Done;
use super::{command, exit};
use crate::client::{Client, ClientError};
use crate::config;

/// How the commands may end besides done, failed and misused.
const CODES: [u8; 4] = [exit::UNREACHABLE, exit::NOT_FOUND, exit::NOT_ALLOWED, exit::TIME_UP];

/// The time that was set is up.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct TimeUp(String);

/// The grammars of the commands.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    let codes = exit::help(&CODES);
    let complete_for_requests = |command| complete(command, &codes);
    let complete_for_streams = |command| {
        let help = "How long to look for a server, at first and when one is lost\n\
                    [default: each is asked once at first, and later without end]";
        complete(command, &codes).mut_arg("patience", |arg| arg.help(help))
    };
    // Those who wait for a monitor to answer don't wait for long.
    let check = complete(check::command(), check::EXIT_CODES)
        .mut_arg("patience", |arg| arg.default_value("10s").help("How long to wait for the answer of a server"));
    [
        complete_for_requests(publish::command()),
        complete_for_streams(subscribe::command()),
        complete_for_requests(topic::command()),
        complete_for_requests(presence::command()),
        complete_for_streams(top::command()),
        check,
    ]
    .into_iter()
}

/// Adds what all of them take.
fn complete(command: Command, codes: &str) -> Command {
    let after = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default() + codes;
    let command = command.after_help(after).args(command::common_hidden());
    let global = |argument: Arg| argument.global(true).help_heading("Server");
    let context = Arg::new("context")
        .long("context")
        .value_name("NAME")
        .help("The context that says where the cluster is reached (repl context)\n[env: REPL_CONTEXT]")
        .conflicts_with("server");
    let patience = Arg::new("patience")
        .long("patience")
        .value_name("TIME")
        .help("How long a request is repeated while no server can do it [default: 30s]")
        .value_parser(duration);
    command.args([server_argument(), context, token_file_argument(), ca_file_argument(), patience].map(global))
}

/// Where a cluster is.
pub(super) fn server_argument() -> Arg {
    Arg::new("server")
        .long("server")
        .value_name("URL…")
        .help(
            "Where the cluster is reached; the next one when one doesn't serve\n\
             [env: REPL_SERVER] [default: the context in use, or http://127.0.0.1:7375]",
        )
        .action(ArgAction::Append)
        .value_delimiter(',')
}

/// Who asks.
pub(super) fn token_file_argument() -> Arg {
    file("token-file", "The token to show, or else it is in the variable REPL_TOKEN")
}

/// Whom to believe.
pub(super) fn ca_file_argument() -> Arg {
    file("ca-file", "Certificates (PEM) of authorities that are trusted besides the system's")
}

fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").help(help).value_parser(value_parser!(PathBuf))
}

/// Does what `matches` ask of the command with this name. Answers what to print.
///
/// # Errors
/// It was refused, or failed.
pub(super) fn run(
    name: &str,
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Done> {
    let because = "it speaks to a server as any client does (--server)";
    let refused = command::refuse_common(matches, &format!("repl {name}"), because);
    let options = refused.map_err(Into::into).and_then(|()| target::options(matches, environment));
    if name == "check" {
        return Ok(check::run(matches, options));
    }
    let client = Client::new(options?)?.telling(lines::still_trying);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        match name {
            "pub" => publish::run(matches, &client).await,
            "sub" => subscribe::run(matches, &client).await,
            "presence" => presence::run(matches, &client).await,
            "top" => top::run(matches, &client).await,
            _ => topic::run(matches, &client).await,
        }
    });
    match done {
        // Whoever read has seen enough; but what was to be published need not all be.
        Err(error) if name != "pub" && lines::is_broken_pipe(&error) => Ok(String::new().into()),
        done => done.map(Done::from),
    }
}

/// With which code a failure ends. `None`: it is none of a client's.
pub(super) fn exit_code(error: &anyhow::Error) -> Option<u8> {
    if error.is::<TimeUp>() {
        return Some(exit::TIME_UP);
    }
    Some(match error.downcast_ref::<ClientError>()? {
        ClientError::Setup(_) => exit::MISUSED,
        ClientError::Unanswered { .. } => exit::UNREACHABLE,
        ClientError::Timeout(_) => exit::TIME_UP,
        ClientError::Ended(_) => exit::NOT_ALLOWED,
        ClientError::Problem { status, .. } => match status.as_u16() {
            401 | 403 => exit::NOT_ALLOWED,
            404 => exit::NOT_FOUND,
            _ => exit::FAILED,
        },
        ClientError::Garbled(_) => exit::FAILED,
    })
}

fn duration(text: &str) -> anyhow::Result<Duration> {
    config::duration(text).context("is not a time with its unit, such as 500ms, 15s, 10m or 1h")
}

/// The route of a topic.
fn route(topic: &str) -> String {
    format!("/topics/{}", encoded(topic))
}

/// A name as it stands in a route.
fn encoded(name: &str) -> impl Display {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
}

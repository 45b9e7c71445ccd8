//! What a client does, by way of any server that clients reach: `repl pub`, `repl sub` and `repl topic`, and what people and
//! monitors look at.

mod check;
mod lines;
mod presence;
mod publish;
mod subscribe;
mod topic;

use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use thiserror::Error;
use tokio::runtime::Builder;

use super::output::Done;
use super::{command, exit};
use crate::client::{Client, ClientError, Options, Server};
use crate::config;

/// Where a stand-alone node serves, unless it was told otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7375";

/// The token's place: on the command line every user of the machine could read it.
const TOKEN_VARIABLE: &str = "REPL_TOKEN";
const SERVER_VARIABLE: &str = "REPL_SERVER";

/// How the commands may end besides done, failed and misused.
const CODES: [u8; 4] = [exit::UNREACHABLE, exit::NOT_FOUND, exit::NOT_ALLOWED, exit::TIME_UP];

/// What was given can't be used.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Misuse(String);

/// The time that was set is up.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct TimeUp(String);

/// The grammars of the commands.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    let codes = exit::help(&CODES);
    let commands = [publish::command(), subscribe::command(), topic::command(), presence::command()];
    // Those who wait for a monitor to answer don't wait for long.
    let check = complete(check::command(), check::EXIT_CODES)
        .mut_arg("patience", |arg| arg.default_value("10s").help("How long to wait for the answer of a server"));
    commands.into_iter().map(move |command| complete(command, &codes)).chain([check])
}

/// Adds what all of them take.
fn complete(command: Command, codes: &str) -> Command {
    let after = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default() + codes;
    let command = command.after_help(after).args(command::common_hidden());
    let argument = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).global(true).help_heading("Server")
    };
    command
        .arg(
            argument(
                "server",
                "URL…",
                "Where the cluster is reached; the next one when one doesn't serve\n\
                [env: REPL_SERVER] [default: http://127.0.0.1:7375]",
            )
            .action(ArgAction::Append)
            .value_delimiter(','),
        )
        .arg(
            argument("token-file", "FILE", "The token to show, or else it is in the variable REPL_TOKEN")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            argument("ca-file", "FILE", "Certificates (PEM) of authorities that are trusted besides the system's")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            argument("patience", "TIME", "How long a request is repeated while no server can do it")
                .default_value("30s")
                .value_parser(duration),
        )
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
    let options = refused.and_then(|()| options(matches, environment));
    if name == "check" {
        return Ok(check::run(matches, options));
    }
    let client = Client::new(options?)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        match name {
            "pub" => publish::run(matches, &client).await,
            "sub" => subscribe::run(matches, &client).await,
            "presence" => presence::run(matches, &client).await,
            _ => topic::run(matches, &client).await,
        }
    });
    match done {
        Err(error) if lines::is_broken_pipe(&error) => Ok(String::new().into()),
        done => done.map(Done::from),
    }
}

/// With which code a failure ends. `None`: it is none of a client's.
pub(super) fn exit_code(error: &anyhow::Error) -> Option<u8> {
    if error.is::<Misuse>() {
        return Some(exit::MISUSED);
    }
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

fn options(
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Options> {
    let (mut servers, mut token) = (None, None);
    for (name, value) in environment {
        let text = || value.clone().into_string().map_err(|_| Misuse(format!("{} is not UTF-8", name.display())));
        match name.to_str() {
            Some(SERVER_VARIABLE) => servers = Some(text()?).filter(|text| !text.is_empty()),
            Some(TOKEN_VARIABLE) => token = Some(text()?).filter(|text| !text.is_empty()),
            _ => {}
        }
    }
    let given: Vec<String> = match matches.get_many::<String>("server") {
        Some(given) => given.cloned().collect(),
        None => servers.as_deref().unwrap_or(DEFAULT_SERVER).split(',').map(str::to_owned).collect(),
    };
    let parse = |text: &String| Server::parse(text.trim()).map_err(|error| Misuse(format!("{text:?} {error}")));
    let read = |name: &str| {
        let path = matches.get_one::<PathBuf>(name);
        path.map(|path| fs::read(path).with_context(|| format!("{} can't be read", path.display()))).transpose()
    };
    if let Some(file) = read("token-file")? {
        token = Some(String::from_utf8(file).map_err(|_| Misuse("--token-file holds no token".to_owned()))?);
    }
    Ok(Options {
        servers: given.iter().map(parse).collect::<Result<_, _>>()?,
        token: token.map(|token| token.trim().to_owned()),
        authorities: read("ca-file")?.unwrap_or_default(),
        patience: matches.get_one("patience").copied().context("it has a default")?,
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

//! `repl config`: the settings that hold, where each came from, and whether a node would start with them.

use std::ffi::OsString;
use std::io::{self, Write};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use super::output::{self, Done};
use super::{columns, command, exit, report, serve};
use crate::config::{self, CONFIG, ConfigError, Given, Kind, Loaded, Origin, SETTINGS, Setting};
use crate::server;

const AFTER_HELP: &str = "\
Each takes all options of a node (`repl --help`), and reads variables and the --config file as a node does.

Examples:
  repl config defaults >repl.toml                 # a file to begin with
  repl config check --config repl.toml            # before the node is started again
  repl config show --origin --config repl.toml    # what holds, and who said so";

/// The grammar of `repl config`.
pub(super) fn command() -> Command {
    Command::new("config")
        .about("Show and check the settings of a node, and write a file of them")
        .after_help(format!("{AFTER_HELP}\n\n{}", exit::help(&[])))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("show")
                .about("Show the settings that hold")
                .arg(
                    Arg::new("origin")
                        .long("origin")
                        .action(ArgAction::SetTrue)
                        .help("Tell where each came from: a flag, a variable, a line of the file, or nobody said it"),
                )
                .arg(output::argument())
                .args(command::all_hidden()),
        )
        .subcommand(
            Command::new("check")
                .about("Tell whether a node could start with the settings, and what is wrong with them")
                .arg(output::argument())
                .args(command::all_hidden()),
        )
        .subcommand(
            Command::new("defaults").about("Print a configuration file that explains every setting, and changes none"),
        )
}

/// Does what `matches` ask for.
///
/// # Errors
/// The settings can't be used.
pub(super) fn run(
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Done> {
    let (name, matches) = matches.subcommand().context("a command is required")?;
    if name == "defaults" {
        return Ok(config::template().into());
    }
    if name == "show" {
        return Ok(show(matches, &config::load(command::flags(matches), environment)?.given).into());
    }
    let mut faults = faults(config::examine(command::flags(matches), environment));
    match faults.pop() {
        None => {
            let text = || "a node can start with these settings\n".to_owned();
            Ok(output::choose(matches, &json!({ "valid": true }), text).into())
        }
        Some(last) if output::is_json(matches) => {
            faults.push(last);
            Ok(output::no("valid", &faults))
        }
        Some(last) => {
            let others: String = faults.iter().map(|fault| report::report(fault, false)).collect();
            let _ = io::stderr().write_all(others.as_bytes());
            Err(last)
        }
    }
}

/// Whatever a start refuses before it listens.
fn faults(loaded: Result<Loaded, Vec<ConfigError>>) -> Vec<anyhow::Error> {
    let check = |Loaded { settings, given }: Loaded| {
        serve::check_log(&settings, &given)?;
        server::check(&settings, settings.cluster_secret()?.as_ref())?;
        anyhow::Ok(())
    };
    match loaded {
        Ok(loaded) => check(loaded).err().into_iter().collect(),
        Err(faults) => faults.into_iter().map(Into::into).collect(),
    }
}

fn show(matches: &ArgMatches, given: &Given) -> String {
    // Those that are for tests are of interest once somebody has turned them.
    let is_shown = |setting: &&Setting| setting.group != Setting::HIDDEN || given.origin(setting) != Origin::Default;
    let settings: Vec<&Setting> = SETTINGS.iter().chain([&CONFIG]).filter(is_shown).collect();
    let document = json!({ "settings": settings.iter().map(|setting| object(setting, given)).collect::<Vec<_>>() });
    output::choose(matches, &document, || {
        let row = |setting: &&Setting| {
            let values = given.values(setting).join(",");
            [setting.name(), if values.is_empty() { "-".to_owned() } else { values }, origin(setting, given)]
        };
        let headings = ["SETTING", "VALUE", "ORIGIN"].map(str::to_owned);
        let rows: Vec<_> = [headings].into_iter().chain(settings.iter().map(row)).collect();
        if matches.get_flag("origin") {
            columns::table(&rows)
        } else {
            columns::table(&rows.into_iter().map(|[name, value, _]| [name, value]).collect::<Vec<_>>())
        }
    })
}

fn origin(setting: &Setting, given: &Given) -> String {
    match given.origin(setting) {
        Origin::Flag => setting.flag(),
        Origin::Environment => setting.variable(),
        Origin::File { path, line } => format!("{}, line {line}", path.display()),
        Origin::Default => "default".to_owned(),
    }
}

fn object(setting: &Setting, given: &Given) -> Value {
    let mut values = given.values(setting);
    let value: Value = match setting.kind {
        Kind::Many(_) => values.into(),
        Kind::Switch => matches!(values.pop().as_deref(), Some("true" | "1")).into(),
        Kind::One(_) => values.pop().into(),
    };
    let (origin, file, line) = match given.origin(setting) {
        Origin::Flag => ("flag", None, None),
        Origin::Environment => ("environment", None, None),
        Origin::Default => ("default", None, None),
        Origin::File { path, line } => ("file", Some(path), Some(line)),
    };
    json!({ "name": setting.name(), "value": value, "origin": origin, "file": file, "line": line })
}

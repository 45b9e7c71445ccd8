//! `repl config`: the settings that hold, where each came from, and whether a node would start with them.

use std::ffi::OsString;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use super::output::{self, Done};
use super::{columns, command, exit, serve};
use crate::config::{self, CONFIG, Given, Kind, Loaded, Origin, SETTINGS, Setting};
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
    let loaded = config::load(command::flags(matches), environment).map_err(Into::into);
    match name {
        "show" => Ok(show(matches, &loaded?.given).into()),
        _ => match loaded.and_then(|loaded| check(&loaded)) {
            Err(error) if output::is_json(matches) => Ok(output::no("valid", &error)),
            Err(error) => Err(error),
            Ok(()) => {
                let text = || "a node can start with these settings\n".to_owned();
                Ok(output::choose(matches, &json!({ "valid": true }), text).into())
            }
        },
    }
}

/// Whatever a start refuses before it listens.
fn check(Loaded { settings, given }: &Loaded) -> anyhow::Result<()> {
    serve::check_log(settings, given)?;
    server::check(settings, settings.cluster_secret()?.as_ref())?;
    Ok(())
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

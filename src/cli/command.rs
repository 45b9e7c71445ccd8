//! The grammar of the command line, made from the table of settings.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command, Error};

use super::exit::{self, Misuse};
use crate::config::{CONFIG, Fallback, Kind, SETTINGS, Setting};

const USAGE: &str = "repl [OPTIONS]                      a stand-alone node
       repl --bootstrap [OPTIONS]          the first node of a cluster
       repl --join <HOST[:PORT]> [OPTIONS] one more node of a cluster
       repl <COMMAND>                      all else: see 'repl help'";

const AFTER_HELP: &str = "\
Settings:
  Each option is a variable (REPL_DATA_DIR) and a key of the --config file (data-dir = \"…\") as well.
  A flag beats the variable, which beats the file, which beats the default.
  SIZE is 65536, 64KiB, 16MiB or 1GB. TIME is 500ms, 15s, 10m, 24h, 7d or 1h30m.
  Options with an ellipsis may be given several times, or hold several values with commas between them.

Signals:
  SIGINT (Ctrl-C) and SIGTERM stop the node in order: another one leads, and streams go to other nodes, if there are any.
  A second one ends it at once, which loses nothing acknowledged.
  SIGHUP reads certificates again, as a change of their files does within seconds.";

/// Those that every command takes.
const COMMON: [&str; 3] = ["admin_socket", "config", "data_dir"];

/// The grammar of the command line.
pub(super) fn command() -> Command {
    Command::new("repl")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Publish and subscribe for web applications: replicated by Raft, delivered as Server-Sent Events.")
        .override_usage(USAGE)
        .after_help(format!("{AFTER_HELP}\n\n{}", exit::help(&[exit::REMOVED])))
        .max_term_width(120)
        .subcommand(super::cluster::command())
        .subcommand(super::backup::command())
        .subcommand(super::recover::command())
        .subcommand(super::token::command())
        .subcommand(super::config::command())
        .subcommand(super::context::command())
        .subcommand(super::completion::command())
        .subcommand(super::version::command())
        .subcommand(super::dev::command())
        .subcommands(super::remote::commands())
        .args(SETTINGS.iter().chain([&CONFIG]).map(argument))
}

/// Words with which other programs start a server.
const STARTING: [&str; 6] = ["run", "serve", "server", "start", "up", "daemon"];

/// The error with the advice that clap can't give: a node is started by no command, and those for operators speak to its
/// socket.
pub(super) fn advised(mut error: Error) -> Error {
    if let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand)
        && STARTING.contains(&name.as_str())
    {
        error.remove(ContextKind::SuggestedSubcommand);
        let advice = StyledStr::from("`repl` alone, or with options, starts a node");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice]));
    }
    if let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidArg)
        && name == "--server"
    {
        error.remove(ContextKind::SuggestedArg);
        let advice = StyledStr::from(
            "pub, sub, topic, presence, top and check take it, behind their name; other commands speak to a node on this \
             machine, whose --data-dir they take",
        );
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice]));
    }
    error
}

/// What was said of each setting.
pub(super) fn flags(matches: &ArgMatches) -> impl Iterator<Item = (&'static Setting, Vec<String>)> {
    SETTINGS.iter().chain([&CONFIG]).filter_map(|setting| {
        // Commands have a few of them only.
        let texts = matches.try_get_many::<String>(setting.field).ok().flatten()?;
        Some((setting, texts.cloned().collect()))
    })
}

/// The arguments of some settings, for a command that takes them.
pub(super) fn arguments(fields: &[&str]) -> impl Iterator<Item = Arg> {
    SETTINGS.iter().filter(|setting| fields.contains(&setting.field)).map(argument)
}

/// The arguments of all settings but those that every command takes, kept from the help, which would be that of a node.
pub(super) fn all_hidden() -> impl Iterator<Item = Arg> {
    SETTINGS.iter().filter(|setting| !COMMON.contains(&setting.field)).map(|setting| argument(setting).hide(true))
}

/// The settings that every command takes, kept from the help of one that has no use for them.
pub(super) fn common_hidden() -> impl Iterator<Item = Arg> {
    common().map(|setting| argument(setting).hide(true))
}

/// Refuses the settings that every command takes, for one that has no use for them.
///
/// # Errors
/// One was given.
pub(super) fn refuse_common(matches: &ArgMatches, command: &str, because: &str) -> Result<(), Misuse> {
    match common().find(|setting| matches.value_source(setting.field).is_some()) {
        Some(setting) => Err(Misuse::new(format!("`{command}` takes no {}: {because}", setting.flag()))),
        None => Ok(()),
    }
}

/// A setting that only a node heeds, if one was given before the command that `matches` has.
pub(super) fn of_node(matches: &ArgMatches) -> Option<&'static Setting> {
    let is_given = |setting: &&Setting| matches.value_source(setting.field).is_some();
    SETTINGS.iter().filter(|setting| !COMMON.contains(&setting.field)).find(is_given)
}

fn common() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().chain([&CONFIG]).filter(|setting| COMMON.contains(&setting.field))
}

fn argument(setting: &'static Setting) -> Arg {
    let argument = Arg::new(setting.field)
        .long(setting.name())
        .help(help(setting))
        .help_heading(setting.group)
        .global(COMMON.contains(&setting.field))
        .hide(setting.group == Setting::HIDDEN);
    match setting.kind {
        Kind::Switch => {
            argument.action(ArgAction::Set).num_args(0..=1).default_missing_value("true").value_name("BOOL")
        }
        // A number below zero is no flag: what the setting takes is told where it is read.
        Kind::One(name) => argument.action(ArgAction::Set).allow_negative_numbers(true).value_name(name),
        Kind::Many(name) => argument.action(ArgAction::Append).value_name(format!("{name}…")),
    }
}

fn help(setting: &Setting) -> String {
    let default = match setting.fallback {
        Fallback::Value(text) | Fallback::Unset(text) => text,
    };
    let bounds = match (setting.min, setting.max) {
        (None, None) => String::new(),
        (Some(min), None) => format!(" [from {min}]"),
        (None, Some(max)) => format!(" [to {max}]"),
        (Some(min), Some(max)) => format!(" [{min} to {max}]"),
    };
    format!("{}\n[env: {}] [default: {default}]{bounds}", setting.help.trim(), setting.variable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn paragraphs_of_help_have_no_breaks_of_their_own() {
        // A terminal breaks them where it ends; a break of ours would be a second one.
        let mut commands = vec![command()];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for paragraph in text.split("\n\n") {
                let plain = paragraph.lines().filter(|line| !line.starts_with("  ")).count();
                assert!(plain <= 1, "of {}: {paragraph}", command.get_name());
            }
        }
    }

    #[test]
    fn a_switch_needs_no_value_and_a_list_takes_many() {
        let words =
            ["repl", "--insecure", "--auto-create=false", "--bootstrap", "true", "--join", "a,b", "--join", "c"];
        let said: Vec<_> = flags(&command().get_matches_from(words))
            .map(|(setting, texts)| (setting.field, texts.join(" ")))
            .collect();
        let expected = [("insecure", "true"), ("bootstrap", "true"), ("join", "a,b c"), ("auto_create", "false")];
        assert_eq!(said, expected.map(|(field, text)| (field, text.to_owned())));
    }
}

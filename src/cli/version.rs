//! `repl version`: what this program is.

use std::env::consts::{ARCH, OS};

use clap::{ArgMatches, Command};
use serde_json::json;

use super::command;
use super::output::{self, Done};

/// Of which commit it was built, if whoever built it has said so. Asking git here would build everything anew after each
/// commit, and fail where there is no repository.
const COMMIT: &str = match option_env!("BUILD_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The grammar of `repl version`.
pub(super) fn command() -> Command {
    Command::new("version").about("Tell which version this is").args(command::common_hidden()).arg(output::argument())
}

/// Answers what to print.
pub(super) fn run(matches: &ArgMatches) -> Done {
    let version = env!("CARGO_PKG_VERSION");
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let document = json!({ "version": version, "commit": COMMIT, "os": OS, "arch": ARCH, "build": build });
    let text = || format!("repl {version} (commit {COMMIT}, {OS} {ARCH}, {build})\n");
    output::choose(matches, &document, text).into()
}

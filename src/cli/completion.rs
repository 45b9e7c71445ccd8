//! `repl completion`: what a shell needs to complete the words of a command line.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::command;
use super::output::Done;

const AFTER_HELP: &str = "\
Examples:
  source <(repl completion bash)                                 # in ~/.bashrc
  repl completion zsh >\"${fpath[1]}/_repl\"
  repl completion fish >~/.config/fish/completions/repl.fish
  repl completion powershell | Out-String | Invoke-Expression    # in the profile";

/// The grammar of `repl completion`.
pub(super) fn command() -> Command {
    Command::new("completion")
        .about("Print what a shell needs to complete commands")
        .after_help(AFTER_HELP)
        .args(command::common_hidden())
        .arg(Arg::new("shell").value_name("SHELL").required(true).help("Which one").value_parser(value_parser!(Shell)))
}

/// Answers the script.
pub(super) fn run(matches: &ArgMatches) -> Done {
    let mut script = Vec::new();
    if let Some(shell) = matches.get_one::<Shell>("shell") {
        clap_complete::generate(*shell, &mut command::command(), "repl", &mut script);
    }
    String::from_utf8_lossy(&script).into_owned().into()
}

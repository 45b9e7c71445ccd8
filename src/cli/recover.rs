//! `repl recover`: going on where the majority is lost.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use super::output::{self, Done};
use super::{command, exit};
use crate::config;
use crate::server::{self, Refounded};

const AFTER_HELP: &str = "\
Only for when most voters are gone for good: one that comes back is always better. The node of --data-dir, which must not \
run, becomes the only one of a new cluster that has what this node has. Choose the node with the most (the last line of \
`repl cluster status`, or the newest log). Lost is what the others had acknowledged and this node never received. The other \
nodes must not run again with what they have: if most of them did, the old cluster would go on beside the new one.";

/// The grammar of `repl recover`.
pub(super) fn command() -> Command {
    Command::new("recover")
        .about("Go on with one node where the majority is lost for good")
        .after_help(format!("{AFTER_HELP}\n\n{}", exit::help(&[])))
        .arg(output::argument())
        .arg_required_else_help(true)
        .arg(
            Arg::new("force")
                .long("force-new-cluster")
                .help("Found a new cluster on what the node of --data-dir has")
                .required(true)
                .action(ArgAction::SetTrue),
        )
}

/// Does what `matches` ask for. Answers what to print.
///
/// # Errors
/// It was refused, or failed.
pub(super) fn run(
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Done> {
    let settings = config::load(command::flags(matches), environment)?.settings;
    let data_dir = settings.data_dir.display();
    let (document, text) = match server::force_new_cluster(&settings.data_dir)? {
        None => (
            json!({ "founded": false }),
            format!(
                "the node is alone in its cluster, and needs no other to go on: start it\n\n  repl --data-dir {data_dir}\n"
            ),
        ),
        Some(Refounded { entry, time }) => (
            json!({ "founded": true, "entry": entry.get(), "time": time.to_string() }),
            format!(
                "The node is the only one of a new cluster. It has what came up to entry {entry} of the old one ({time}); what \
             others acknowledged after that is lost. Don't start the others with what they have: let them join with \
             empty data directories.\n\n  repl --data-dir {data_dir}\n"
            ),
        ),
    };
    Ok(output::choose(matches, &document, || text).into())
}

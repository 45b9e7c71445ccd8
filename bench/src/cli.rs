//! The command line.

use std::env;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::cluster::Setup;
use crate::message::Values;
use crate::{fanout, idle, publish};

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) mode: Mode,
    /// Print JSON instead of a table.
    pub(crate) json: bool,
}

/// What to measure.
#[derive(Debug)]
pub(crate) enum Mode {
    Publish(publish::Options),
    Fanout(fanout::Options),
    Idle(idle::Options),
}

/// Understands the arguments of this process, or ends it with what was wrong.
pub(crate) fn parse() -> Invocation {
    let matches = command().get_matches();
    let (name, matches) = matches.subcommand().expect("a mode is required");
    let mode = match name {
        "publish" => Mode::Publish(publish::Options {
            setup: setup(matches),
            nodes: many(matches, "nodes"),
            publishers: many(matches, "publishers"),
            batch: one(matches, "batch"),
            keys: matches.get_flag("keys"),
            topics: one(matches, "topics"),
            value_bytes: one(matches, "value-bytes"),
            leader_only: matches.get_flag("leader-only"),
            seconds: one(matches, "seconds"),
            warm_up_seconds: one(matches, "warm-up"),
        }),
        "fanout" => Mode::Fanout(fanout::Options {
            setup: setup(matches),
            nodes: one(matches, "nodes"),
            subscribers: many(matches, "subscribers"),
            publishers: one(matches, "publishers"),
            in_flight: one(matches, "in-flight"),
            batch: one(matches, "batch"),
            value_bytes: one(matches, "value-bytes"),
            seconds: one(matches, "seconds"),
            warm_up_seconds: one(matches, "warm-up"),
        }),
        _ => Mode::Idle(idle::Options {
            setup: setup(matches),
            subscribers: many(matches, "subscribers"),
            seconds: one(matches, "seconds"),
        }),
    };
    Invocation { mode, json: matches.get_flag("json") }
}

fn command() -> Command {
    let publish =
        Command::new("publish").about("Durable publishes: acknowledgements a second, and what one costs").args([
            list("nodes", "1,3", "Nodes of the clusters to measure"),
            list("publishers", "1,64,256", "Connections that publish, each one request at a time"),
            count("batch", "1", "Messages of a request; more than one go as NDJSON"),
            flag("keys", "Give each message an idempotency key"),
            count("topics", "1", "Topics to publish to"),
            value_bytes(),
            flag("leader-only", "Publish at the leader, rather than at all nodes in turn"),
            seconds("seconds", "5", "How long to measure each load"),
            seconds("warm-up", "1", "How long each load runs before"),
        ]);
    let fanout = Command::new("fanout").about("Deliveries to the subscribers of one topic, and what one costs").args([
        count("nodes", "1", "Nodes of the cluster; subscribers and publishers use all of them"),
        list("subscribers", "100,1000", "Streams that are open"),
        count("publishers", "32", "Connections that publish, each one request at a time"),
        count("in-flight", "256", "Messages sent that have not reached the subscribers, at most"),
        count("batch", "1", "Messages of a request; more than one go as NDJSON"),
        value_bytes(),
        seconds("seconds", "5", "How long to measure each load"),
        seconds("warm-up", "1", "How long each load runs before"),
    ]);
    let idle = Command::new("idle").about("Memory of a subscriber that nothing happens for").args([
        list("subscribers", "1000,10000", "Streams that are open"),
        seconds("seconds", "3", "How long they are held"),
    ]);
    Command::new("repl-bench")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Measures repl, which it starts itself: on loopback, with real processes, sockets and fsyncs.")
        .subcommand_required(true)
        .max_term_width(120)
        .subcommands([publish, fanout, idle].map(|mode| mode.args(common())))
}

fn common() -> [Arg; 3] {
    [
        Arg::new("repl")
            .long("repl")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("The server's program [default: `repl` beside this one]"),
        Arg::new("dir")
            .long("dir")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .help("Where the nodes' directories are made, on the disk to measure [default: for temporary files]"),
        flag("json", "Print JSON instead of a table"),
    ]
}

fn setup(matches: &ArgMatches) -> Setup {
    let beside = || env::current_exe().map(|program| program.with_file_name("repl")).unwrap_or_else(|_| "repl".into());
    Setup {
        repl: matches.get_one::<PathBuf>("repl").cloned().unwrap_or_else(beside),
        dir: matches.get_one::<PathBuf>("dir").cloned().unwrap_or_else(env::temp_dir),
    }
}

fn argument(name: &'static str, default: &'static str, help: &'static str, parser: impl Into<ValueParser>) -> Arg {
    Arg::new(name).long(name).default_value(default).help(help).value_parser(parser)
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "a whole number above zero".to_owned())
}

fn count(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    argument(name, default, help, positive).value_name("N")
}

fn list(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    argument(name, default, help, positive).value_name("N,…").value_delimiter(',')
}

fn seconds(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    let parse = |text: &str| {
        let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
        seconds.ok_or_else(|| "seconds, at most a day".to_owned())
    };
    argument(name, default, help, parse).value_name("SECONDS")
}

fn value_bytes() -> Arg {
    let parse = |text: &str| {
        let bytes = positive(text)?;
        let enough = (bytes >= Values::LEN_BYTES_MIN).then_some(bytes);
        enough.ok_or_else(|| format!("at least {}: a value tells when it was sent", Values::LEN_BYTES_MIN))
    };
    argument("value-bytes", "150", "Bytes of a message's value", parse).value_name("N")
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn one<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> T {
    matches.get_one::<T>(name).cloned().expect("the argument has a default")
}

fn many(matches: &ArgMatches, name: &str) -> Vec<usize> {
    matches.get_many::<usize>(name).expect("the argument has a default").copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_holds_together() {
        command().debug_assert();
    }
}

//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::load::message::Values;
use crate::modes::{failover, fanout, idle, latency, publish, resume, slowloris, targets, topics};
use crate::report::Output;
use crate::systems::{Lineup, Setup, System};

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) mode: Mode,
    pub(crate) output: Output,
}

/// What to measure.
#[derive(Debug)]
pub(crate) enum Mode {
    Publish(publish::Options),
    Fanout(fanout::Options),
    Latency(latency::Options),
    Idle(idle::Options),
    Resume(resume::Options),
    Slowloris(slowloris::Options),
    Topics(topics::Options),
    Failover(failover::Options),
    Targets(targets::Options),
    /// Be one of the systems that are measured.
    ServeAxum(SocketAddr),
}

/// Understands the arguments of this process, or ends it with what was wrong.
pub(crate) fn parse() -> Invocation {
    let matches = command().get_matches();
    let (name, matches) = matches.subcommand().expect("a mode is required");
    if name == SERVE_AXUM {
        let address = *matches.get_one("address").expect("the address is required");
        return Invocation { mode: Mode::ServeAxum(address), output: Output { json: false, page: None } };
    }
    let mode = match name {
        "publish" => Mode::Publish(publish::Options {
            lineup: lineup(matches, System::is_durable),
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
            lineup: lineup(matches, System::fans_out),
            subscribers: many(matches, "subscribers"),
            publishers: one(matches, "publishers"),
            in_flight: one(matches, "in-flight"),
            batch: one(matches, "batch"),
            value_bytes: one(matches, "value-bytes"),
            seconds: one(matches, "seconds"),
            warm_up_seconds: one(matches, "warm-up"),
        }),
        "latency" => Mode::Latency(latency::Options {
            lineup: lineup(matches, System::fans_out),
            subscribers: many(matches, "subscribers"),
            publishers: one(matches, "publishers"),
            rate: one(matches, "rate"),
            value_bytes: one(matches, "value-bytes"),
            seconds: one(matches, "seconds"),
            warm_up_seconds: one(matches, "warm-up"),
        }),
        "idle" => Mode::Idle(idle::Options {
            lineup: lineup(matches, System::fans_out),
            subscribers: many(matches, "subscribers"),
            seconds: one(matches, "seconds"),
        }),
        "resume" => Mode::Resume(resume::Options {
            lineup: lineup(matches, |system| system.repl_nodes().is_some()),
            subscribers: many(matches, "subscribers"),
            behind: one(matches, "behind"),
            rate: one(matches, "rate"),
            value_bytes: one(matches, "value-bytes"),
            seconds: one(matches, "seconds"),
        }),
        "slowloris" => Mode::Slowloris(slowloris::Options {
            lineup: lineup(matches, |system| system.repl_nodes().is_some()),
            heads: one(matches, "heads"),
            streams: one(matches, "streams"),
            publishers: one(matches, "publishers"),
            rate: one(matches, "rate"),
            value_bytes: one(matches, "value-bytes"),
            seconds: one(matches, "seconds"),
        }),
        "topics" => Mode::Topics(topics::Options {
            lineup: lineup(matches, |system| system.repl_nodes().is_some()),
            topics: many(matches, "topics"),
            history: many(matches, "history"),
            keys: many(matches, "keys"),
            publishers: one(matches, "publishers"),
            subscribers: one(matches, "subscribers"),
            in_flight: one(matches, "in-flight"),
            value_bytes: one(matches, "value-bytes"),
            seconds: one(matches, "seconds"),
            warm_up_seconds: one(matches, "warm-up"),
        }),
        "failover" => Mode::Failover(failover::Options {
            setup: setup(matches),
            rounds: one(matches, "rounds"),
            value_bytes: one(matches, "value-bytes"),
        }),
        _ => Mode::Targets(targets::Options {
            lineup: lineup(matches, |_| true),
            seconds: one(matches, "seconds"),
            battery_seconds: one(matches, "battery-seconds"),
            repeat: one(matches, "repeat"),
            rounds: one(matches, "rounds"),
            divide: one(matches, "divide"),
        }),
    };
    let output = Output { json: matches.get_flag("json"), page: matches.get_one("report").cloned() };
    Invocation { mode, output }
}

const SERVE_AXUM: &str = "serve-axum";

fn command() -> Command {
    let warm_up = || seconds("warm-up", "1", "How long each load runs before");
    let measure = || seconds("seconds", "5", "How long to measure each load");
    let modes = [
        Command::new("publish").about("Durable publishes: acknowledgements a second, and what one costs").args([
            which("repl,repl-3"),
            list("publishers", "1,64,256", "Connections that publish, each one request at a time"),
            count("batch", "1", "Messages of a request; more than one go as NDJSON"),
            flag("keys", "Give each message an idempotency key"),
            count("topics", "1", "Topics to publish to"),
            value_bytes("200"),
            flag("leader-only", "Publish at the leader, as for other systems, rather than at all nodes in turn"),
            measure(),
            warm_up(),
        ]),
        Command::new("fanout").about("Deliveries to the subscribers of one topic, and what one costs").args([
            which("repl"),
            list("subscribers", "100,1000", "Streams that are open"),
            count("publishers", "32", "Connections that publish, each one request at a time"),
            count("in-flight", "256", "Messages sent that have not reached the subscribers, at most"),
            count("batch", "1", "Messages of a request; more than one go as NDJSON"),
            value_bytes("150"),
            measure(),
            warm_up(),
        ]),
        Command::new("latency")
            .about("Latency at a given rate, and what a delivery costs when servers are not busy")
            .args([
                which("repl"),
                list("subscribers", "1000", "Streams that are open"),
                count("publishers", "8", "Connections that publish in turn"),
                rate("rate", "20", "Messages a second, whatever becomes of them"),
                value_bytes("150"),
                measure(),
                warm_up(),
            ]),
        Command::new("idle").about("Memory of a subscriber that nothing happens for").args([
            which("repl"),
            list("subscribers", "1000,10000", "Streams that are open"),
            seconds("seconds", "3", "How long they are held"),
        ]),
        Command::new("resume").about("Subscribers that come back at once, each some messages behind").args([
            which("repl"),
            list("subscribers", "1000,10000", "Streams that come back"),
            count("behind", "1000", "Messages that each has missed"),
            rate("rate", "200", "Messages a second that are published to another topic meanwhile"),
            value_bytes("150"),
            seconds("seconds", "5", "How long to publish before they come"),
        ]),
        Command::new("slowloris")
            .about("What publishers notice of clients that only take up room, and when those are gone")
            .args([
                which("repl"),
                count("heads", "5000", "Connections on which the head of a request trickles in"),
                count("streams", "1000", "Streams that nobody reads"),
                count("publishers", "8", "Connections that publish in turn"),
                rate("rate", "100", "Messages a second, whatever becomes of them"),
                value_bytes("1000"),
                seconds("seconds", "10", "How long to measure, before the attack and under it"),
            ]),
        Command::new("topics").about("What a publish and a delivery cost as there is more of everything").args([
            which("repl"),
            list("topics", "1,1000,100000", "Topics that there are, and that are published to in turn"),
            list("history", "1000,1000000", "Messages that the topic published to has and keeps"),
            list("keys", "100,100000", "Idempotency keys that the topic remembers"),
            count("publishers", "64", "Connections that publish, each one request at a time"),
            count("subscribers", "100", "Streams of the topic that deliveries are measured on"),
            count("in-flight", "256", "Messages sent to them that have not reached them, at most"),
            value_bytes("150"),
            measure(),
            warm_up(),
        ]),
        Command::new("failover")
            .about("Time until something is acknowledged again after the leader was killed")
            .args([count("rounds", "20", "Leaders that are killed"), value_bytes("150")]),
        Command::new("targets").about("All of it in one run, and whether it is as fast as it should be").args([
            which("all"),
            seconds("seconds", "2", "How long to measure each load"),
            count("repeat", "3", "How often each load takes its turn; the table has the one in the middle"),
            seconds("battery-seconds", "10", "How long to measure each battery of the thesis"),
            count("rounds", "10", "Leaders that are killed"),
            count(
                "divide",
                "1",
                "Divide all numbers of publishers, subscribers, topics and messages, to see that it works",
            ),
        ]),
    ];
    Command::new("repl-bench")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Measures repl and others, which it starts itself: on loopback, with real processes, sockets and fsyncs.",
        )
        .subcommand_required(true)
        .max_term_width(120)
        .subcommands(modes.map(|mode| mode.args(common())))
        .subcommand(
            Command::new(SERVE_AXUM)
                .hide(true)
                .arg(Arg::new("address").required(true).value_parser(value_parser!(SocketAddr))),
        )
}

fn common() -> [Arg; 5] {
    [
        file("repl", "The server's program [default: `repl` beside this one]"),
        file("dir", "Where servers' directories are made, on the disk to measure [default: for temporary files]"),
        file("peers", "Where bench/peers/install has put others [default: `peers` in cargo's target directory]"),
        file("report", "Write a page with the table and plots, too; `targets` fills in one of Markdown"),
        flag("json", "Print JSON instead of a table"),
    ]
}

fn setup(matches: &ArgMatches) -> Setup {
    let beside = Setup::beside();
    let said = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    Setup {
        repl: said("repl").unwrap_or(beside.repl),
        dir: said("dir").unwrap_or(beside.dir),
        peers: said("peers").unwrap_or(beside.peers),
    }
}

/// Those that were named, or all that can do it.
fn lineup(matches: &ArgMatches, can: impl Fn(System) -> bool) -> Lineup {
    let named: Vec<String> = matches.get_many("systems").expect("the argument has a default").cloned().collect();
    let all = named.iter().any(|name| name == ALL);
    let named: Vec<_> = named.iter().filter_map(|name| System::parse(name)).collect();
    let systems = System::ALL.into_iter().filter(|system| can(*system) && (all || named.contains(system))).collect();
    Lineup { systems, setup: setup(matches) }
}

const ALL: &str = "all";

fn which(default: &'static str) -> Arg {
    let parse = |name: &str| {
        let known = name == ALL || System::parse(name).is_some();
        let names = || System::ALL.map(System::name).join(", ");
        known.then(|| name.to_owned()).ok_or_else(|| format!("one of {ALL}, {}", names()))
    };
    argument("systems", default, "What to measure, in turn, or `all`; what is not installed is left out", parse)
        .value_name("NAME,…")
        .value_delimiter(',')
}

fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
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

fn real(name: &'static str, default: &'static str, help: &'static str, least: f64, most: f64) -> Arg {
    let parse = move |text: &str| {
        let number = text.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("a number from {least} to {most}"))
    };
    argument(name, default, help, parse)
}

fn seconds(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    real(name, default, help, 0.0, 86_400.0).value_name("SECONDS")
}

fn rate(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    real(name, default, help, 0.1, 1e6).value_name("N")
}

fn value_bytes(default: &'static str) -> Arg {
    let parse = |text: &str| {
        let bytes = positive(text)?;
        let enough = (bytes >= Values::LEN_BYTES_MIN).then_some(bytes);
        enough.ok_or_else(|| format!("at least {}: a value tells when it was sent", Values::LEN_BYTES_MIN))
    };
    argument("value-bytes", default, "Bytes of a message's value", parse).value_name("N")
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

    #[test]
    fn each_system_is_found_by_its_name() {
        for system in System::ALL {
            assert_eq!(System::parse(system.name()), Some(system));
            assert!(system.fans_out() || system.is_durable(), "{system:?}");
        }
    }
}

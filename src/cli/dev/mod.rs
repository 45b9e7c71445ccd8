//! `repl dev`: a cluster on this machine, to try things out: what a page does when a node dies, for example.
//!
//! Its nodes are processes like any others, on fixed ports, so that one that was killed comes back where it was. What
//! happens is told a line each; keys kill nodes, start them again, and add new ones.

mod keys;
mod member;
mod watch;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use tokio::runtime::Builder;

use self::keys::Key;
use self::member::Member;
use self::watch::Watch;
use super::{command, signal};

/// Nodes: their numbers are keys.
const NODES_MAX: u16 = 9;

/// Between the ports of two nodes. Each has two, one for clients and the next one for nodes.
const PORTS_APART: u16 = 10;

const AFTER_HELP: &str = "\
Keys:
  1-9  kill that node as a crash would (SIGKILL), or start it again
  a    add a node
  q    stop all, and remove their data

Where standard input is no terminal, the same letters are read from it. Words behind -- are for every node:

  repl dev --nodes 5 -- --auto-create --cors-origin http://localhost:5173";

/// The grammar of `repl dev`.
pub(super) fn command() -> Command {
    Command::new("dev")
        .about("Run a cluster on this machine, to try things out")
        .after_help(AFTER_HELP)
        .args(command::common_hidden())
        .arg(
            Arg::new("nodes")
                .long("nodes")
                .value_name("NUMBER")
                .help("Nodes to begin with")
                .default_value("3")
                .value_parser(value_parser!(u16).range(1..=i64::from(NODES_MAX))),
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .help("Where the first node serves clients; each further one 10 above")
                .default_value("7375")
                .value_parser(value_parser!(u16).range(1..=i64::from(u16::MAX - NODES_MAX * PORTS_APART))),
        )
        .arg(Arg::new("words").value_name("OPTIONS").help("Options for every node").num_args(0..).last(true))
}

/// What happens.
enum Event {
    /// A node has something to say that somebody should know.
    Says {
        node: u16,
        text: String,
    },
    /// A node serves.
    Serves {
        node: u16,
    },
    /// A node's process has ended.
    Ended {
        node: u16,
    },
    /// The cluster has changed, in words.
    Changed(String),
    Key(Key),
    /// A signal.
    Stop,
}

/// Runs a cluster until it is told to stop.
///
/// # Errors
/// It can't be started.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<String> {
    let because = "its nodes have directories of their own, which go when it ends";
    command::refuse_common(matches, "repl dev", because)?;
    let number = |name: &str| matches.get_one::<u16>(name).copied().context("it has a default");
    let words: Vec<OsString> = matches.get_many::<String>("words").unwrap_or_default().map(OsString::from).collect();
    let directory = tempfile::Builder::new().prefix("repl-dev-").tempdir().context("can't make a directory")?;
    let (events, happened) = mpsc::channel();
    let mut cluster = Cluster {
        directory: directory.path().to_owned(),
        program: std::env::current_exe().context("can't find this program")?,
        port: number("port")?,
        words,
        watch: Watch::start(events.clone()),
        nodes: Vec::new(),
        wanted: number("nodes")?,
        events: events.clone(),
    };
    listen_for_stop(events.clone())?;
    let _raw = keys::listen(events);
    let done = cluster.run(&happened);
    drop(cluster);
    done.map(|()| String::new())
}

fn listen_for_stop(events: Sender<Event>) -> anyhow::Result<()> {
    let stop = signal::listen().context("can't listen for signals")?.stop;
    let runtime = Builder::new_current_thread().build()?;
    std::thread::Builder::new().name("stop".to_owned()).spawn(move || {
        runtime.block_on(stop);
        let _ = events.send(Event::Stop);
    })?;
    Ok(())
}

struct Cluster {
    directory: PathBuf,
    program: PathBuf,
    /// Of the first node.
    port: u16,
    words: Vec<OsString>,
    watch: Watch,
    nodes: Vec<Member>,
    /// Nodes to be started, one when the last one serves: so their ids are their numbers.
    wanted: u16,
    events: Sender<Event>,
}

impl Cluster {
    fn run(&mut self, happened: &Receiver<Event>) -> anyhow::Result<()> {
        say(&format!("data in {}; q stops, 1-9 kill a node or start it again, a adds one", self.directory.display()));
        self.start_next()?;
        while let Ok(event) = happened.recv() {
            match event {
                Event::Stop | Event::Key(Key::Quit) => break,
                Event::Key(Key::Node(number)) => self.toggle(number)?,
                Event::Key(Key::Add) if self.wanted < NODES_MAX => {
                    self.wanted += 1;
                    self.start_next()?;
                }
                Event::Key(Key::Add) => say(&format!("{NODES_MAX} nodes are all there can be")),
                Event::Serves { node } => {
                    if let Some(member) = self.member(node) {
                        member.has_served = true;
                        let url = member.url();
                        say(&format!("node {node} serves at {url}"));
                    }
                    self.start_next()?;
                }
                Event::Ended { node } => self.ended(node)?,
                Event::Says { node, text } => say(&format!("node {node}: {text}")),
                Event::Changed(text) => say(&text),
            }
        }
        say("stopping");
        for node in &mut self.nodes {
            node.ask_to_stop();
        }
        Ok(())
    }

    /// Starts another node, if there is to be one and all others serve.
    fn start_next(&mut self) -> anyhow::Result<()> {
        let number = u16::try_from(self.nodes.len()).unwrap_or(NODES_MAX) + 1;
        if number > self.wanted || self.nodes.iter().any(|node| node.is_running() && !node.has_served) {
            return Ok(());
        }
        let port = |number: u16| self.port + (number - 1) * PORTS_APART;
        let directory = self.directory.join(format!("node{number}"));
        let mut member = Member::new(number, port(number), directory);
        // Any other could be the one that was killed.
        let running = self.nodes.iter().find(|node| node.is_running()).map_or(1, |node| node.number);
        let join = format!("127.0.0.1:{}", port(running) + 1);
        let role: Vec<OsString> =
            if number == 1 { vec!["--bootstrap".into()] } else { vec!["--join".into(), join.into()] };
        member.words = [role, self.words.clone()].concat();
        member.start(&self.program, &self.events)?;
        self.watch.also(member.socket());
        self.nodes.push(member);
        Ok(())
    }

    fn toggle(&mut self, number: u16) -> anyhow::Result<()> {
        let (program, events) = (self.program.clone(), self.events.clone());
        match self.member(number) {
            None => say(&format!("there is no node {number}")),
            Some(member) if member.is_running() => {
                say(&format!("killing node {number}"));
                member.kill();
            }
            Some(member) => member.start(&program, &events)?,
        }
        Ok(())
    }

    fn ended(&mut self, number: u16) -> anyhow::Result<()> {
        if let Some(member) = self.member(number) {
            let how = member.wait();
            if !member.has_served {
                bail!("node {number} did not start ({how}); see above");
            }
            say(&format!("node {number} has ended: {how}"));
        }
        Ok(())
    }

    fn member(&mut self, number: u16) -> Option<&mut Member> {
        self.nodes.iter_mut().find(|node| node.number == number)
    }
}

/// Tells people what happens.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody may be reading.
    let _ = writeln!(out, "{text}");
    if !out.is_terminal() {
        let _ = out.flush();
    }
}

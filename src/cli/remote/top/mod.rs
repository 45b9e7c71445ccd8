//! `repl top`: nodes and topics with what they are doing, each second, from the source of the console.

mod keys;
mod load;
mod picture;

use std::io::{self, IsTerminal};
use std::pin::pin;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use self::keys::Key;
use self::load::Load;
use self::picture::Look;
use crate::cli::admin::member;
use crate::cli::output::{self, is_json};
use crate::cli::terminal::{Raw, Screen};
use crate::client::{Client, ClientError, Server, Told};

/// For how many samples something new is told.
const NOTICE_SAMPLES: usize = 5;

const AFTER_HELP: &str = "\
Keys: q ends it, the arrows up and down scroll the topics, left and right (or s) sort them by rate, messages, bytes, \
subscribers or name. When the server that is asked dies, the next one is asked: of those that --server names, and unless \
a token is shown, of the other nodes of the cluster.

It shows what the console shows, so where nodes ask for tokens it takes one with `admin`. Where standard output is no \
terminal, it prints one picture and ends.";

/// The grammar of `repl top`.
pub(super) fn command() -> Command {
    Command::new("top")
        .about("Watch nodes and topics at work")
        .after_help(AFTER_HELP)
        .arg(Arg::new("once").long("once").action(ArgAction::SetTrue).help("Print one picture, and end"))
        .arg(
            Arg::new("topics")
                .long("topics")
                .value_name("NUMBER")
                .help("Print so many of the busiest topics")
                .default_value("20")
                .value_parser(value_parser!(u32)),
        )
        .arg(output::argument())
}

/// Shows it until it is told to stop. Answers what to print at the end.
///
/// # Errors
/// A server refuses, or none can be reached at the beginning.
pub(super) async fn run(matches: &ArgMatches, client: &Client) -> anyhow::Result<String> {
    if matches.get_flag("once") || is_json(matches) || !io::stdout().is_terminal() {
        let load = look_once(client).await?;
        let topics_max = matches.get_one::<u32>("topics").copied().unwrap_or(u32::MAX);
        let (sort, topics_max) = (load::Sort::default(), usize::try_from(topics_max).unwrap_or(usize::MAX));
        let document = load.document(sort, topics_max);
        return Ok(output::choose(matches, &document, || picture::text(&load, sort, topics_max)));
    }
    // In this order: keys that were pressed last belong to this screen.
    let raw = Raw::enter_with_all_keys();
    let screen = Screen::enter().context("the terminal can't be written to")?;
    let watched = Watch { client, screen, load: Load::default(), look: Look::default(), notice_left: 0 }.run().await;
    drop(raw);
    watched.map(|()| String::new())
}

/// Two samples of one server, so that there are rates.
async fn look_once(client: &Client) -> Result<Load, ClientError> {
    let (mut feed, mut load) = (client.feed(), Load::default());
    while !load.has_rates() {
        if let Told::Sample(sample) = feed.next().await? {
            learn(client, &sample);
            load.take(sample);
        }
    }
    Ok(load)
}

/// Notes where else to ask.
fn learn(client: &Client, sample: &Value) {
    let nodes = member(member(sample, "cluster"), "nodes").as_array().into_iter().flatten();
    let urls = nodes.filter_map(|node| member(node, "clientUrl").as_str());
    client.learn(urls.filter_map(|url| Server::parse(url).ok()));
}

/// A live screen.
struct Watch<'a> {
    client: &'a Client,
    screen: Screen,
    load: Load,
    look: Look,
    /// Samples for which the notice is still shown.
    notice_left: usize,
}

impl Watch<'_> {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut keys = keys::listen();
        let (mut resized, mut terminated) = (signal(SignalKind::window_change())?, signal(SignalKind::terminate())?);
        let mut feed = self.client.feed();
        self.look.notice = Some(format!("asking {}", self.client.server()));
        loop {
            let mut next = pin!(feed.next());
            let told = loop {
                self.draw()?;
                tokio::select! {
                    told = &mut next => break told?,
                    Some(key) = keys.recv() => if !self.press(key) {
                        return Ok(());
                    },
                    _ = resized.recv() => {}
                    _ = terminated.recv() => return Ok(()),
                }
            };
            self.take(told);
        }
    }

    fn take(&mut self, told: Told) {
        let server = self.client.server().to_string();
        match told {
            Told::Sample(sample) => {
                learn(self.client, &sample);
                self.load.take(sample);
                if self.look.server != server {
                    self.look.notice = (!self.look.server.is_empty()).then(|| format!("now from {server}"));
                    self.notice_left = NOTICE_SAMPLES;
                    self.look.server = server;
                } else if self.notice_left == 0 {
                    self.look.notice = None;
                }
                self.notice_left = self.notice_left.saturating_sub(1);
            }
            Told::Away(error) => {
                let why = error.map_or_else(|| format!("{} has stopped", self.look.server), |error| error.to_string());
                self.look.notice = Some(format!("away: {why}; asking {server}"));
                self.notice_left = NOTICE_SAMPLES;
            }
        }
    }

    /// Answers whether to go on.
    fn press(&mut self, key: Key) -> bool {
        let look = &mut self.look;
        match key {
            Key::Quit => return false,
            Key::Up => look.skipped = look.skipped.saturating_sub(1),
            Key::Down => {
                let last = self.load.topics(look.sort).len().saturating_sub(1);
                look.skipped = (look.skipped + 1).min(last);
            }
            Key::Next => look.sort = look.sort.step(1),
            Key::Previous => look.sort = look.sort.step_back(),
        }
        true
    }

    fn draw(&self) -> io::Result<()> {
        self.screen.draw(&picture::screen(&self.load, &self.look, Screen::size()))
    }
}

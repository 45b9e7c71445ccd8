//! `repl sub`: follows topics, through whatever becomes of connections and servers.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use tokio::time::{Instant, sleep_until};

use super::TimeUp;
use super::lines::{Contact, print};
use crate::cli::output::is_json;
use crate::cli::report::tell;
use crate::client::{Client, Event, Message};

/// For people, and for programs that read lines.
const ON_A_TERMINAL: &str = "{time}  {topic}  {value}";
const PIPED: &str = "{id}\\t{topic}\\t{value}";

const AFTER_HELP: &str = "\
Examples:
  repl sub hello                          # what is published from now on
  repl sub hello --from earliest          # all that is kept, and then what is published
  repl sub --match 'orders:**' --tail 10  # the last ten of each topic first
  repl sub hello -n 1 --timeout 10s       # wait for one message
  repl sub hello --from earliest --exit-at-ready --output json >hello.jsonl

--format is any text with {id}, {topic}, {seq}, {time}, {type}, {headers} and {value} in it, \\n and \\t; each message ends \
with a new line, whether the text ends with \\n or not. --output json prints messages as servers send them, a line each. \
What is missing, and when no server can be reached, is told on standard error.";

/// The grammar of `repl sub`.
pub(super) fn command() -> Command {
    Command::new("sub")
        .about("Follow topics")
        .after_help(AFTER_HELP)
        .arg(Arg::new("topic").value_name("TOPIC…").help("Topics; they need not exist yet").action(ArgAction::Append))
        .arg(
            Arg::new("match")
                .long("match")
                .value_name("PATTERN…")
                .help("Topics whose names match: * is one level, a final ** all the rest")
                .action(ArgAction::Append),
        )
        .group(ArgGroup::new("selection").args(["topic", "match"]).multiple(true).required(true))
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("PLACE")
                .help("Where to begin: earliest, now, how long ago (10m), a time (RFC 3339) or behind an id")
                .default_value("now"),
        )
        .arg(
            Arg::new("tail")
                .long("tail")
                .value_name("NUMBER")
                .help("Begin with the last so many messages of each topic")
                .conflicts_with("from")
                .value_parser(value_parser!(u64).range(1..=1_000)),
        )
        .arg(
            Arg::new("count")
                .short('n')
                .long("count")
                .value_name("NUMBER")
                .help("End after so many messages")
                .value_parser(value_parser!(u64).range(1..)),
        )
        .arg(
            Arg::new("exit-at-ready")
                .long("exit-at-ready")
                .help("End once all that was kept has come")
                .action(ArgAction::SetTrue),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("TIME")
                .help("End after so long, with 7 if what --count or --exit-at-ready wait for has not come")
                .value_parser(super::duration),
        )
        .arg(Arg::new("format").long("format").value_name("TEXT").help("How to print a message"))
        .arg(
            Arg::new("output")
                .long("output")
                .value_name("FORMAT")
                .help("As --format says, or JSON")
                .default_value("text")
                .value_parser(["text", "json"])
                .conflicts_with("format"),
        )
}

/// Follows until it is told to stop. Prints as messages come.
///
/// # Errors
/// A server refuses, none can be reached at the beginning, or the time is up.
pub(super) async fn run(matches: &ArgMatches, client: &Client) -> anyhow::Result<String> {
    let timeout = matches.get_one::<Duration>("timeout").copied();
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let waits = matches.contains_id("count") || matches.get_flag("exit-at-ready");
    let time_up = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        done = follow(matches, client) => done.map(|()| String::new()),
        () = time_up => {
            if waits {
                Err(TimeUp(format!("not all that was waited for has come within {:?}", timeout.unwrap_or_default())).into())
            } else {
                Ok(String::new())
            }
        }
    }
}

async fn follow(matches: &ArgMatches, client: &Client) -> anyhow::Result<()> {
    let mut left = matches.get_one::<u64>("count").copied();
    let is_json = is_json(matches);
    let format = match matches.get_one::<String>("format") {
        Some(format) => format.as_str(),
        None if io::stdout().is_terminal() => ON_A_TERMINAL,
        None => PIPED,
    };
    let mut subscription = client.subscribe(query(matches));
    let mut contact = Contact::new("sub");
    loop {
        let event = subscription.next().await?;
        if !matches!(event, Event::Away(_)) {
            contact.is_there();
        }
        match event {
            Event::Message(message) => {
                print(&if is_json { message.json.clone() } else { formatted(format, &message) })?;
                left = left.map(|left| left - 1);
                if left == Some(0) {
                    return Ok(());
                }
            }
            Event::Ready if matches.get_flag("exit-at-ready") => return Ok(()),
            Event::Gap(reason, data) => tell("sub", &format!("messages are missing here ({reason}): {data}")),
            Event::Deleted(topic) => tell("sub", &format!("topic {topic} was deleted")),
            Event::Away(error) => contact.lost(error),
            Event::Ready | Event::Presence(_) => {}
        }
    }
}

/// The selection and the beginning, as the parameters of the route.
fn query(matches: &ArgMatches) -> Vec<(&'static str, String)> {
    let all = |name: &str| matches.get_many::<String>(name).unwrap_or_default().cloned();
    let topics = all("topic").map(|topic| ("topic", topic));
    let patterns = all("match").map(|pattern| ("match", pattern));
    let start = match matches.get_one::<u64>("tail") {
        Some(tail) => ("tail", tail.to_string()),
        None => ("after", all("from").next().unwrap_or_default()),
    };
    topics.chain(patterns).chain([start]).collect()
}

/// A message in the words of a format, without the end of its last line.
fn formatted(format: &str, message: &Message) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '\\']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let (mark, after) = match from.find('}').filter(|_| from.starts_with('{')) {
            Some(end) => from.split_at(end + 1),
            None => from.split_at(from.chars().take(2).map(char::len_utf8).sum()),
        };
        let _ = match mark {
            "{id}" => write!(text, "{}", message.id),
            "{topic}" => write!(text, "{}", message.topic),
            "{seq}" => write!(text, "{}", message.seq),
            "{time}" => write!(text, "{}", message.created_at),
            "{type}" => write!(text, "{}", message.kind.as_deref().unwrap_or_default()),
            "{headers}" => write!(text, "{}", message.headers),
            "{value}" => write!(text, "{}", message.value),
            "\\n" => writeln!(text),
            "\\t" => write!(text, "\t"),
            "\\\\" => write!(text, "\\"),
            other => write!(text, "{other}"),
        };
        rest = after;
    }
    text += rest;
    text.truncate(text.strip_suffix('\n').map_or(text.len(), str::len));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_text_with_parts_of_the_message() {
        let message: Message = serde_json::from_str(
            r#"{"id":"k-1","topic":"a:b","seq":2,"value":{"x": 1},"headers":{"h":"t"},"createdAt":"2026-11-21T00:00:00.000Z"}"#,
        )
        .expect("a message");
        let text = |format: &str| formatted(format, &message);
        assert_eq!(text("{id}\\t{topic} {seq}|{type}|{value}\\n"), "k-1\ta:b 2||{\"x\": 1}");
        assert_eq!(text("{seq}\\n\\n"), "2\n");
        assert_eq!(text("{time} {headers}"), "2026-11-21T00:00:00.000Z {\"h\":\"t\"}");
        assert_eq!(text("{what} {unclosed \\\\ \\é {"), "{what} {unclosed \\ \\é {");
        assert_eq!(text("plain"), "plain");
    }
}

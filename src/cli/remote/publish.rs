//! `repl pub`: publishes, each stored exactly once however often it has to be sent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{self, Receiver};
use uuid::Uuid;

use super::route;
use crate::cli::admin::member;
use crate::cli::exit::Misuse;
use crate::cli::output::{counted, is_json};
use crate::cli::report::tell;
use crate::client::{Client, ClientError, Method, Twice, header};
use crate::domain::json_error;

/// Of a batch, as servers take it.
const BATCH_LINES_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Lines that are read ahead.
const LINES_AHEAD: usize = 2 * BATCH_LINES_MAX;

const AFTER_HELP: &str = "\
Examples:
  repl pub hello '{\"text\": \"world\"}'
  echo 'a line of text' | repl pub hello --text
  tail -f access.log | repl pub logs --lines --text
  repl pub orders --jsonl <orders.jsonl     # {\"value\": …, \"type\"?, \"headers\"?, \"key\"?} a line

What is sent has a key (--key, or one that is made up), so that it is stored once even if it has to be sent again. With \
--lines and --jsonl, what is there at once is stored together or not at all, up to 1,000 lines.";

/// The grammar of `repl pub`.
pub(super) fn command() -> Command {
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    Command::new("pub")
        .about("Publish")
        .after_help(AFTER_HELP)
        .arg(Arg::new("topic").value_name("TOPIC").required(true).help("The topic to publish to"))
        .arg(
            Arg::new("value")
                .value_name("VALUE")
                .help("The message, as JSON; from standard input unless said")
                .conflicts_with_all(["file", "lines", "jsonl"]),
        )
        .arg(
            Arg::new("file")
                .long("file")
                .value_name("FILE")
                .help("Read a file instead of standard input")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(switch("text", "What is read is text, and not JSON"))
        .arg(switch("lines", "Each line is a message"))
        .arg(
            switch("jsonl", "Each line is a message with all that belongs to it")
                .conflicts_with_all(["lines", "text", "key", "type", "header"]),
        )
        .arg(
            Arg::new("key")
                .long("key")
                .value_name("KEY")
                .help("Store it once under this key, however often it is published")
                .conflicts_with("lines"),
        )
        .arg(Arg::new("type").long("type").value_name("NAME").help("The name of its event"))
        .arg(
            Arg::new("header")
                .long("header")
                .value_name("NAME=TEXT…")
                .help("Text that travels with it")
                .action(ArgAction::Append),
        )
        .arg(
            Arg::new("output")
                .long("output")
                .value_name("FORMAT")
                .help("How to print what was stored: its id, or all of it; of lines nothing, or a line each")
                .default_value("text")
                .value_parser(["text", "json"]),
        )
}

/// Publishes. Answers what to print.
///
/// # Errors
/// The input can't be used, or not all of it was stored.
pub(super) async fn run(matches: &ArgMatches, client: &Client) -> anyhow::Result<String> {
    let route = route(matches.get_one::<String>("topic").context("it is required")?);
    let template = Template::new(matches)?;
    if template.reading == Reading::Whole {
        let text = match matches.get_one::<String>("value") {
            Some(value) => value.clone(),
            None => {
                let mut text = String::new();
                input(matches)?.read_to_string(&mut text).context("the input can't be read")?;
                // Who types a line or lets echo make one doesn't mean its end.
                text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
            }
        };
        let message = template.message(&text)?;
        let stored = client
            .send(Method::POST, &route, Twice::Same, |request| {
                request.header(header::CONTENT_TYPE, "application/json").body(message.clone())
            })
            .await?;
        let id = member(&stored, "id").as_str().ok_or_else(|| ClientError::Garbled(client.server()))?;
        return Ok(if is_json(matches) { format!("{stored}\n") } else { format!("{id}\n") });
    }
    let mut lines = read_lines(input(matches)?);
    let mut published = 0;
    while let Some(batch) = next_batch(&mut lines, &template).await {
        let messages = batch.len();
        let stored = publish(client, &route, batch).await;
        let stored = stored.with_context(|| match published {
            0 => "nothing was published".to_owned(),
            _ => format!("{} published, and no more", counted(published, "message")),
        });
        let stored = stored?;
        published += messages;
        if is_json(matches) {
            let mut out = io::stdout().lock();
            stored.iter().try_for_each(|message| writeln!(out, "{message}")).context("the output can't be written")?;
        }
    }
    Ok(String::new())
}

async fn publish(client: &Client, route: &str, batch: Vec<Line>) -> anyhow::Result<Vec<Value>> {
    let refused = |number: u64| format!("line {number} can't be published");
    let (numbers, texts): (Vec<_>, Vec<_>) = batch.into_iter().map(|line| (line.number, line.text)).unzip();
    let mut body = String::new();
    for (number, text) in numbers.iter().zip(texts) {
        body += &text.with_context(|| refused(*number))?;
        body.push('\n');
    }
    let stored = client
        .send(Method::POST, route, Twice::Same, |request| {
            request.header(header::CONTENT_TYPE, "application/x-ndjson").body(body.clone())
        })
        .await;
    let mut stored = stored.map_err(|error| match error.line().and_then(|line| numbers.get(line.checked_sub(1)?)) {
        Some(number) => anyhow!(error).context(refused(*number)),
        None => anyhow!(error),
    })?;
    let messages = stored.get_mut("messages").and_then(Value::as_array_mut).map(std::mem::take);
    let all = messages.filter(|messages| messages.len() == numbers.len());
    Ok(all.ok_or_else(|| ClientError::Garbled(client.server()))?)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// All of the input is one message.
    Whole,
    /// A line is the value of a message.
    Values,
    /// A line is a message.
    Messages,
}

/// What messages are made of besides what is read.
#[derive(Debug)]
struct Template {
    reading: Reading,
    is_text: bool,
    key: Option<String>,
    rest: Map<String, Value>,
}

impl Template {
    fn new(matches: &ArgMatches) -> anyhow::Result<Self> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let mut rest = Map::new();
        if let Some(kind) = text("type") {
            rest.insert("type".to_owned(), kind.into());
        }
        let mut headers = Map::new();
        for header in matches.get_many::<String>("header").unwrap_or_default() {
            let (name, text) =
                header.split_once('=').ok_or_else(|| Misuse::new(format!("{header:?} is not NAME=TEXT")))?;
            headers.insert(name.to_owned(), text.into());
        }
        if !headers.is_empty() {
            rest.insert("headers".to_owned(), headers.into());
        }
        let reading = match (matches.get_flag("lines"), matches.get_flag("jsonl")) {
            (true, _) => Reading::Values,
            (_, true) => Reading::Messages,
            _ => Reading::Whole,
        };
        Ok(Self { reading, is_text: matches.get_flag("text"), key: text("key"), rest })
    }

    /// A message as it is sent. What was read stays as it was written, numbers of any length included.
    fn message(&self, text: &str) -> Result<String, Misuse> {
        if self.reading == Reading::Messages {
            return with_key(text);
        }
        let value = if self.is_text {
            Value::from(text).to_string()
        } else {
            let raw: &RawValue =
                serde_json::from_str(text).map_err(|error| no_json(&error, "; for text, say --text"))?;
            raw.get().to_owned()
        };
        let mut rest = self.rest.clone();
        rest.insert("key".to_owned(), self.key.clone().map_or_else(new_key, Value::from));
        let rest = json!(rest).to_string();
        Ok(format!("{{\"value\":{value},{}", rest.strip_prefix('{').unwrap_or_default()))
    }
}

/// A message, with a key behind what it has unless it has one.
fn with_key(text: &str) -> Result<String, Misuse> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|error| no_json(&error, ""))?;
    if members.get("key").is_some_and(|key| key.get() == "null") {
        return Err(Misuse::new("its key is null: leave it out, and one is made up"));
    }
    let text = text.trim_end();
    Ok(match text.strip_suffix('}').filter(|_| !members.contains_key("key")) {
        Some(text) => format!("{text}{}\"key\":{}}}", if members.is_empty() { "" } else { "," }, new_key()),
        None => text.to_owned(),
    })
}

fn no_json(error: &serde_json::Error, hint: &str) -> Misuse {
    let what = if error.is_data() { "no object of JSON" } else { "no JSON" };
    Misuse::new(format!("what was read is {what}: {}{hint}", json_error(error)))
}

/// Made up for one message.
fn new_key() -> Value {
    Uuid::new_v4().to_string().into()
}

fn input(matches: &ArgMatches) -> anyhow::Result<Box<dyn Read + Send>> {
    Ok(match matches.get_one::<PathBuf>("file") {
        Some(path) => Box::new(File::open(path).with_context(|| format!("{} can't be read", path.display()))?),
        None => {
            if io::stdin().is_terminal() {
                tell("pub", "reading what is typed; Ctrl-D ends it");
            }
            Box::new(io::stdin())
        }
    })
}

/// A line of the input.
struct Line {
    /// From 1 on.
    number: u64,
    /// What it says, or why that is not known.
    text: anyhow::Result<String>,
}

impl Line {
    /// The line as it is sent.
    fn into_message(self, template: &Template) -> Self {
        Self { text: self.text.and_then(|text| Ok(template.message(&text)?)), ..self }
    }

    fn len(&self) -> usize {
        self.text.as_ref().map_or(0, String::len)
    }
}

/// Reads in a thread of its own: nobody can be told when standard input has something.
fn read_lines(input: Box<dyn Read + Send>) -> Receiver<Line> {
    let (lines, read) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut input = BufReader::new(input);
        for number in 1.. {
            let mut line = Vec::new();
            let most = u64::try_from(BATCH_BYTES_MAX).unwrap_or(u64::MAX);
            let text = match input.by_ref().take(most).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(length) if length == BATCH_BYTES_MAX => Err(anyhow!("it is longer than any server takes")),
                Ok(_) => String::from_utf8(line).map_err(|_| anyhow!("it is not UTF-8")),
                Err(error) => Err(anyhow!("the input can't be read: {error}")),
            };
            let text = text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
            if text.as_ref().is_ok_and(String::is_empty) {
                continue;
            }
            let is_last = text.is_err();
            if lines.blocking_send(Line { number, text }).is_err() || is_last {
                return;
            }
        }
    });
    read
}

/// The next messages: the line that comes first, and what is there by then. What counts is how long they are as they are
/// sent: a line of text may be much shorter.
async fn next_batch(lines: &mut Receiver<Line>, template: &Template) -> Option<Vec<Line>> {
    let first = lines.recv().await?.into_message(template);
    let mut bytes = first.len();
    let mut batch = vec![first];
    while batch.len() < BATCH_LINES_MAX && bytes < BATCH_BYTES_MAX / 4 {
        let Ok(line) = lines.try_recv().map(|line| line.into_message(template)) else { break };
        bytes += line.len();
        batch.push(line);
    }
    Some(batch)
}

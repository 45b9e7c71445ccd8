//! `repl topic`: what topics there are, and what they are set to.

use std::slice;

use anyhow::Context;
use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::{Map, Value, json};

use super::route;
use crate::cli::admin::member;
use crate::cli::report::tell;
use crate::cli::{columns, output};
use crate::client::{Client, Method, Twice};
use crate::config::{self, Size};

/// The grammar of `repl topic`.
pub(super) fn command() -> Command {
    let name = || Arg::new("name").value_name("TOPIC").required(true).help("The topic's name");
    let settings = |command: Command| {
        let bound = |name: &'static str, value: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name(value).help(help)
        };
        command
            .arg(
                bound("max-messages", "NUMBER", "Keep so many messages; 0 keeps none").value_parser(value_parser!(u64)),
            )
            .arg(bound("max-bytes", "SIZE", "Keep so many bytes").value_parser(size))
            .arg(bound("max-age", "TIME", "Keep messages for so long").value_parser(super::duration))
            .arg(bound("presence", "BOOL", "Whether to know who reads it").value_parser(value_parser!(bool)))
            .arg(output::argument())
    };
    Command::new("topic")
        .about("List, create, change and delete topics")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("list")
                .about("List the topics that one may do something with")
                .arg(Arg::new("prefix").long("prefix").value_name("TEXT").help("Only those whose names begin so"))
                .arg(output::argument()),
        )
        .subcommand(settings(
            Command::new("create").about("Create a topic; it may be there already, with the same settings").arg(name()),
        ))
        .subcommand(Command::new("show").about("Show a topic").arg(name()).arg(output::argument()))
        .subcommand(settings(Command::new("set").about("Change what a topic is set to").arg(name())))
        .subcommand(Command::new("delete").about("Delete a topic with all its messages").arg(name()))
}

/// Does what `matches` ask for. Answers what to print.
///
/// # Errors
/// It was refused, or failed.
pub(super) async fn run(matches: &ArgMatches, client: &Client) -> anyhow::Result<String> {
    let (command, matches) = matches.subcommand().context("a command is required")?;
    let name = || matches.get_one::<String>("name").context("it is required");
    let topic = match command {
        "list" => return list(matches, client).await,
        "create" => {
            let mut body = settings(matches);
            body.insert("name".to_owned(), name()?.as_str().into());
            client.send(Method::POST, "/topics", Twice::Same, |request| request.json(&body)).await?
        }
        "set" => {
            let body = settings(matches);
            client.send(Method::PATCH, &route(name()?), Twice::Different, |request| request.json(&body)).await?
        }
        "delete" => {
            client.send(Method::DELETE, &route(name()?), Twice::Different, |request| request).await?;
            return Ok(String::new());
        }
        _ => client.send(Method::GET, &route(name()?), Twice::Same, |request| request).await?,
    };
    Ok(output::choose(matches, &topic, || table(slice::from_ref(&topic))))
}

async fn list(matches: &ArgMatches, client: &Client) -> anyhow::Result<String> {
    let prefix = matches.get_one::<String>("prefix").map_or("", String::as_str);
    let mut topics = Vec::new();
    let (mut after, mut anonymous) = (None, false);
    loop {
        let query: Vec<_> =
            [("prefix", prefix.to_owned())].into_iter().chain(after.map(|after| ("after", after))).collect();
        let mut page = client.send(Method::GET, "/topics", Twice::Same, |request| request.query(&query)).await?;
        if let Some(page) = page.get_mut("topics").and_then(Value::as_array_mut) {
            topics.append(page);
        }
        anonymous |= member(&page, "anonymous") == true;
        after = member(&page, "next").as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    if anonymous && topics.is_empty() {
        let advice = "--token-file, REPL_TOKEN or a context (repl context add) show one";
        tell("topic", &format!("no token was sent, and topics that need one are not listed: {advice}"));
    }
    Ok(output::choose(matches, &json!({ "topics": topics }), || table(&topics)))
}

fn table(topics: &[Value]) -> String {
    let headings = ["TOPIC", "MESSAGES", "BYTES", "NEXT", "SUBSCRIBERS", "KEEPS"].map(str::to_owned);
    let rows = topics.iter().map(|topic| {
        let text = |name: &str| match member(topic, name) {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let keeps = [("maxMessages", " messages"), ("maxBytes", " bytes"), ("maxAgeSeconds", " s")];
        let keeps = keeps.map(|(name, unit)| (member(member(topic, "retention"), name), unit));
        let keeps = keeps.into_iter().filter(|(bound, _)| !bound.is_null());
        let keeps = keeps.map(|(bound, unit)| format!("{bound}{unit}")).collect::<Vec<_>>().join(", ");
        [text("name"), text("messages"), text("bytes"), text("nextSeq"), text("subscribers"), keeps]
    });
    columns::table(&[headings].into_iter().chain(rows).collect::<Vec<_>>())
}

/// The settings that were named.
fn settings(matches: &ArgMatches) -> Map<String, Value> {
    let mut retention = Map::new();
    let mut bound = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            retention.insert(name.to_owned(), value.into());
        }
    };
    bound("maxMessages", matches.get_one::<u64>("max-messages").copied());
    bound("maxBytes", matches.get_one::<Size>("max-bytes").map(|size| size.bytes()));
    bound("maxAgeSeconds", matches.get_one::<std::time::Duration>("max-age").map(std::time::Duration::as_secs));
    let mut settings = Map::new();
    if !retention.is_empty() {
        settings.insert("retention".to_owned(), retention.into());
    }
    if let Some(presence) = matches.get_one::<bool>("presence") {
        settings.insert("presence".to_owned(), (*presence).into());
    }
    settings
}

fn size(text: &str) -> anyhow::Result<Size> {
    config::size(text).context("is not a number of bytes, such as 65536, 64KiB or 16MiB")
}

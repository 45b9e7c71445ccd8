//! `repl presence`: who reads a topic, where a user is, and who comes and goes.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use serde_json::{Value, json};

use super::lines::{Contact, print, separator};
use super::{encoded, route};
use crate::cli::admin::member;
use crate::cli::columns;
use crate::cli::output::{self, is_json};
use crate::client::{Client, Event, Method, Twice};

const AFTER_HELP: &str = "\
A topic has presence if it was created so (`repl topic create NAME --presence true`, or the node's --presence).

Examples:
  repl presence room:1             # who reads it now
  repl presence room:1 --follow    # and who comes and goes
  repl presence --user ada         # whether Ada is anywhere, and where";

/// The grammar of `repl presence`.
pub(super) fn command() -> Command {
    Command::new("presence")
        .about("Show who is there")
        .after_help(AFTER_HELP)
        .arg(Arg::new("topic").value_name("TOPIC").help("Who reads this topic"))
        .arg(Arg::new("user").long("user").value_name("USER").help("Where this user is"))
        .group(ArgGroup::new("whom").args(["topic", "user"]).required(true))
        .arg(
            Arg::new("follow")
                .long("follow")
                .action(ArgAction::SetTrue)
                .help("Go on with each change; as JSON, a line for each"),
        )
        .arg(output::argument())
}

/// Shows it, and follows if that was asked for. Answers what to print at the end.
///
/// # Errors
/// It was refused, or failed.
pub(super) async fn run(matches: &ArgMatches, client: &Client) -> anyhow::Result<String> {
    let of = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    match (of("topic"), of("user")) {
        (Some(topic), _) if matches.get_flag("follow") => follow(matches, client, ("presence", topic)).await,
        (_, Some(user)) if matches.get_flag("follow") => follow(matches, client, ("user", user)).await,
        (_, Some(user)) => {
            let route = format!("/users/{}/presence", encoded(user));
            let status = client.send(Method::GET, &route, Twice::Same, |request| request).await?;
            Ok(output::choose(matches, &status, || describe(&status)))
        }
        (topic, None) => {
            let roster = roster(client, topic.unwrap_or_default()).await?;
            Ok(output::choose(matches, &roster, || table(&roster)))
        }
    }
}

/// All members of a topic, of however many pages.
async fn roster(client: &Client, topic: &str) -> anyhow::Result<Value> {
    let route = format!("{}/presence", route(topic));
    let mut members = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let query: Vec<_> = after.iter().map(|after| ("after", after)).collect();
        let mut page = client.send(Method::GET, &route, Twice::Same, |request| request.query(&query)).await?;
        if let Some(page) = page.get_mut("members").and_then(Value::as_array_mut) {
            members.append(page);
        }
        after = member(&page, "next").as_str().map(str::to_owned);
        if after.is_none() {
            let version = member(&page, "version");
            return Ok(json!({ "topic": topic, "version": version, "count": members.len(), "members": members }));
        }
    }
}

fn table(roster: &Value) -> String {
    let members = member(roster, "members").as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = members.iter().map(|one| [text(one, "id"), text(one, "since"), data(one)]);
    let headings = ["MEMBER", "SINCE", "DATA"].map(str::to_owned);
    columns::table(&[headings].into_iter().chain(rows).collect::<Vec<_>>())
}

fn describe(status: &Value) -> String {
    let user = text(status, "id");
    if member(status, "online") != &Value::Bool(true) {
        return format!("{user} is away\n");
    }
    let topics = member(status, "topics").as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = topics.iter().map(|topic| [text(topic, "topic"), text(topic, "since")]);
    let headings = ["TOPIC", "SINCE"].map(str::to_owned);
    let table = columns::table(&[headings].into_iter().chain(rows).collect::<Vec<_>>());
    format!("{user} is online since {}\n\n{table}", text(status, "since"))
}

/// Prints changes until nobody reads them.
async fn follow(matches: &ArgMatches, client: &Client, whom: (&'static str, &str)) -> anyhow::Result<String> {
    let mut subscription = client.subscribe(vec![(whom.0, whom.1.to_owned())]);
    let (mut known, mut contact) = (Known::default(), Contact::new("presence"));
    loop {
        match subscription.next().await? {
            Event::Presence(change) => {
                contact.is_there();
                let lines = if is_json(matches) { vec![change.to_string()] } else { known.take(&change) };
                lines.iter().try_for_each(|line| print(line))?;
            }
            Event::Away(error) => contact.lost(error),
            Event::Message(_) | Event::Ready | Event::Gap(..) | Event::Deleted(_) => contact.is_there(),
        }
    }
}

/// Who is known to be there. A stream that begins anew tells all of it again, and here only what has changed is of interest.
#[derive(Debug, Default)]
struct Known {
    /// `None` until the first list has come.
    members: Option<BTreeMap<String, Value>>,
    version: u64,
}

impl Known {
    /// What there is to tell.
    fn take(&mut self, change: &Value) -> Vec<String> {
        if !member(change, "user").is_null() {
            let state = if member(change, "online") == &Value::Bool(true) { "online" } else { "away" };
            return vec![line(&[state, &text(change, "user"), &text(change, "since")])];
        }
        let all = |name: &str| member(change, name).as_array().map(Vec::as_slice).unwrap_or_default().iter();
        let version = member(change, "version").as_u64().unwrap_or_default();
        if member(change, "members").is_array() {
            let now: BTreeMap<_, _> = all("members").map(|one| (text(one, "id"), one.clone())).collect();
            let before = self.members.replace(now.clone());
            self.version = version;
            let Some(before) = before else { return now.values().map(|one| of_member("present", one)).collect() };
            let came = now.iter().filter(|(id, _)| !before.contains_key(*id)).map(|(_, one)| of_member("joined", one));
            let left = before.keys().filter(|id| !now.contains_key(*id)).map(|id| line(&["left", id]));
            return left.chain(came).collect();
        }
        // The list contains it.
        if version <= self.version {
            return Vec::new();
        }
        self.version = version;
        let members = self.members.get_or_insert_default();
        let mut lines = Vec::new();
        for (word, name) in [("joined", "joined"), ("changed", "updated")] {
            for one in all(name) {
                members.insert(text(one, "id"), one.clone());
                lines.push(of_member(word, one));
            }
        }
        for id in all("left").filter_map(Value::as_str) {
            members.remove(id);
            lines.push(line(&["left", id]));
        }
        lines
    }
}

fn of_member(word: &str, one: &Value) -> String {
    line(&[word, &text(one, "id"), &text(one, "since"), &data(one)])
}

fn line(parts: &[&str]) -> String {
    parts.join(separator()).trim_end().to_owned()
}

fn text(json: &Value, name: &str) -> String {
    member(json, name).as_str().unwrap_or_default().to_owned()
}

fn data(member_of_topic: &Value) -> String {
    match member(member_of_topic, "data") {
        Value::Null => String::new(),
        data => data.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_comes_again_tells_only_what_has_changed() {
        let one = |id: &str| json!({ "id": id, "since": "t" });
        let mut known = Known::default();
        let mut told = |change: Value| {
            let lines = known.take(&change);
            lines.iter().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(told(json!({ "version": 5, "members": [one("a"), one("b")] })), ["present a", "present b"]);
        assert!(told(json!({ "version": 5, "joined": [one("b")] })).is_empty(), "the list contains it");
        assert_eq!(told(json!({ "version": 6, "joined": [one("c")], "left": ["a"] })), ["joined c", "left a"]);
        assert_eq!(told(json!({ "version": 7, "updated": [one("c")] })), ["changed c"]);
        assert_eq!(told(json!({ "version": 9, "members": [one("b"), one("d")] })), ["left c", "joined d"]);
        assert_eq!(told(json!({ "user": "a", "online": true, "since": "t" })), ["online a"]);
        assert_eq!(told(json!({ "user": "a", "online": false })), ["away a"]);
    }
}

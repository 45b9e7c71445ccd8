//! A cluster for people.

use std::fmt::Write;

use anyhow::bail;
use serde_json::{Value, json};

use crate::cli::admin::member;
use crate::cli::columns;

/// Headings, and the members of a node in `/cluster` that stand below them.
const COLUMNS: [(&str, &str); 8] = [
    ("NODE", "id"),
    ("ROLE", "role"),
    ("STATE", "state"),
    ("LAG", "lag"),
    ("CONNECTIONS", "connections"),
    ("VERSION", "version"),
    ("CLIENTS", "clientUrl"),
    ("PEERS", "peerAddr"),
];

/// The nodes, a line each, and what their cluster could lose.
pub(super) fn table(cluster: &Value) -> String {
    format!("{}\n{}", columns::table(&rows(cluster)), summary(cluster))
}

fn rows(cluster: &Value) -> Vec<[String; COLUMNS.len()]> {
    let headings = COLUMNS.map(|(heading, _)| heading.to_owned());
    let rows = nodes(cluster).iter().map(|node| COLUMNS.map(|(_, name)| shown(node, name)));
    [headings].into_iter().chain(rows).collect()
}

/// Of a node that doesn't answer, no figures that may have changed since.
fn shown(node: &Value, name: &str) -> String {
    match name {
        "state" => fares(node),
        "connections" if member(node, "lag").is_null() => cell(&Value::Null),
        _ => cell(member(node, name)),
    }
}

/// A node's state, and since when it is down.
pub(in crate::cli) fn fares(node: &Value) -> String {
    let state = cell(member(node, "state"));
    match member(node, "silentMs").as_u64() {
        Some(silent_ms) if state == "down" => format!("down for {}", age(silent_ms / 1_000)),
        _ => state,
    }
}

fn summary(cluster: &Value) -> String {
    let (id, term) = (cell(member(cluster, "cluster")), member(cluster, "term"));
    let lines = [format!("cluster {id}, term {term}: {}", outlook(cluster))].into_iter().chain(advice(cluster));
    lines.map(|line| line + "\n").collect()
}

/// What to do about each node that is down. One can be removed only as long as most voters are there to agree.
pub(in crate::cli) fn advice(cluster: &Value) -> impl Iterator<Item = String> {
    let is_down = |node: &Value| member(node, "state") == "down";
    let voters = voters(cluster);
    let left = voters.iter().filter(|voter| !is_down(voter)).count();
    let is_stuck = left < majority(voters.len());
    let down = nodes(cluster).iter().filter(move |node| is_down(node)).map(|node| member(node, "id"));
    let each = down.map(move |id| match is_stuck {
        true => format!("node {id} is down: start it again"),
        false => format!("node {id} is down: start it again, or `repl cluster remove {id}` if it is gone for good"),
    });
    let last =
        "most voters are down, so that none can be removed: if they are gone for good, see `repl recover --help`";
    each.chain(is_stuck.then(|| last.to_owned()))
}

/// A time span as people say it.
fn age(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60)];
    let (unit, size) = units.into_iter().find(|(_, size)| seconds >= *size).unwrap_or(("s", 1));
    format!("{} {unit}", seconds / size)
}

/// What the cluster could lose and still write.
pub(in crate::cli) fn outlook(cluster: &Value) -> String {
    let voters = voters(cluster);
    let up = voters.iter().filter(|node| member(node, "state") == "up").count();
    let majority = majority(voters.len());
    match up.checked_sub(majority) {
        None => format!("{up} of {} voters are up, and {majority} are needed to write", voters.len()),
        Some(0) => format!("{up} of {} voters are up; without one of them nothing is written", voters.len()),
        Some(spare) => format!("{up} of {} voters are up; writes go on without {spare} of them", voters.len()),
    }
}

fn voters(cluster: &Value) -> Vec<&Value> {
    nodes(cluster).iter().filter(|node| member(node, "role") != "learner").collect()
}

/// How many of so many voters decide.
fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// Whether all nodes hold the same.
///
/// # Errors
/// They don't, or it is not known of all of them; the error says what is.
pub(super) fn verdict(verification: &Value) -> anyhow::Result<String> {
    let nodes = nodes(verification);
    let entry = member(verification, "entry");
    let mut text = String::new();
    for node in nodes {
        let digest = member(node, "digest");
        let digest = digest.as_str().unwrap_or("not compared: it does not answer, or is far behind");
        let _ = writeln!(text, "node {}  {digest}", member(node, "id"));
    }
    let difference = member(verification, "difference");
    if let Some([one, other]) = member(difference, "nodes").as_array().map(Vec::as_slice) {
        let place = match (member(difference, "topic"), member(difference, "position")) {
            (Value::Null, _) => "in no topic that is still there".to_owned(),
            (topic, Value::Null) => format!("first in the settings, the keys or evicted messages of topic {topic}"),
            (topic, position) => format!("first in topic {topic}, at position {position}"),
        };
        bail!("nodes {one} and {other} don't hold the same at entry {entry}: they differ {place}\n{text}");
    }
    if member(verification, "equal") == &Value::Bool(true) {
        return Ok(format!("all nodes hold the same at entry {entry}\n{text}"));
    }
    bail!("not all nodes could be compared at entry {entry}\n{text}")
}

/// How to start one more node of this cluster, and what it becomes.
pub(super) fn how_to_join(cluster: &Value, learner: bool) -> (Value, String) {
    let nodes = nodes(cluster);
    let own = nodes.iter().find(|node| member(node, "id") == member(cluster, "node"));
    let peer = own.map(|node| cell(member(node, "peerAddr"))).unwrap_or_default();
    let voters = voters(cluster).len();
    let becomes = match (learner, voters) {
        (true, _) => "It reads along, until `repl cluster promote` gives it a vote.",
        (false, ..5) => "It votes once it has caught up.",
        (false, _) => "As many nodes vote as may: it reads along until one of them is removed.",
    };
    let line = format!("repl --join {peer}{}", if learner { " --learner" } else { "" });
    let text = format!(
        "Start the node with an empty data directory, and the others' --cluster-secret-file if they have one:\n\n  \
         {line}\n\n{becomes} The line starts it for good: it has no effect on a node that has joined.\n"
    );
    (json!({ "command": line, "votes": !learner && voters < 5 }), text)
}

fn nodes(cluster: &Value) -> &[Value] {
    member(cluster, "nodes").as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A value as people read it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(states: &[&str]) -> Value {
        let node = |(number, state): (usize, &&str)| {
            let lag = (*state == "up").then_some(0);
            let silent_ms = (*state == "down").then_some(125_000);
            let role = if number == 0 { "leader" } else { "follower" };
            json!({
                "id": number + 1, "role": role, "clientUrl": "http://a:7375", "peerAddr": "a:7376", "state": state,
                "silentMs": silent_ms, "lag": lag, "connections": 12, "version": if lag.is_some() { "1.2.3" } else { "" },
            })
        };
        let nodes: Vec<Value> = states.iter().enumerate().map(node).collect();
        json!({ "cluster": "c", "node": 1, "leader": 1, "term": 3, "nodes": nodes })
    }

    #[test]
    fn a_cluster_is_a_table_and_what_it_could_lose() {
        let text = |states| columns::aligned(&rows(&cluster(states))) + &summary(&cluster(states));
        assert_eq!(
            text(&["up", "up", "down"]),
            "\
NODE  ROLE      STATE           LAG  CONNECTIONS  VERSION  CLIENTS        PEERS
1     leader    up              0    12           1.2.3    http://a:7375  a:7376
2     follower  up              0    12           1.2.3    http://a:7375  a:7376
3     follower  down for 2 min  -    -            -        http://a:7375  a:7376
cluster c, term 3: 2 of 3 voters are up; without one of them nothing is written
node 3 is down: start it again, or `repl cluster remove 3` if it is gone for good
"
        );
        let ages = [0, 59, 60, 7_199, 86_399, 200_000].map(age);
        assert_eq!(ages, ["0 s", "59 s", "1 min", "1 h", "23 h", "2 d"]);
        assert!(text(&["up", "down", "down"]).ends_with(
            "\
cluster c, term 3: 1 of 3 voters are up, and 2 are needed to write
node 2 is down: start it again
node 3 is down: start it again
most voters are down, so that none can be removed: if they are gone for good, see `repl recover --help`
"
        ));
        assert!(text(&["up", "up", "up"]).contains("writes go on without 1 of them"));
    }

    #[test]
    fn who_wants_to_add_a_node_is_told_how_to_start_it() {
        let (document, text) = how_to_join(&cluster(&["up"]), false);
        assert!(text.contains("  repl --join a:7376\n\nIt votes"));
        assert_eq!(document, json!({ "command": "repl --join a:7376", "votes": true }));
        let (_, text) = how_to_join(&cluster(&["up"]), true);
        assert!(text.contains("  repl --join a:7376 --learner\n\nIt reads along"));
        let (document, text) = how_to_join(&cluster(&["up"; 5]), false);
        assert!(document["votes"] == false && text.contains("until one of them is removed"));
    }
}

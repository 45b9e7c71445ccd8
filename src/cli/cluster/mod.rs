//! `repl cluster`: what operators see of a cluster and order of it, by way of a node's admin socket.
//!
//! A thin client. What is asked, refused and answered is the node's affair; this prints it. There is no `add` that
//! registers a node in advance, as etcd has it: here as with CockroachDB, Redpanda and Consul nodes come by themselves
//! (`--join`) and are allotted an id, so there is nothing that could be registered wrong, and nothing to undo if the
//! node never comes. `repl cluster add` tells how to start one.

mod table;

pub(super) use table::{advice, fares, outlook};

use std::ffi::OsString;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use super::admin::{Admin, Answer, member};
use super::output::{self, Done};
use super::{command, exit};
use crate::config;

const AFTER_HELP: &str = "\
It speaks to one node, through the socket in its data directory: --data-dir says which. Any node takes any order.";

/// The grammar of `repl cluster`.
pub(super) fn command() -> Command {
    let node = |help: &'static str| Arg::new("node").value_name("NODE").help(help).value_parser(value_parser!(u64));
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    Command::new("cluster")
        .about("Look at a cluster and change it, through one of its nodes")
        .after_help(format!("{AFTER_HELP}\n\n{}", exit::help(&[exit::UNREACHABLE])))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("status").about("Show the nodes and how they fare"))
        .subcommand(Command::new("verify").about("Compare what all nodes hold, at one entry of the log"))
        .subcommand(
            Command::new("add")
                .about("Tell how to start one more node: nodes join by themselves")
                .arg(switch("learner", "It shall read along without a vote")),
        )
        .subcommand(Command::new("promote").about("Give a learner a vote").arg(node("The learner's id").required(true)))
        .subcommand(
            Command::new("remove")
                .about("Remove a node for good, whether it runs or not; its id is never used again")
                .arg(node("The node's id").required(true))
                .arg(switch("force", "Even if the rest has no majority that answers: nothing is written until it has")),
        )
        .subcommand(
            Command::new("transfer-leader")
                .about("Let another node lead")
                .arg(node("The voter that is to lead; the one that is furthest, unless said")),
        )
        .subcommand(Command::new("rebalance").about("Move streams from nodes that have more than their share"))
        .subcommand(
            Command::new("drain")
                .about("Send a node's clients elsewhere and stop it, as SIGTERM does")
                .arg(node("The node's id; the node that is spoken to, unless said")),
        )
        .mut_subcommands(|command| command.arg(output::argument()))
}

/// Does what `matches` ask for. Answers what to print.
///
/// # Errors
/// It was refused, or failed.
pub(super) fn run(
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Done> {
    let (name, matches) = matches.subcommand().context("a command is required")?;
    let settings = config::load(command::flags(matches), environment)?.settings;
    let admin = Admin::new(settings.admin_socket_path())?;
    let node = || matches.try_get_one::<u64>("node").ok().flatten().copied();
    let is_set = |name: &str| matches.try_get_one::<bool>(name).ok().flatten().is_some_and(|set| *set);
    let status = || admin.get("/cluster");
    let (document, text) = match (name, node()) {
        ("add", _) => table::how_to_join(&status()?.json, is_set("learner")),
        ("verify", _) => {
            let Answer { text, json } = admin.post("/cluster/verify", &json!({}))?;
            let verdict = table::verdict(&json);
            if output::is_json(matches) {
                let code = if verdict.is_ok() { exit::DONE } else { exit::FAILED };
                return Ok(Done { text: text + "\n", code });
            }
            (json, verdict?)
        }
        ("promote", Some(node)) => {
            admin.post(&format!("/cluster/nodes/{node}/promote"), &json!({}))?;
            (json!({ "node": node }), format!("node {node} votes\n"))
        }
        ("remove", Some(node)) => {
            admin.delete(&format!("/cluster/nodes/{node}?force={}", is_set("force")))?;
            (json!({ "node": node }), format!("node {node} is removed; if it still runs, it stops by itself\n"))
        }
        ("transfer-leader", to) => {
            admin.post("/cluster/leader", &json!({ "to": to }))?;
            let status = status()?.json;
            let leader = member(&status, "leader");
            let text = match leader {
                Value::Null => "nobody leads at the moment\n".to_owned(),
                leader => format!("node {leader} leads\n"),
            };
            (json!({ "leader": leader }), text)
        }
        ("rebalance", _) => {
            admin.post("/cluster/rebalance", &json!({}))?;
            let text = "nodes that have more than their share send streams elsewhere; see `repl cluster status`\n";
            (json!({}), text.to_owned())
        }
        ("drain", node) => {
            let node = match node {
                Some(node) => node.into(),
                None => member(&status()?.json, "node").clone(),
            };
            admin.post(&format!("/cluster/nodes/{node}/drain"), &json!({}))?;
            (json!({ "node": node }), format!("node {node} sends its clients elsewhere, and stops\n"))
        }
        _ => {
            let Answer { text, json } = status()?;
            return Ok(output::choose(matches, &text, || table::table(&json)).into());
        }
    };
    Ok(output::choose(matches, &document, || text).into())
}

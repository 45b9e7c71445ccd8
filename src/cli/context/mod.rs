//! `repl context`: names for clusters, with where each is reached and who asks, kept for the person at this terminal.

mod file;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

pub(super) use self::file::{Context, Contexts, Environment, path};
use super::exit::Misuse;
use super::output::{self, Done};
use super::{columns, command, exit, remote};
use crate::client::Server;

const AFTER_HELP: &str = "\
Commands that speak to servers (pub, sub, topic, presence, check, top) ask --server; unless said, the context that \
--context names, then REPL_SERVER, then the context that REPL_CONTEXT names, then the one in use. Contexts are in \
$XDG_CONFIG_HOME/repl/contexts.toml or ~/.config/repl/contexts.toml, which only you can read.

Examples:
  repl context add prod --server https://repl.example.com --token-file ~/prod.token
  repl context use prod
  repl topic list --context local";

/// The grammar of `repl context`.
pub(super) fn command() -> Command {
    let name = || Arg::new("name").value_name("NAME").help("The context's name");
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    Command::new("context")
        .about("Keep names for clusters")
        .after_help(format!("{AFTER_HELP}\n\n{}", exit::help(&[])))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(command::common_hidden())
        .subcommand(
            Command::new("add")
                .about("Add a context; the first one is in use from then on")
                .arg(name().required(true))
                .arg(remote::server_argument().required(true))
                .arg(remote::token_file_argument().help("A file that holds the token to show; it is read each time"))
                .arg(
                    switch("token-stdin", "Keep the token that is read from standard input")
                        .conflicts_with("token-file"),
                )
                .arg(remote::ca_file_argument())
                .arg(switch("replace", "Replace the context of this name")),
        )
        .subcommand(Command::new("use").about("Use a context from now on").arg(name().required(true)))
        .subcommand(Command::new("list").about("List the contexts").arg(output::argument()))
        .subcommand(
            Command::new("show")
                .about("Show a context, the one in use unless said")
                .arg(name())
                .arg(output::argument()),
        )
        .subcommand(Command::new("remove").about("Remove a context").arg(name().required(true)))
}

/// Does what `matches` ask for.
///
/// # Errors
/// There is no such context, or the file can't be used.
pub(super) fn run(
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Done> {
    command::refuse_common(matches, "repl context", "it is about servers, and no node (--server)")?;
    let path = path(&environment.into_iter().collect());
    let path = path.ok_or_else(|| Misuse::new("neither XDG_CONFIG_HOME nor HOME says where contexts are kept"))?;
    let (command, matches) = matches.subcommand().context("a command is required")?;
    let name = matches.try_get_one::<String>("name").ok().flatten();
    let required = name.map(String::as_str).context("it is required");
    let text = match command {
        "add" => {
            let (name, context) = (new_name(required?)?, given(matches)?);
            Contexts::change(&path, |contexts| add(contexts, name, context, matches.get_flag("replace")))?
        }
        "use" => Contexts::change(&path, |contexts| select(contexts, required?))?,
        "remove" => Contexts::change(&path, |contexts| remove(contexts, required?))?,
        "show" => {
            let contexts = Contexts::read(&path)?;
            show(&contexts, name.or(contexts.current.as_ref()), matches)?
        }
        _ => list(&Contexts::read(&path)?, matches),
    };
    Ok(text.into())
}

fn new_name(name: &str) -> Result<&str, Misuse> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(Misuse::new(format!("{name:?} is no name: letters, digits, - _ and . make one")));
    }
    Ok(name)
}

/// The context that the command line describes.
fn given(matches: &ArgMatches) -> anyhow::Result<Context> {
    let servers: Vec<String> = matches.get_many("server").unwrap_or_default().cloned().collect();
    for server in &servers {
        Server::parse(server.trim()).map_err(|error| Misuse::new(format!("{server:?} {error}")))?;
    }
    // Used from other directories later.
    let file = |name: &str| -> anyhow::Result<Option<PathBuf>> {
        let Some(path) = matches.get_one::<PathBuf>(name) else { return Ok(None) };
        fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
        Ok(Some(std::path::absolute(path)?))
    };
    let mut token = None;
    if matches.get_flag("token-stdin") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("the token can't be read")?;
        token = Some(text.trim().to_owned()).filter(|token| !token.is_empty());
        if token.is_none() {
            return Err(Misuse::new("there is no token on standard input").into());
        }
    }
    Ok(Context { servers, token, token_file: file("token-file")?, ca_file: file("ca-file")? })
}

fn add(contexts: &mut Contexts, name: &str, context: Context, replace: bool) -> anyhow::Result<String> {
    if contexts.contexts.contains_key(name) && !replace {
        return Err(Misuse::new(format!("there is a context {name:?} already: --replace replaces it")).into());
    }
    contexts.contexts.insert(name.to_owned(), context);
    let current = contexts.current.get_or_insert_with(|| name.to_owned());
    Ok(if current == name {
        format!("{name} is kept, and in use\n")
    } else {
        format!("{name} is kept; {current} is in use (repl context use {name})\n")
    })
}

fn select(contexts: &mut Contexts, name: &str) -> anyhow::Result<String> {
    contexts.get(name)?;
    contexts.current = Some(name.to_owned());
    Ok(format!("{name} is in use\n"))
}

fn remove(contexts: &mut Contexts, name: &str) -> anyhow::Result<String> {
    contexts.get(name)?;
    contexts.contexts.remove(name);
    let was_in_use = contexts.current.take_if(|current| current.as_str() == name).is_some();
    Ok(if was_in_use { format!("{name} is removed; no context is in use\n") } else { format!("{name} is removed\n") })
}

fn show(contexts: &Contexts, name: Option<&String>, matches: &ArgMatches) -> anyhow::Result<String> {
    let Some(name) = name else {
        return Err(Misuse::new("no context is in use: repl context use NAME, or repl context add").into());
    };
    let context = contexts.get(name)?;
    let text = || {
        let ca_file = context.ca_file.as_ref().map_or("-".to_owned(), |path| path.display().to_string());
        let rows = [("NAME", name.clone()), ("SERVERS", context.servers.join(",")), ("TOKEN", token(context))];
        let rows: Vec<_> =
            rows.into_iter().chain([("CA FILE", ca_file)]).map(|(is, what)| [is.to_owned(), what]).collect();
        columns::table(&rows)
    };
    Ok(output::choose(matches, &document(contexts, name, context), text))
}

fn list(contexts: &Contexts, matches: &ArgMatches) -> String {
    let all = &contexts.contexts;
    let documents: Vec<Value> = all.iter().map(|(name, context)| document(contexts, name, context)).collect();
    let text = || {
        let row = |(name, context): (&String, &Context)| {
            let used = if contexts.current.as_ref() == Some(name) { "*" } else { "" };
            [used.to_owned(), name.clone(), context.servers.join(","), token(context)]
        };
        let headings = ["USED", "NAME", "SERVERS", "TOKEN"].map(str::to_owned);
        columns::table(&[headings].into_iter().chain(all.iter().map(row)).collect::<Vec<_>>())
    };
    output::choose(matches, &json!({ "contexts": documents }), text)
}

/// Where the token is, and never what it is.
fn token(context: &Context) -> String {
    match (&context.token_file, &context.token) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(_)) => "kept".to_owned(),
        (None, None) => "-".to_owned(),
    }
}

fn document(contexts: &Contexts, name: &String, context: &Context) -> Value {
    json!({
        "name": name,
        "used": contexts.current.as_ref() == Some(name),
        "servers": context.servers,
        "hasToken": context.token.is_some() || context.token_file.is_some(),
        "tokenFile": context.token_file,
        "caFile": context.ca_file,
    })
}

//! Whom a command speaks to, and who asks: what the flags say, or else variables, or else a context.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ArgMatches;

use crate::cli::context::{self, Context, Contexts, Environment};
use crate::cli::exit::Misuse;
use crate::client::{Options, Server};

/// Where a stand-alone node serves, unless it was told otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7375";

/// What `matches` and the variables say, or the context that they name, or the one in use.
///
/// # Errors
/// What is said can't be used, or a file can't be read.
pub(super) fn options(
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Options> {
    let environment: Environment = environment.into_iter().collect();
    let flag = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let file = |name: &str| matches.get_one::<PathBuf>(name).map(PathBuf::as_path);
    let variable = |name: &str| variable(&environment, name);
    let (servers, context) = match (matches.get_many::<String>("server"), flag("context"), variable("REPL_SERVER")?) {
        (Some(servers), ..) => (servers.cloned().collect(), None),
        (None, None, Some(servers)) => (servers.split(',').map(str::to_owned).collect(), None),
        (None, name, _) => {
            let name = name.map(str::to_owned).map_or_else(|| variable("REPL_CONTEXT"), |name| Ok(Some(name)))?;
            let context = named(&environment, name.as_deref())?;
            let servers = context.as_ref().map(|context| context.servers.clone());
            (servers.unwrap_or_else(|| vec![DEFAULT_SERVER.to_owned()]), context)
        }
    };
    let Context { token: kept, token_file, ca_file, .. } = context.unwrap_or_default();
    // In a variable, since on the command line every user of the machine could read it.
    let token = match (file("token-file"), variable("REPL_TOKEN")?, token_file) {
        (Some(path), ..) => Some(read_token(path)?),
        (None, Some(token), _) => Some(token),
        (None, None, Some(path)) => Some(read_token(&path)?),
        (None, None, None) => kept,
    };
    let authorities = file("ca-file").or(ca_file.as_deref()).map(read).transpose()?;
    let parse = |text: &String| Server::parse(text.trim()).map_err(|error| Misuse::new(format!("{text:?} {error}")));
    Ok(Options {
        servers: servers.iter().map(parse).collect::<Result<_, _>>()?,
        token: token.map(|token| token.trim().to_owned()),
        authorities: authorities.unwrap_or_default(),
        patience: matches.get_one("patience").copied(),
    })
}

/// What a variable says. An empty one says nothing.
fn variable(environment: &Environment, name: &str) -> Result<Option<String>, Misuse> {
    let Some(value) = environment.get(OsStr::new(name)) else { return Ok(None) };
    let text = value.to_str().ok_or_else(|| Misuse::new(format!("{name} is not UTF-8")))?;
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// The context of this name, or the one in use.
fn named(environment: &Environment, name: Option<&str>) -> anyhow::Result<Option<Context>> {
    // Who has no home has no contexts.
    let contexts = context::path(environment).map(|path| Contexts::read(&path)).transpose()?.unwrap_or_default();
    Ok(match name {
        Some(name) => Some(contexts.get(name)?.clone()),
        None => contexts.current()?.cloned(),
    })
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    Ok(String::from_utf8(read(path)?).map_err(|_| Misuse::new(format!("{} holds no token", path.display())))?)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} can't be read", path.display()))
}

//! `repl token`: making tokens and looking at them. Nodes only verify; applications mostly sign with a library of their own.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::output::{self, Done};
use super::{command, exit, report};
use crate::auth::{ClaimError, NewToken, Policy, Principal, SigningKey};
use crate::config;
use crate::domain::{Bearer, JsonText, MemberData, Pattern, Timestamp};
use crate::server;

const AFTER_HELP: &str = "\
A pair of keys, of which nodes take the public one (--token-key-file public.pem):
  openssl genpkey -algorithm ed25519 -out private.pem
  openssl pkey -in private.pem -pubout -out public.pem

A secret, which nodes have to know as well (--token-secret-file secret):
  openssl rand -hex 32 >secret";

/// The settings that decide about a token.
const VERIFYING: [&str; 6] =
    ["token_key_file", "token_secret_file", "token_jwks_url", "token_audience", "token_issuer", "token_life_max"];

/// The grammar of `repl token`.
pub(super) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let file = |name: &'static str, help: &'static str| text(name, "FILE", help).value_parser(value_parser!(PathBuf));
    let patterns = |name: &'static str, help: &'static str| {
        text(name, "PATTERN…", help)
            .action(ArgAction::Append)
            .value_delimiter(',')
            .value_parser(|text: &str| Pattern::parse(text))
    };
    let life = |text: &str| config::duration(text).context("is not a time with its unit, such as 15m or 1h");
    let data = |text: &str| anyhow::Ok(MemberData::new(JsonText::parse(text)?)?);
    Command::new("token")
        .about("Make tokens and look at them")
        .after_help(format!("{AFTER_HELP}\n\n{}", exit::help(&[])))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("create")
                .about("Sign a token, and print it")
                .arg(file("key-file", "The private key to sign with, in PEM (PKCS #8)"))
                .arg(file("secret-file", "The secret to sign with (HS256)"))
                .group(ArgGroup::new("signer").args(["key-file", "secret-file"]).required(true))
                .arg(text("subject", "TEXT", "Whose token it is (sub)"))
                .arg(patterns("publish", "Topics to publish to; {sub} stands for the subject"))
                .arg(patterns("subscribe", "Topics to read"))
                .arg(patterns("manage", "Topics to create, change and delete"))
                .arg(patterns("presence", "Users of whom it may be seen where they are"))
                .arg(text("data", "JSON", "What others see of the subject where it is present").value_parser(data))
                .arg(
                    Arg::new("admin")
                        .long("admin")
                        .action(ArgAction::SetTrue)
                        .help("For an operator: metrics, revocations, the console"),
                )
                .arg(text("expires-in", "TIME", "How long it is good for").default_value("1h").value_parser(life))
                .arg(text("id", "TEXT", "By what it can be revoked (jti); made up unless said"))
                .arg(text("key-id", "TEXT", "Which key it is signed with (kid)"))
                .arg(text("audience", "TEXT", "Whom it is for (aud)"))
                .arg(text("issuer", "TEXT", "Who signs it (iss)"))
                .args(command::common_hidden()),
        )
        .subcommand(
            Command::new("verify")
                .about("Tell whether a node with these settings takes a token, and what it allows")
                .arg(Arg::new("token").value_name("TOKEN").help("The token; from standard input unless said"))
                .args(command::arguments(&VERIFYING))
                .arg(output::argument()),
        )
}

/// Does what `matches` ask for. Answers what to print.
///
/// # Errors
/// It can't be done, or the token is not accepted.
pub(super) fn run(
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Done> {
    match matches.subcommand().context("a command is required")? {
        ("create", matches) => create(matches).map(Done::from),
        (_, matches) => verify(matches, environment),
    }
}

fn create(matches: &ArgMatches) -> anyhow::Result<String> {
    command::refuse_common(matches, "repl token create", "a key is all that it needs")?;
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let patterns = |name: &str| matches.get_many::<Pattern>(name).into_iter().flatten().cloned().collect();
    let read = |path: &PathBuf| fs::read(path).with_context(|| format!("{} can't be read", path.display()));
    let (path, key) = match (matches.get_one::<PathBuf>("key-file"), matches.get_one::<PathBuf>("secret-file")) {
        (Some(path), _) => (path, SigningKey::from_pem(&read(path)?)),
        (None, Some(path)) => (path, SigningKey::from_secret(&read(path)?)),
        (None, None) => bail!("a key or a secret is required"),
    };
    let key = key.with_context(|| format!("{} can't be used", path.display()))?;
    let now = Timestamp::now();
    let life: Duration = matches.get_one("expires-in").copied().context("there is a default")?;
    let life_max = Policy::default().life_max;
    if life > life_max {
        let why = ClaimError::TooLong { max: life_max };
        report::tell("token", &format!("{why}: nodes refuse it, unless their --token-life-max is longer"));
    }
    let token = key.sign(&NewToken {
        key_id: text("key-id"),
        subject: text("subject"),
        token: text("id").or_else(|| Some(uuid::Uuid::new_v4().to_string())),
        audience: text("audience"),
        issuer: text("issuer"),
        issued_at: now,
        expires_at: now.plus(life),
        publish: patterns("publish"),
        subscribe: patterns("subscribe"),
        manage: patterns("manage"),
        presence: patterns("presence"),
        data: matches.get_one::<MemberData>("data").cloned(),
        admin: matches.get_flag("admin"),
    })?;
    Ok(token + "\n")
}

fn verify(matches: &ArgMatches, environment: impl IntoIterator<Item = (OsString, OsString)>) -> anyhow::Result<Done> {
    let settings = config::load(command::flags(matches), environment)?.settings;
    let mut token = matches.get_one::<String>("token").cloned().unwrap_or_default();
    if token.is_empty() {
        io::stdin().read_to_string(&mut token).context("the token can't be read")?;
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let authority = runtime.block_on(server::authority(&settings))?;
    let authority =
        authority.context("name what proves tokens: --token-key-file, --token-secret-file or --token-jwks-url")?;
    match authority.verify(token.trim(), Timestamp::now()).map_err(anyhow::Error::from) {
        Ok(principal) => Ok(output::choose(matches, &document(&principal), || describe(&principal)).into()),
        Err(error) if output::is_json(matches) => Ok(output::no("accepted", &[error])),
        Err(error) => Err(error),
    }
}

fn document(principal: &Principal) -> Value {
    let Principal { bearer: Bearer { subject, token, issued_at, ticket: _ }, expires_at, rights, data } = principal;
    let patterns = |patterns: &[Pattern]| patterns.iter().map(Pattern::as_str).collect::<Value>();
    let time = |time: &Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "accepted": true,
        "subject": subject,
        "id": token,
        "issued": time(issued_at),
        "expires": time(expires_at),
        "publish": patterns(&rights.publish),
        "subscribe": patterns(&rights.subscribe),
        "manage": patterns(&rights.manage),
        "presence": patterns(&rights.presence),
        "data": data.as_ref().map(MemberData::as_raw),
        "admin": rights.admin,
    })
}

fn describe(principal: &Principal) -> String {
    let Principal { bearer: Bearer { subject, token, issued_at, ticket: _ }, expires_at, rights, data } = principal;
    let mut text = "accepted\n".to_owned();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(text, "  {name:<10} {value}");
        }
    };
    let patterns = |patterns: &[Pattern]| Some(patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(" "));
    line("subject", subject.clone());
    line("id", token.clone());
    line("issued", issued_at.map(|at| at.to_string()));
    line("expires", expires_at.map(|at| at.to_string()));
    line("publish", patterns(&rights.publish));
    line("subscribe", patterns(&rights.subscribe));
    line("manage", patterns(&rights.manage));
    line("presence", patterns(&rights.presence));
    line("data", data.as_ref().map(|data| data.as_str().to_owned()));
    line("admin", rights.admin.then(|| "yes".to_owned()));
    text
}

//! `repl check`: whether somebody should look at the cluster, for monitors that run a command and take its exit code.

mod certificates;
mod verdict;

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use self::verdict::{Finding, Level, Thresholds, judge};
use crate::cli::admin::member;
use crate::cli::output::{self, Done};
use crate::client::{Certificates, Client, ClientError, Options, Server, TlsFault};

/// In place of the exit codes of other commands.
pub(super) const EXIT_CODES: &str = "\
Exit codes, as Nagios and its like have them:
  0  ok
  1  warning: a node is down, behind, or missing, or a certificate expires soon;
     clients don't notice
  2  critical: nothing is written, no server that was named serves, a certificate
     has expired, or what a --…-critical says
  3  unknown: the command line can't be used as it is, or the token may not see
     the cluster";

const AFTER_HELP: &str = "\
Asks each server whether it serves (/readyz: it has caught up, knows a leader, and its disk has room), and one of them \
how the cluster fares (/cluster). Looks at the certificate that each server shows, and at that of its nodes' port, which \
/metrics tells to a token with `admin`. Prints one line, what is measured behind a bar. A majority that is down is always \
critical.

Examples:
  repl check --server https://node1:7375,https://node2:7375,https://node3:7375
  repl check --nodes 3 --lag-critical 100000 --token-file /etc/monitor/token";

/// The grammar of `repl check`.
pub(super) fn command() -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("NUMBER").help(help).value_parser(value_parser!(u64))
    };
    Command::new("check")
        .about("Tell a monitor whether the cluster is well")
        .after_help(AFTER_HELP)
        .arg(number("lag-warning", "Warn of a node that is so many messages behind").default_value("1000"))
        .arg(number("lag-critical", "It is critical to be so many messages behind").default_value("10000"))
        .arg(number("down-warning", "Warn of so many nodes that don't answer").default_value("1"))
        .arg(number("down-critical", "It is critical if so many nodes don't answer"))
        .arg(number("nodes", "Warn if the cluster has fewer members"))
        .arg(number("certificate-warning", "Warn of a certificate that expires within so many days").default_value("7"))
        .arg(output::argument())
}

/// Answers what to print, whatever is wrong.
pub(super) fn run(matches: &ArgMatches, options: anyhow::Result<Options>) -> Done {
    let looked = options.and_then(|options| {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(look(matches, options))
    });
    let report = looked.unwrap_or_else(|error| Report {
        findings: vec![Finding::new(Level::Unknown, format!("{error:#}"))],
        measured: json!({}),
        thresholds: Thresholds::default(),
    });
    let level = report.level();
    Done { text: output::choose(matches, &report.document(), || report.line()), code: level.code() }
}

/// What was found.
struct Report {
    findings: Vec<Finding>,
    measured: Value,
    thresholds: Thresholds,
}

async fn look(matches: &ArgMatches, options: Options) -> anyhow::Result<Report> {
    let number = |name: &str| matches.get_one::<u64>(name).copied();
    let thresholds = Thresholds {
        lag_warning: number("lag-warning").unwrap_or(u64::MAX),
        lag_critical: number("lag-critical").unwrap_or(u64::MAX),
        down_warning: number("down-warning").unwrap_or(u64::MAX),
        down_critical: number("down-critical").unwrap_or(u64::MAX),
        nodes: number("nodes").unwrap_or(0),
        certificate_days: number("certificate-warning").unwrap_or(0),
    };
    if thresholds.lag_warning > thresholds.lag_critical || thresholds.down_warning > thresholds.down_critical {
        bail!("what is critical is less than what is worth a warning");
    }
    let of_one = |server| Client::new(Options { servers: vec![server], ..options.clone() });
    let clients = options.servers.iter().cloned().map(of_one).collect::<Result<Vec<_>, _>>()?;
    let now = Timestamp::now();
    let ready = join_all(clients.iter().map(|client| client.get_once("/readyz"))).await;

    // Who said nothing is not waited for once more.
    let speaks = |answer: &Result<Value, ClientError>| matches!(answer, Ok(_) | Err(ClientError::Problem { .. }));
    // One that serves knows more than one that is cut off.
    let speaking = clients.iter().zip(&ready).filter(|(_, answer)| speaks(answer));
    let (serve, others): (Vec<_>, Vec<_>) = speaking.partition(|(_, answer)| answer.is_ok());
    let mut cluster = Value::Null;
    let mut refusal = None;
    for (client, _) in serve.into_iter().chain(others) {
        match client.get_once("/cluster").await {
            Ok(view) if verdict::is_cluster(&view) => {
                cluster = view;
                break;
            }
            Ok(_) => refusal = refusal.or(Some(ClientError::Garbled(client.server()))),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }

    let is_operator = verdict::is_for_operator(&cluster);
    let look = async |(client, ready): (&Client, &Result<Value, ClientError>)| {
        if speaks(ready) { client.certificates(is_operator).await.unwrap_or_default() } else { Certificates::default() }
    };
    let shown = join_all(clients.iter().zip(&ready).map(look)).await;
    let mut findings = Vec::new();
    // One of several that doesn't serve is passed over by clients.
    let level = if ready.iter().any(Result::is_ok) { Level::Warning } else { Level::Critical };
    for ((client, answer), shown) in clients.iter().zip(&ready).zip(&shown) {
        let server = client.server();
        findings.extend(certificates::judge(&server, *shown, thresholds.certificate_days, now));
        let error = answer.as_ref().err();
        findings.extend(error.and_then(|error| judge_error(&server, error, level, &cluster, &thresholds)));
    }
    let mut measured = json!({});
    if !cluster.is_null() {
        findings.extend(judge(&cluster, &thresholds));
        measured = verdict::measure(&cluster);
    }
    if let (Some(refusal), Value::Null) = (refusal, cluster) {
        if findings.is_empty() {
            return Err(refusal).context("the cluster can't be seen");
        }
        findings.push(Finding::new(Level::Unknown, format!("the cluster can't be seen: {refusal}")));
    }
    if let Value::Object(measured) = &mut measured {
        measured.insert("certificateDays".to_owned(), certificates::days(&shown, now).into());
    }
    Ok(Report { findings, measured, thresholds })
}

/// What is wrong with a server that doesn't say that it is ready, unless that is found wrong with its cluster.
fn judge_error(
    server: &Server,
    error: &ClientError,
    level: Level,
    cluster: &Value,
    thresholds: &Thresholds,
) -> Option<Finding> {
    match error {
        error if error.tls_fault() == Some(TlsFault::Expired) => Some(certificates::expired(server)),
        ClientError::Problem { .. } => {
            (!verdict::lacks_majority(cluster)).then(|| Finding::new(level, format!("{server} is not ready: {error}")))
        }
        _ if verdict::tells_of(cluster, thresholds, &server.to_string()) => None,
        ClientError::Timeout(_) => Some(Finding::new(level, format!("{error} from {server}"))),
        _ => Some(Finding::new(level, error.to_string())),
    }
}

impl Report {
    /// The worst of what was found. What is known to be bad outweighs what is not known.
    fn level(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    fn document(&self) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|Finding { level, text }| json!({ "status": level.name(), "text": text }))
            .collect();
        json!({ "status": self.level().name(), "findings": findings, "measured": self.measured })
    }

    fn line(&self) -> String {
        let number = |name: &str| member(&self.measured, name).as_u64();
        let mut said: Vec<String> = self.findings.iter().map(|finding| finding.text.clone()).collect();
        if said.is_empty() {
            let leader = number("leader").unwrap_or_default();
            let (up, voters) = (number("votersUp").unwrap_or_default(), number("voters").unwrap_or_default());
            said.push(format!("node {leader} leads, {up} of {voters} voters are up"));
        }
        let Thresholds { lag_warning, lag_critical, certificate_days, .. } = self.thresholds;
        let lag = number("lag").map(|lag| format!("lag={lag};{lag_warning};{lag_critical}"));
        let plain = ["nodes", "down", "votersUp", "connections"];
        let plain = plain.into_iter().filter_map(|name| number(name).map(|number| format!("{name}={number}")));
        let days = member(&self.measured, "certificateDays").as_i64();
        let days = days.map(|days| format!("certificateDays={days};{certificate_days}:;0:"));
        let measured: Vec<String> = lag.into_iter().chain(plain).chain(days).collect();
        let bar = if measured.is_empty() { "" } else { " | " };
        // A bar would end the text.
        let said = said.join("; ").replace('|', "/").replace('\n', " ");
        format!("{}: {said}{bar}{}\n", self.level().name().to_uppercase(), measured.join(" "))
    }
}

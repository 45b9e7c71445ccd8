//! The pages of docs/reference: written from the code, and compared with it, so that they can't be out of date.

mod api;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

use repl::cli::EXIT_CODES;
use repl::config::{CONFIG, Fallback, SETTINGS, Setting};
use reqwest::Method;

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::cluster::{Cluster, Subscriber, until};
use crate::golden;

/// A page, with what stands above all of them.
pub(crate) fn page(title: &str, about: &str) -> String {
    format!("# {title}\n\n{about}\n\n*Written from the code by `make golden`; a test compares it.*\n")
}

/// In the width of the other pages. A line of a list goes on indented.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("one at least");
        if !line.is_empty() && line.chars().count() + word.chars().count() >= 120 {
            lines.push(format!("{indent}{word}"));
        } else {
            *line += if line.is_empty() { "" } else { " " };
            *line += word;
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn every_setting_has_its_place_in_the_reference() {
    let mut text = page(
        "Settings",
        "Each is a flag, a variable and a key of the TOML file that `--config` names: `--data-dir`, `REPL_DATA_DIR`,\n\
         `data-dir = \"…\"`. The flag wins over the variable, the variable over the file, the file over the default. What may\n\
         be given several times is a list in the file, and has commas in the variable. A name that doesn't exist is refused.\n\n\
         SIZE is 65536, 64KiB, 16MiB or 1GB; TIME is 500ms, 15s, 10m, 24h, 7d or 1h30m.",
    );
    let mut group = "";
    for setting in SETTINGS.iter().chain([&CONFIG]).filter(|setting| setting.group != Setting::HIDDEN) {
        if setting.group != group {
            group = setting.group;
            let _ = write!(text, "\n## {group}\n\n");
        }
        let default = match setting.fallback {
            Fallback::Value(value) => format!("Default: `{value}`"),
            Fallback::Unset(what) => format!("Unless said: {what}"),
        };
        let bounds = match (setting.min, setting.max) {
            (None, None) => String::new(),
            (Some(min), None) => format!(", from {min}"),
            (None, Some(max)) => format!(", to {max}"),
            (Some(min), Some(max)) => format!(", {min} to {max}"),
        };
        let line = format!("- **`{}`** {} {default}{bounds}.", setting.flag(), setting.help.trim());
        text += &wrapped(&line, "  ");
    }
    golden::check_at("docs/reference/settings.md", &text);
}

#[test]
fn every_command_has_its_place_in_the_reference() {
    let commands = [
        "",
        "pub",
        "sub",
        "topic",
        "topic list",
        "topic create",
        "topic show",
        "topic set",
        "topic delete",
        "presence",
        "top",
        "check",
        "cluster",
        "cluster status",
        "cluster verify",
        "cluster add",
        "cluster promote",
        "cluster remove",
        "cluster transfer-leader",
        "cluster rebalance",
        "cluster drain",
        "backup",
        "backup save",
        "backup verify",
        "backup restore",
        "recover",
        "token",
        "token create",
        "token verify",
        "context",
        "context add",
        "context use",
        "context list",
        "context show",
        "context remove",
        "completion",
        "config",
        "config show",
        "config check",
        "config defaults",
        "version",
        "dev",
    ];
    let mut text =
        page("Commands", "What each says with `--help`. [Settings](settings.md) are explained on their own page.");
    text += "\n## Exit codes\n\n| code | meaning |\n|---|---|\n";
    for (code, means) in EXIT_CODES {
        let _ = writeln!(text, "| {code} | {means} |");
    }
    text += "\n`repl check` has [codes of its own](#repl-check), as monitors expect them.\n";
    for command in commands {
        let words = command.split_whitespace().chain(["--help"]);
        let output = Command::new(env!("CARGO_BIN_EXE_repl")).env_clear().args(words).output().expect("it runs");
        let help = String::from_utf8(output.stdout).expect("UTF-8");
        // Those of the server are the page of settings.
        let help = if command.is_empty() { without_settings(&help) } else { help };
        let _ = write!(text, "\n## {}\n\n```text\n{}\n```\n", format!("repl {command}").trim(), help.trim_end());
    }
    golden::check_at("docs/reference/commands.md", &text);
}

/// The help of the server without the lists of its settings.
fn without_settings(help: &str) -> String {
    let paragraphs = help.split("\n\n");
    let mut kept: Vec<&str> = paragraphs.clone().take(2).collect();
    kept.extend(
        paragraphs.filter(|text| ["Settings:", "Signals:", "Exit codes:"].iter().any(|head| text.starts_with(head))),
    );
    kept.join("\n\n")
}

#[tokio::test]
async fn every_operation_problem_and_metric_has_its_place_in_the_reference() {
    let cluster = Cluster::of(1).await;
    let (client, node) = (&cluster.client, cluster.url(0));
    let described = client.get(node, "/openapi.json").await.json();
    golden::check_at("docs/reference/problems.md", &api::problems(&described));
    golden::check_at("docs/reference/http.md", &api::operations(&described));
    golden::check_at("docs/reference/openapi.json", &format!("{described:#}\n"));

    // What has labels is on the page once it has been counted.
    client.make(node, "a").await;
    client.publish(node, "a", json!(1)).await;
    client.get(node, "/topics/b").await.expect(404);
    drop(Subscriber::live(client, node, "/topics/a/sse").await);
    let stranger = tokio::net::TcpStream::connect(&cluster.nodes[0].started().peer).await;
    stranger.expect("it listens").write_all(&[0; 100]).await.expect("sent");
    let late = ["repl_http_connections_closed_total", "repl_peer_callers_turned_away_total"];
    let text = until("a closed connection and a stranger are counted", async || {
        let answer = client.send(client.request(Method::GET, &format!("{node}/metrics"))).await;
        late.iter().all(|metric| answer.text.contains(metric)).then_some(answer.text)
    });
    golden::check_at("docs/reference/metrics.md", &metrics(&text.await));
}

fn metrics(exposition: &str) -> String {
    let mut text = page(
        "Metrics",
        "What `/metrics` tells, in the text format of OpenMetrics, which Prometheus reads. Counters count from the start of the\n\
         process; what has labels is there once something was counted. Where nodes ask for tokens, it takes one with `admin`,\n\
         and `repl_http_tokens_refused_total` counts, by `reason`, those that were not accepted.",
    );
    let mut kinds = BTreeMap::new();
    let mut rows = BTreeMap::new();
    for line in exposition.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => drop(kinds.insert(name, kind)),
            (Some("#"), Some("HELP"), Some(name), Some(help)) => drop(rows.insert(name, help)),
            _ => {}
        }
    }
    text += "\n| metric | type | meaning |\n|---|---|---|\n";
    for (name, help) in rows {
        let kind = kinds[name];
        let suffix = if kind == "counter" { "_total" } else { "" };
        let _ = writeln!(text, "| `{name}{suffix}` | {kind} | {} |", help.trim_end_matches('.'));
    }
    text
}

//! What commands print with `--output json`: documents whose members programs rely on.

use std::fmt::Write;
use std::fs;

use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use crate::cli::repl;
use crate::cluster::{Cluster, until};
use crate::golden;
use crate::reference::page;

/// The members of a document, with what kind of value each has.
fn shape(document: &Value) -> Value {
    match document {
        Value::Null | Value::Bool(_) => document.clone(),
        Value::Number(_) => json!(0),
        Value::String(_) => json!("…"),
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), shape(value))).collect::<Map<_, _>>().into()
        }
    }
}

#[tokio::test]
async fn every_document_has_the_members_that_the_reference_names() {
    let cluster = Cluster::with(1, &["--auto-create"]).await;
    let path = |name: &str| cluster.path(name).to_str().expect("UTF-8").to_owned();
    let (secret, settings, backup) = (path("secret"), path("repl.toml"), path("backup"));
    let node = cluster.nodes[0].data_dir().to_str().expect("UTF-8").to_owned();
    fs::write(&settings, "listen = '127.0.0.1:1'").expect("written");
    fs::write(&secret, "0123456789abcdef0123456789abcdef").expect("written");
    let (url, home) = (cluster.url(0).to_owned(), path("home"));
    let run = async |words: &[&str]| {
        let mut command = repl(words);
        command.env("REPL_SERVER", &url).env("XDG_CONFIG_HOME", &home);
        let output = spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    let (_, token) = run(&["token", "create", "--secret-file", &secret, "--subject", "ada", "--publish", "a"]).await;
    let token = token.trim();
    assert_eq!(run(&["context", "add", "here", "--server", cluster.url(0)]).await.0, Some(0));
    until("the node knows its load", async || {
        let (_, status) = run(&["cluster", "status", "--output", "json", "--data-dir", &node]).await;
        status.contains("\"cpu\"").then_some(())
    })
    .await;

    // As they are called, with what else a word stands for here, and how they end.
    let commands: [(&str, &[&str], i32); 27] = [
        ("version", &[], 0),
        ("context list", &[], 0),
        ("context show", &[], 0),
        ("config show", &["--config", &settings], 0),
        ("config check", &[], 0),
        ("config check --listen nowhere", &[], 2),
        ("topic create orders", &[], 0),
        ("pub orders 1", &[], 0),
        ("topic list", &[], 0),
        ("topic show orders", &[], 0),
        ("topic set orders --max-messages 10", &[], 0),
        ("sub orders --from earliest --exit-at-ready", &[], 0),
        ("topic create room --presence true", &[], 0),
        ("presence room", &[], 0),
        ("presence --user ada", &[], 0),
        ("check --nodes 2", &[], 1),
        ("top", &[], 0),
        ("cluster status", &["--data-dir", &node], 0),
        ("cluster verify", &["--data-dir", &node], 0),
        ("cluster add", &["--data-dir", &node], 0),
        ("cluster transfer-leader", &["--data-dir", &node], 1),
        ("cluster rebalance", &["--data-dir", &node], 0),
        ("backup save", &[&backup, "--data-dir", &node], 0),
        ("backup verify", &[&backup], 0),
        ("backup restore", &[&backup, "--data-dir", &path("restored")], 0),
        ("token verify", &["--token-secret-file", &secret, token], 0),
        ("token verify wrong", &["--token-secret-file", &secret], 1),
    ];
    let mut text = page(
        "Documents",
        "What commands print with `--output json`, one document each (`sub`, and `pub` of lines, one a line). Members keep\n\
         their names and meaning; further ones may be added. Here `…` stands for any text and `0` for any number; a list\n\
         shows its first item. Whatever goes wrong is told on standard error, and by the\n\
         [exit code](commands.md#exit-codes).",
    );
    for (command, further, code) in commands {
        let words: Vec<&str> = command.split(' ').chain(further.iter().copied()).chain(["--output", "json"]).collect();
        let (ended, printed) = run(&words).await;
        assert_eq!(ended, Some(code), "{command}: {printed}");
        if !printed.is_empty() {
            let document: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{command}: {error}"));
            let document = serde_json::to_string_pretty(&shape(&document)).expect("JSON");
            let _ = write!(text, "\n## repl {command}\n\n```json\n{document}\n```\n");
        }
    }
    golden::check_at("docs/reference/output.md", &text);
}

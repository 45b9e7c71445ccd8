//! `repl config`, as operators use it before a start.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::cli::repl;
use crate::golden;

/// Code and standard output; with it, standard error if the code is not 0.
fn config(words: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = repl(&[&["config"], words].concat());
    let Output { status, stdout, stderr } = command.envs(variables.iter().copied()).output().expect("it runs");
    (status.code(), String::from_utf8([stdout, stderr].concat()).expect("UTF-8"))
}

#[test]
fn what_holds_is_shown_with_who_said_so_and_no_secret() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path of ASCII").to_owned();
    let (file, secret) = (path("repl.toml"), path("secret"));
    fs::write(&secret, "not for anybody to see").expect("written");
    fs::write(
        &file,
        format!("# ours\nmax-messages = 3\ncluster-secret-file = '{secret}'\njoin = ['localhost', '[::1]:1']\n"),
    )
    .expect("written");
    let variables = [("REPL_CONFIG", file.as_str()), ("REPL_MAX_BYTES", "1MiB"), ("REPL_HEARTBEAT", "50ms")];
    let words = ["show", "--origin", "--insecure", "--listen", "127.0.0.1:1"];

    let (code, text) = config(&words, &variables);
    assert_eq!(code, Some(0), "{text}");
    let has = |row: [&str; 3]| assert!(text.contains(&format!("{}\n", row.join("\t"))), "{row:?}\n{text}");
    has(["SETTING", "VALUE", "ORIGIN"]);
    has(["listen", "127.0.0.1:1", "--listen"]);
    has(["max-bytes", "1MiB", "REPL_MAX_BYTES"]);
    has(["max-messages", "3", &format!("{file}, line 2")]);
    has(["join", "localhost,[::1]:1", &format!("{file}, line 4")]);
    has(["max-age", "1d", "default"]);
    has(["tls-cert", "-", "default"]);
    has(["heartbeat", "50ms", "REPL_HEARTBEAT"]);
    assert!(!text.contains("election-timeout") && !text.contains("not for anybody"), "{text}");
    let (_, short) = config(&["show"], &variables);
    assert!(short.contains("max-messages\t3\n") && !short.contains(", line 2"), "{short}");

    let (_, document) = config(&[&words[..], &["--output", "json"]].concat(), &variables);
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let setting = |name: &str| {
        let mut settings = document["settings"].as_array().expect("settings").iter();
        settings.find(|setting| setting["name"] == name).expect(name).clone()
    };
    assert_eq!(
        setting("insecure"),
        json!({"name": "insecure", "value": true, "origin": "flag", "file": null, "line": null})
    );
    let join = json!({"name": "join", "value": ["localhost", "[::1]:1"], "origin": "file", "file": file, "line": 4});
    assert_eq!(setting("join"), join);
    assert_eq!((&setting("tls-cert")["value"], &setting("tls-cert")["origin"]), (&Value::Null, &json!("default")));
    assert_eq!(setting("max-messages")["value"], "3");
}

#[test]
fn what_a_node_would_refuse_is_found_before_it_starts() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path of ASCII").to_owned();
    let (file, secret, key) = (path("repl.toml"), path("secret"), path("key.pem"));
    fs::write(&secret, "short").expect("written");
    fs::write(&key, "no key").expect("written");
    fs::write(&file, "max-messages = 'many'\nlisen = 'a'\n").expect("written");

    let faults: [&[&str]; 7] = [
        &["--config", &file],
        &["--listen", "0.0.0.0:1"],
        &["--log-level", "inof"],
        &["--cluster-secret-file", &secret],
        &["--token-key-file", &key],
        &["--token-secret-file", "/nowhere/secret"],
        &["--tls-cert", &key, "--tls-key", &key],
    ];
    let mut texts = String::new();
    for words in faults {
        let (code, text) = config(&[&["check"], words].concat(), &[]);
        assert_eq!(code, Some(2), "{words:?}");
        texts += &format!("$ repl config check {}\n{text}\n", words.join(" "));
    }
    golden::check("config-faults.txt", &texts.replace(&path(""), ""));

    let (code, document) = config(&["check", "--config", &file, "--output", "json"], &[]);
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!((code, &document["valid"]), (Some(2), &json!(false)));
    let errors = document["errors"].as_array().expect("a list");
    let error = |of: &Value| of["error"].as_str().expect("a text").to_owned();
    assert!(errors.len() == 2 && errors.iter().map(error).any(|text| text.contains("line 1")), "{document}");
    let (code, document) = config(&["check", "--output", "json"], &[]);
    assert_eq!((code, document.as_str()), (Some(0), "{\"valid\":true}\n"));
    assert!(!directory.path().join("repl-data").exists());
}

#[test]
fn the_file_that_is_printed_is_one_that_a_node_takes() {
    let (code, template) = config(&["defaults"], &[]);
    assert_eq!(code, Some(0));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("repl.toml");
    fs::write(&file, template.replace("#listen = \"127.0.0.1:7375\"", "listen = \"127.0.0.1:1\"")).expect("written");
    let file = file.to_str().expect("a path of ASCII");
    assert_eq!(config(&["check", "--config", file], &[]).0, Some(0));
    let (_, shown) = config(&["show", "--config", file], &[]);
    let (_, expected) = config(&["show", "--listen", "127.0.0.1:1"], &[("REPL_CONFIG", "")]);
    assert_eq!(shown.replace(file, "-"), expected);
}

//! `repl context`, and what commands make of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::repl;
use crate::cluster::Cluster;

/// Somebody's home, in which contexts are kept.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.path().join(".config/repl/contexts.toml")
    }

    /// Code, and what was printed.
    fn does(&self, words: &[&str]) -> (Option<i32>, String) {
        self.does_with(words, &[], "")
    }

    fn starts(&self, words: &[&str], variables: &[(&str, &str)]) -> Child {
        let mut command = repl(words);
        command.env("HOME", self.0.path()).envs(variables.iter().copied()).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
    }

    fn does_with(&self, words: &[&str], variables: &[(&str, &str)], input: &str) -> (Option<i32>, String) {
        let mut child = self.starts(words, variables);
        // Who reads nothing may be gone.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
        (status.code(), String::from_utf8([stdout, stderr].concat()).expect("UTF-8"))
    }
}

#[tokio::test]
async fn a_command_speaks_to_the_cluster_of_its_context_unless_it_is_told_otherwise() {
    let (one, two) = (Cluster::of(1).await, Cluster::of(1).await);
    for (cluster, topic) in [(&one, "of-one"), (&two, "of-two")] {
        cluster.client.make(cluster.url(0), topic).await;
    }
    let home = Home::new();
    assert_eq!(
        home.does(&["context", "add", "one", "--server", one.url(0)]),
        (Some(0), "one is kept, and in use\n".to_owned())
    );
    let (code, text) = home.does(&["context", "add", "two", "--server", two.url(0)]);
    assert!(code == Some(0) && text.contains("one is in use (repl context use two)"), "{text}");

    let (first, second) = (one.url(0), two.url(0));
    // The words, the variables, and whose topics are listed.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 6] = [
        (&[], &[], "of-one"),
        (&[], &[("REPL_CONTEXT", "two")], "of-two"),
        (&[], &[("REPL_CONTEXT", "two"), ("REPL_SERVER", first)], "of-one"),
        (&["--context", "two"], &[("REPL_SERVER", first)], "of-two"),
        (&["--server", second], &[("REPL_CONTEXT", "one"), ("REPL_SERVER", first)], "of-two"),
        (&["--context", "two"], &[("REPL_CONTEXT", "one")], "of-two"),
    ];
    for (words, variables, topic) in cases {
        let (code, text) = home.does_with(&[&["topic", "list"], words].concat(), variables, "");
        assert!(code == Some(0) && text.contains(topic), "{words:?} {variables:?}: {text}");
    }
    assert_eq!(home.does(&["topic", "list", "--context", "two", "--server", first]).0, Some(2), "which one?");

    assert_eq!(home.does(&["context", "use", "two"]), (Some(0), "two is in use\n".to_owned()));
    assert!(home.does(&["topic", "list"]).1.contains("of-two"));
    let (_, list) = home.does(&["context", "list"]);
    assert_eq!(list, format!("USED\tNAME\tSERVERS\tTOKEN\n\tone\t{first}\t-\n*\ttwo\t{second}\t-\n"));
    assert_eq!(home.does(&["context", "remove", "two"]).1, "two is removed; no context is in use\n");
    let (code, text) = home.does(&["context", "show"]);
    assert!(code == Some(2) && text.contains("no context is in use: repl context use NAME"), "{text}");
    let (code, text) = home.does(&["topic", "list", "--context", "two"]);
    assert!(
        code == Some(2) && text.contains("there is no context \"two\": there are one; repl context add two"),
        "{text}"
    );
}

#[tokio::test]
async fn a_token_is_kept_for_its_owner_and_shown_to_its_servers_only() {
    let mut cluster = Cluster::without_nodes(&[]);
    let secret = cluster.path("secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef").expect("written");
    let secret = secret.to_str().expect("UTF-8").to_owned();
    let node = cluster.add(&["--auto-create", "--token-secret-file", &secret]).await;
    let url = cluster.nodes[node].url();
    let home = Home::new();
    let (_, token) = home.does(&["token", "create", "--secret-file", &secret, "--publish", "a"]);
    let token = token.trim();
    let path = home.0.path().join("token");
    fs::write(&path, token).expect("written");
    let path = path.to_str().expect("UTF-8");

    let add = ["context", "add", "kept", "--server", url, "--token-stdin"];
    assert_eq!(home.does_with(&add, &[], "").0, Some(2), "no token came");
    assert_eq!(home.does_with(&add, &[], &format!("{token}\n")).0, Some(0));
    assert_eq!(home.does(&["context", "add", "read", "--server", url, "--token-file", path]).0, Some(0));
    assert_eq!(home.does(&["context", "add", "none", "--server", url]).0, Some(0));
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&home.file()), 0o600);
    assert!(!home.does(&["context", "list"]).1.contains("chmod"));
    fs::set_permissions(home.file(), fs::Permissions::from_mode(0o644)).expect("changed");
    assert!(home.does(&["context", "list"]).1.contains("others can read the tokens in "));
    fs::set_permissions(home.file(), fs::Permissions::from_mode(0o600)).expect("changed");

    let publish = |words: &[&str], variables: &[(&str, &str)]| {
        home.does_with(&[&["pub", "a", "1", "--patience", "5s"], words].concat(), variables, "").0
    };
    assert_eq!(publish(&[], &[]), Some(0));
    assert_eq!(publish(&["--context", "read"], &[]), Some(0));
    assert_eq!(publish(&["--context", "none"], &[]), Some(6));
    assert_eq!(publish(&["--context", "none"], &[("REPL_TOKEN", token)]), Some(0));
    // The context's token is for the context's servers.
    assert_eq!(publish(&["--server", url], &[]), Some(6));
    assert_eq!(publish(&[], &[("REPL_SERVER", url)]), Some(6));

    let (_, shown) = home.does(&["context", "show", "kept", "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let expected = json!({
        "name": "kept", "used": true, "servers": [url], "hasToken": true, "tokenFile": null, "caFile": null
    });
    assert_eq!(shown, expected);
    let told = home.does(&["context", "show", "kept"]).1 + &home.does(&["context", "list"]).1;
    assert!(told.contains("TOKEN\tkept\n") && told.contains(path) && !told.contains(token), "{told}");
}

#[test]
fn changes_at_the_same_time_are_all_kept() {
    let home = Home::new();
    let add = |name: &str, more: &[&str]| {
        home.starts(&[&["context", "add", name, "--server", "http://127.0.0.1:1"], more].concat(), &[])
    };
    let mut slow = add("slow", &["--token-stdin"]);
    let mut token = slow.stdin.take().expect("a pipe");
    // More than a pipe holds: it is being read.
    token.write_all(&[b' '; 1 << 20]).expect("it reads");
    let names: Vec<String> = (0..20).map(|number| format!("quick-{number:02}")).collect();
    let quick: Vec<Child> = names.iter().map(|name| add(name, &[])).collect();
    for mut child in quick {
        assert!(child.wait().expect("it ends").success());
    }
    token.write_all(b"secret").expect("it reads");
    drop(token);
    assert!(slow.wait().expect("it ends").success());
    let (_, list) = home.does(&["context", "list", "--output", "json"]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let kept: Vec<&str> =
        list["contexts"].as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    let expected: Vec<&str> = names.iter().map(String::as_str).chain(["slow"]).collect();
    assert_eq!(kept, expected);
}

#[test]
fn a_file_that_is_damaged_is_told_and_stays_as_it_is() {
    let home = Home::new();
    assert_eq!(home.does(&["context", "add", "a", "--server", "http://127.0.0.1:1"]).0, Some(0));
    let damaged = fs::read_to_string(home.file()).expect("written") + "token = 'half of a tok";
    fs::write(home.file(), &damaged).expect("written");
    let add = ["context", "add", "b", "--server", "http://127.0.0.1:1"];
    for words in [&add[..], &["context", "remove", "a"], &["context", "list"], &["topic", "list"]] {
        let (code, text) = home.does(words);
        assert!(code == Some(2) && text.contains("contexts.toml, line 5: these are no contexts"), "{words:?}: {text}");
        assert!(!text.contains("half of a tok"), "{text}");
    }
    assert_eq!(fs::read_to_string(home.file()).expect("it is there"), damaged);
    // Who says where to look needs no context.
    let (code, text) = home.does(&["topic", "list", "--server", "http://127.0.0.1:1", "--patience", "5s"]);
    assert!(code == Some(4) && text.contains("Does a broker run there?"), "{text}");

    fs::remove_file(home.file()).expect("removed");
    let refused: [&[&str]; 5] = [
        &["context", "add", "a b", "--server", "http://127.0.0.1:1"],
        &["context", "add", "a", "--server", "ftp://127.0.0.1"],
        &["context", "add", "a"],
        &["context", "use", "a"],
        &["context", "list", "--data-dir", "here"],
    ];
    for words in refused {
        assert_eq!(home.does(words).0, Some(2), "{words:?}");
    }
    let missing = ["context", "add", "a", "--server", "http://127.0.0.1:1", "--token-file", "/nowhere/token"];
    assert_eq!(home.does(&missing).0, Some(1));
    assert!(!home.file().exists());
}

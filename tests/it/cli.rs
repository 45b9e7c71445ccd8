//! The program as its users start it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use repl::domain::NodeId;
use repl::server::Started;
use serde_json::json;

use crate::cluster::{Client, DEADLINE};
use crate::golden;

/// The program, without the environment of whoever runs the tests.
pub(crate) fn repl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_repl"));
    command.env_clear().args(arguments);
    command
}

/// What it printed, which has to be on one of its two outputs.
fn printed(output: Output) -> String {
    let (stdout, stderr) = (output.stdout, output.stderr);
    assert!(stdout.is_empty() || stderr.is_empty(), "one output is used");
    String::from_utf8([stdout, stderr].concat()).expect("UTF-8")
}

/// A program that runs until it is told to stop, or the test ends.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (send, lines) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines }
    }

    /// The lines it prints up to the one that contains `part`.
    pub(crate) fn read_until(&self, part: &str) -> String {
        let mut text = String::new();
        while !text.contains(part) {
            text += &self.lines.recv_timeout(DEADLINE).expect("a line within the deadline");
            text += "\n";
        }
        text
    }

    /// Sends a signal, and waits for the end.
    fn stop(self, signal: &str) -> Option<i32> {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
        self.ends()
    }

    /// Waits until the program has closed its output and ended.
    pub(crate) fn ends(mut self) -> Option<i32> {
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it ends within the deadline"),
            }
        }
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_lists_every_setting() {
    let output = repl(&["--help"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    golden::check("help.txt", &printed(output));
    for name in ["backup", "cluster", "completion", "config", "context", "recover", "token"] {
        let output = repl(&[name, "--help"]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0));
        golden::check(&format!("help-{name}.txt"), &printed(output));
    }
}

#[test]
fn help_is_a_command_as_well() {
    let says = |words: &[&str]| {
        let output = repl(words).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        printed(output)
    };
    for words in [&["cluster", "add"][..], &["pub"], &[]] {
        assert_eq!(says(&[&["help"], words].concat()), says(&[words, &["--help"]].concat()), "{words:?}");
    }
}

#[test]
fn version_is_that_of_the_package() {
    let output = repl(&["--version"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let version = printed(output);
    golden::check("version.txt", &version);
    let output = repl(&["version"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let text = printed(output);
    assert!(text.starts_with(&format!("{} (", version.trim_end())) && text.contains("linux"), "{text}");
}

#[test]
fn shells_take_what_completes_their_lines() {
    let script = |shell: &str| {
        let output = repl(&["completion", shell]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0));
        printed(output)
    };
    // It is found by bash, and knows commands and flags.
    let words =
        "source /dev/stdin; COMP_WORDS=(repl topic list --p); COMP_CWORD=3; _repl repl --p list; echo ${COMPREPLY[@]}";
    let mut bash = Command::new("bash").args(["-c", words]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let bash = bash.as_mut().expect("bash");
    bash.stdin.take().expect("a pipe").write_all(script("bash").as_bytes()).expect("it reads");
    let mut completed = String::new();
    bash.stdout.take().expect("a pipe").read_to_string(&mut completed).expect("UTF-8");
    assert!(bash.wait().expect("it ends").success());
    assert_eq!(completed, "--prefix --patience\n");
    for (shell, part) in [
        ("zsh", "#compdef repl"),
        ("fish", "complete -c repl"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[repl]"),
    ] {
        let script = script(shell);
        assert!(script.contains(part) && script.contains("transfer-leader"), "{shell}");
    }
}

#[test]
fn what_can_not_be_used_is_explained_and_exits_with_2() {
    let secret = tempfile::NamedTempFile::new().expect("a temporary file");
    let secret = secret.path().to_str().expect("a path of ASCII");
    let long = format!("/run/{}.sock", "x".repeat(100));
    let misuses: [&[&str]; 18] = [
        &["--lisen", "127.0.0.1:1"],
        &["serve"],
        &["server", "--listen", "127.0.0.1:1"],
        &["statsu"],
        &["--listen", "nowhere"],
        &["--auto-create", "maybe"],
        &["--max-messages", "-5"],
        &["--config", "/nowhere/repl.toml"],
        &["--log-level", "inof"],
        &["--cluster-secret-file", secret],
        &["--admin-socket", &long],
        &["--tls-cert", "node.crt"],
        &["--tls-cert", "/nowhere/node.crt", "--tls-key", "/nowhere/node.key"],
        &["--listen", "127.0.0.1:1", "cluster", "status"],
        &["cluster", "remove", "two"],
        &["cluster", "status", "--listen", "127.0.0.1:1"],
        &["cluster", "status", "--server", "http://127.0.0.1:1"],
        &["token", "create", "--secret-file", secret, "--data-dir", "here"],
    ];
    let mut texts = String::new();
    for arguments in misuses {
        let output = repl(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        texts += &format!("$ repl {}\n{}\n", arguments.join(" "), printed(output));
    }
    golden::check("misuses.txt", &texts.replace(secret, "secret"));
}

#[test]
fn a_start_that_fails_names_the_setting_to_change_and_exits_with_1() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path of ASCII").to_owned();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("an address").to_string();
    fs::write(path("file"), "of somebody").expect("written");
    fs::create_dir(path("full")).expect("created");
    fs::write(path("full/thesis.txt"), "chapter one").expect("written");

    let free = "127.0.0.1:0";
    let failures: [&[&str]; 5] = [
        &["--listen", &taken, "--data-dir", &path("data")],
        &["--listen", free, "--peer-listen", &taken, "--data-dir", &path("data")],
        &["--listen", free, "--data-dir", &path("file")],
        &["--listen", free, "--data-dir", &path("file/data")],
        &["--listen", free, "--data-dir", &path("full")],
    ];
    let mut texts = String::new();
    for arguments in failures {
        let output = repl(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        texts += &format!("$ repl {}\n{}\n", arguments.join(" "), printed(output));
    }
    golden::check("failures.txt", &texts.replace(&path(""), "").replace(&taken, "taken"));
}

#[test]
fn an_operator_who_reaches_no_node_is_told_where_it_was_looked_for_and_exits_with_4() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = repl(&["cluster", "status"]).env("REPL_DATA_DIR", directory.path()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(4));
    let text = printed(output);
    assert!(text.contains(&format!("no node answers at {}/admin.sock", directory.path().display())), "{text}");
}

#[test]
fn the_environment_is_read_and_its_mistakes_are_refused() {
    let output = repl(&[]).env("REPL_LISEN", "127.0.0.1:1").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(printed(output).contains("did you mean REPL_LISTEN?"));
}

#[test]
fn a_start_says_where_it_is_and_a_signal_stops_it_in_order() {
    for signal in ["INT", "TERM"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name).to_str().expect("a path of ASCII").to_owned();
        let (ready, data) = (path("ready.json"), path("data"));
        fs::write(&ready, "of an earlier start").expect("written");
        let running =
            Running::start(&mut repl(&["--listen", "127.0.0.1:0", "--ready-file", &ready, "--data-dir", &data]));
        let banner = running.read_until("/topics/hello");
        assert_eq!(running.stop(signal), Some(0));

        let ready: serde_json::Value = serde_json::from_slice(&fs::read(&ready).expect("written")).expect("JSON");
        let url = ready["url"].as_str().expect("a URL");
        assert!(url.starts_with("http://127.0.0.1:") && !url.ends_with(":0"), "{url}");
        assert!(banner.contains(url) && banner.contains(&data), "{banner}");
    }
}

#[test]
fn the_first_lines_tell_what_to_try_next() {
    let advertised = Started {
        version: "1.2.3".to_owned(),
        pid: 4,
        cluster: "0192f0c1-7a5e-7cc0-9d8a-0b6a3c2d1e0f".to_owned(),
        node: NodeId::new(1),
        listen: "0.0.0.0:7375".parse().expect("an address"),
        url: "https://events.example".to_owned(),
        peer_listen: "10.0.0.5:7376".parse().expect("an address"),
        peer: "10.0.0.5:7376".to_owned(),
        data_dir: "/var/lib/repl".into(),
        serves_tls: false,
        asks_for_tokens: false,
    };
    golden::check("banner.txt", &repl::cli::banner(&advertised));
    let asking = Started { asks_for_tokens: true, ..advertised.clone() };
    golden::check("banner-tokens.txt", &repl::cli::banner(&asking));
    let encrypted = Started { serves_tls: true, ..advertised.clone() };
    golden::check("banner-tls.txt", &repl::cli::banner(&encrypted));
    // What it was told is no address that others could use.
    let everywhere = Started { url: "http://127.0.0.1:7375".to_owned(), ..advertised };
    golden::check("banner-everywhere.txt", &repl::cli::banner(&everywhere));
}

/// The first of the ports of four development nodes, which are free at this moment.
fn free_ports() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let free = |first: &u16| (0..4).all(|node| is_free(first + 10 * node) && is_free(first + 10 * node + 1));
    (10_000..30_000).step_by(100).find(free).expect("eight free ports")
}

#[tokio::test]
async fn a_cluster_for_development_is_killed_and_grows_by_keys() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let first = free_ports();
    let url = |node: u16| format!("http://127.0.0.1:{}", first + 10 * (node - 1));
    let port = first.to_string();
    // Nobody is elected but after a node was killed.
    let words = ["dev", "--nodes", "2", "--port", &port, "--", "--auto-create", "--election-timeout", "2s"];
    let mut command = repl(&words);
    let mut cluster = Running::start(command.env("TMPDIR", temporary.path()).stdin(Stdio::piped()));
    let mut keys = cluster.child.stdin.take().expect("a pipe");
    let mut press = move |key: &str| keys.write_all(key.as_bytes()).expect("it reads");
    cluster.read_until(&format!("node 2 serves at {}", url(2)));
    press("a");
    let text = cluster.read_until("node 3 votes");
    assert!(text.contains(&format!("node 3 serves at {}", url(3))), "{text}");

    let client = Client::new();
    let mut messages = vec![client.publish(&url(3), "orders", json!(1)).await];
    press("1");
    let mut text = cluster.read_until("leads, in term");
    assert!(text.contains("node 1 has ended: signal: 9") && !text.contains("node 1 leads"), "{text}");
    // What the others warn of in their logs is told, too, before the election or after it.
    let lost = format!(": no connection (127.0.0.1:{}): ", first + 1);
    if !text.contains(&lost) {
        text = cluster.read_until(&lost);
    }
    assert!(text.contains(&format!("node 2{lost}")) || text.contains(&format!("node 3{lost}")), "{text}");
    messages.push(client.publish(&url(3), "orders", json!(2)).await);
    press("1");
    cluster.read_until(&format!("node 1 serves at {}", url(1)));
    client.keeps(&url(1), "orders", &messages).await;
    press("7");
    cluster.read_until("there is no node 7");
    press("q");
    cluster.read_until("stopping");
    assert_eq!(cluster.ends(), Some(0));
    assert_eq!(fs::read_dir(temporary.path()).expect("a directory").count(), 0, "its data is gone");
}

#[test]
fn a_cluster_for_development_that_can_not_start_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output = repl(&["dev", "--port", &port]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
    assert!(text.contains("is a broker running there already?") && text.contains("node 1 did not start"), "{text}");
    let output = repl(&["dev", "--data-dir", "here"]).output().expect("it runs");
    assert!(printed(output).contains("takes no --data-dir"));
}

//! The commands of clients, as processes beside the nodes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_blocking;

use crate::authority::Authority;
use crate::cli::Running;
use crate::cluster::{Cluster, Place, Subscriber, until, within};
use crate::golden;
use crate::terminal::Terminal;

fn repl(servers: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_repl"));
    command.env_clear().env("REPL_SERVER", servers).args(words).stdin(Stdio::null());
    command
}

/// Runs a command to its end. Answers its code, and what it printed on standard output.
async fn run(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    eprint!("{}", String::from_utf8_lossy(&stderr));
    (status.code(), String::from_utf8(stdout).expect("UTF-8"))
}

/// The same, with this on its standard input.
async fn fed(mut command: Command, input: &str) -> (Option<i32>, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    // Who refuses the words doesn't read the rest.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = spawn_blocking(|| child.wait_with_output()).await.expect("no panic").expect("it ends");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

#[tokio::test]
async fn a_server_that_stands_still_is_passed_over() {
    let cluster = Cluster::of(1).await;
    cluster.client.make(cluster.url(0), "a").await;
    // The kernel takes connections for it, and nobody reads them.
    let still = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let servers = format!("http://{},{}", still.local_addr().expect("an address"), cluster.url(0));
    let (written, read) = tokio::join!(
        run(repl(&servers, &["pub", "a", "1"])),
        run(repl(&servers, &["sub", "a", "--from", "earliest", "-n", "1", "--format", "{value}"])),
    );
    assert_eq!((written.0, read), (Some(0), (Some(0), "1\n".to_owned())));
}

/// What answers every request with this, and closes: a server of something else.
fn stranger(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let _ = socket.read(&mut [0; 4096]);
            // Who has seen enough hangs up.
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    address
}

#[tokio::test]
async fn the_answers_of_other_servers_are_no_success() {
    let cluster = Cluster::of(1).await;
    cluster.client.make(cluster.url(0), "a").await;
    let answers = [
        "200 OK\r\n\r\n<html>it works</html>".to_owned(),
        "200 OK\r\n\r\n{\"status\":\"ok\"}".to_owned(),
        "200 OK\r\n\r\n".to_owned(),
        format!("200 OK\r\n\r\n\"{}\"", "a".repeat(65 << 20)),
        // A topic can be read where a message is published.
        format!("301 Moved Permanently\r\nlocation: {}/topics/a\r\n\r\n", cluster.url(0)),
    ];
    for answer in answers {
        let server = stranger(format!("HTTP/1.1 {answer}"));
        let start = answer.get(..answer.len().min(60));
        assert_eq!(run(repl(&server, &["pub", "a", "1"])).await, (Some(1), String::new()), "{start:?}");
        assert_eq!(fed(repl(&server, &["pub", "a", "--lines"]), "1\n").await, (Some(1), String::new()), "{start:?}");
        let (code, said) = run(repl(&server, &["check"])).await;
        let is_alarm = said.starts_with("CRITICAL: ") || said.starts_with("UNKNOWN: ");
        assert!(code >= Some(2) && is_alarm && said.len() < 400, "{start:?}: {said}");
    }
}

#[tokio::test]
async fn lines_become_batches_that_servers_take_however_long_they_are_as_they_are_sent() {
    let cluster = Cluster::of(1).await;
    cluster.client.make(cluster.url(0), "a").await;
    let publishes =
        async |words: &[&str], input: &str| fed(repl(cluster.url(0), &[&["pub", "a"], words].concat()), input).await;
    // Six bytes for each: 10 MB.
    let escaped = format!("{}\n", "\u{1}".repeat(9_000)).repeat(200);
    assert_eq!(publishes(&["--lines", "--text"], &escaped).await.0, Some(0));
    let header = format!("name={}", "x".repeat(6_000));
    assert_eq!(publishes(&["--lines", "--header", &header], &"1\n".repeat(1_000)).await.0, Some(0));
}

#[tokio::test]
async fn streams_look_for_a_server_for_as_long_as_they_were_told() {
    let follow = ["sub", "a", "--from", "earliest", "--format", "{value}", "--patience"];
    for words in [&[&follow[..], &["1h", "-n", "1"]].concat(), &vec!["top", "--once", "--patience", "1h"]] {
        let place = Place::new();
        let address = &place.address;
        let mute = tokio::net::TcpListener::bind(address).await.expect("its own");
        let looking = spawn_blocking({
            let mut command = repl(address, words);
            move || command.output()
        });
        // Whoever looks has failed at least once.
        drop(within("it comes", mute.accept()).await.expect("a connection"));
        drop(mute);
        let mut cluster = Cluster::without_nodes(&["--auto-create", "--listen", address]);
        let node = cluster.add(&[]).await;
        cluster.client.publish(cluster.url(node), "a", json!("found")).await;
        let output = within("it is found", looking).await.expect("no panic").expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));

        let follower = Running::start(&mut repl(address, &[&follow[..], &["5s"]].concat()));
        follower.read_until("found");
        cluster.nodes[node].kill();
        // Nobody answers, or the time was up while one was asked.
        let code = spawn_blocking(|| follower.ends()).await.expect("no panic");
        assert!(matches!(code, Some(4 | 7)), "{code:?}");
    }

    let still = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = still.local_addr().expect("an address").to_string();
    for words in [&["sub", "a"][..], &["top"], &["presence", "a", "--follow"]] {
        assert_eq!(run(repl(&address, &[words, &["--patience", "100ms"]].concat())).await.0, Some(7), "{words:?}");
    }
}

#[test]
fn the_help_of_each_command_is_kept() {
    for name in ["pub", "sub", "topic", "presence", "top", "check"] {
        let output = repl("", &[name, "--help"]).output().expect("it runs");
        golden::check(&format!("help-{name}.txt"), &String::from_utf8(output.stdout).expect("UTF-8"));
    }
}

#[tokio::test]
async fn what_one_command_publishes_another_one_reads() {
    let cluster = Cluster::of(1).await;
    let does = async |words: &[&str]| run(repl(cluster.url(0), words)).await;
    let feeds = async |words: &[&str], input: &str| fed(repl(cluster.url(0), words), input).await;
    assert_eq!(does(&["pub", "a", "1"]).await.0, Some(5), "there is no such topic");
    let text = complains(repl(cluster.url(0), &["pub", "a", "1"])).await;
    assert!(
        text.ends_with("\n\n`repl topic create TOPIC` creates one; `repl topic list` has those there are.\n"),
        "{text}"
    );
    assert_eq!(does(&["topic", "create", "a", "--max-age", "1h"]).await.0, Some(0));
    assert_eq!(does(&["topic", "create", "a", "--max-age", "1h"]).await.0, Some(0), "it is there as it is wanted");
    assert_eq!(does(&["topic", "create", "a", "--max-age", "2h"]).await.0, Some(1), "it is there otherwise");

    let (code, id) = does(&["pub", "a", r#"{"n": 1.00000000000000000001}"#, "--key", "once"]).await;
    assert_eq!(code, Some(0));
    assert_eq!(does(&["pub", "a", r#"{"n": 1.00000000000000000001}"#, "--key", "once"]).await, (code, id));
    assert_eq!(does(&["pub", "a", "no JSON"]).await.0, Some(2));
    assert_eq!(feeds(&["pub", "a", "--text", "--type", "line", "--header", "by=me"], "some text\n").await.0, Some(0));
    assert_eq!(feeds(&["pub", "a", "--lines"], "true\n\n[]\n").await, (Some(0), String::new()));
    let (code, stored) = feeds(&["pub", "a", "--jsonl", "--output", "json"], r#"{"value": 5, "key": "5"}"#).await;
    assert!(code == Some(0) && stored.contains(r#""repeated":false"#), "{stored}");

    let all = ["sub", "a", "--from", "earliest", "--exit-at-ready", "--format"];
    let format = "{seq} {topic} {type} {headers} {value}";
    let expected = "1 a  {} {\"n\":1.00000000000000000001}\n2 a line {\"by\":\"me\"} \"some text\"\n3 a  {} true\n\
                    4 a  {} []\n5 a  {} 5\n";
    assert_eq!(does(&[&all[..], &[format]].concat()).await, (Some(0), expected.to_owned()));
    assert_eq!(does(&["sub", "--match", "*", "--tail", "2", "-n", "2", "--format", "{value}\\n"]).await.1, "[]\n5\n");
    let (code, nothing) = does(&["sub", "b", "-n", "1", "--timeout", "100ms"]).await;
    assert_eq!((code, nothing.as_str()), (Some(7), ""), "what was waited for has not come");
    assert_eq!(does(&["sub", "b", "--timeout", "100ms"]).await.0, Some(0));
    assert_eq!(does(&["sub", "repl.x"]).await.0, Some(1), "no topic can have this name");

    assert_eq!(feeds(&["pub", "a", "--lines"], "6\nseven\n").await.0, Some(2), "whether 6 is stored or not");
    assert_eq!(feeds(&["pub", "a", "--jsonl"], "{\"value\": 8, \"key\": null}\n").await.0, Some(2), "it has no key");
    let (_, list) = does(&["topic", "list"]).await;
    assert!(list.lines().count() == 2 && list.contains("3600 s"), "{list}");
    assert_eq!(does(&["topic", "set", "a", "--max-messages", "1"]).await.0, Some(0));
    let (_, topic) = does(&["topic", "show", "a", "--output", "json"]).await;
    assert!(topic.contains(r#""messages":1"#) && topic.contains(r#""maxAgeSeconds":3600"#), "{topic}");
    assert_eq!(does(&["topic", "delete", "a"]).await, (Some(0), String::new()));
    assert_eq!(does(&["topic", "show", "a"]).await.0, Some(5));
    assert_eq!(run(repl("http://127.0.0.1:1", &["topic", "list", "--patience", "3s"])).await.0, Some(4));
    assert_eq!(run(repl("http://127.0.0.1:1", &["sub", "a"])).await.0, Some(4));
}

// Lines are waited for on a thread that streams need not wait for.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_there_is_shown_and_followed() {
    let cluster = Cluster::with(1, &["--presence-grace", "100ms"]).await;
    let does = async |words: &[&str]| run(repl(cluster.url(0), words)).await;
    assert_eq!(does(&["presence", "room"]).await.0, Some(5), "there is no such topic");
    assert_eq!(does(&["topic", "create", "room", "--presence", "true"]).await.0, Some(0));
    assert_eq!(does(&["presence", "room"]).await, (Some(0), "MEMBER\tSINCE\tDATA\n".to_owned()));

    let reads = async |user: &str| {
        let path = format!("/topics/room/sse?as={user}");
        Subscriber::live(&cluster.client, cluster.url(0), &path).await
    };
    let _ada = reads("ada").await;
    until("Ada is there", async || does(&["presence", "room"]).await.1.contains("\nada\t").then_some(())).await;
    let (_, roster) = does(&["presence", "room", "--output", "json"]).await;
    assert!(roster.contains(r#""count":1"#) && roster.contains(r#""id":"ada""#), "{roster}");
    let (_, status) = does(&["presence", "--user", "ada"]).await;
    assert!(status.starts_with("ada is online since ") && status.contains("\nroom\t"), "{status}");
    assert_eq!(does(&["presence", "--user", "bob"]).await, (Some(0), "bob is away\n".to_owned()));
    let (_, status) = does(&["presence", "--user", "bob", "--output", "json"]).await;
    assert_eq!(status, "{\"id\":\"bob\",\"online\":false,\"topics\":[]}\n");

    let follow =
        |words: &[&str]| Running::start(&mut repl(cluster.url(0), &[&["presence", "--follow"], words].concat()));
    let (room, user) = (follow(&["room"]), follow(&["--user", "bob"]));
    assert!(room.read_until("\n").starts_with("present\tada\t"));
    assert_eq!(user.read_until("bob"), "away\tbob\n");
    let bob = reads("bob").await;
    assert!(room.read_until("bob").starts_with("joined\tbob\t"));
    assert!(user.read_until("bob").starts_with("online\tbob\t"));
    drop(bob);
    assert_eq!(room.read_until("bob"), "left\tbob\n");
    assert_eq!(user.read_until("bob"), "away\tbob\n");
}

#[tokio::test]
async fn a_reader_may_go_when_it_has_seen_enough_and_a_writer_is_told_that_nobody_hears_it() {
    let cluster = Cluster::with(1, &["--auto-create"]).await;
    let without_reader = async |words: &[&str]| {
        let mut command = repl(cluster.url(0), words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        drop(child.stdout.take());
        // Who reads nothing may be gone.
        let _ = child.stdin.take().expect("a pipe").write_all(b"1\n");
        until("the command ends", async || child.try_wait().expect("a process")).await.code()
    };
    assert_eq!(without_reader(&["pub", "a", "--lines", "--output", "json"]).await, Some(1));
    assert_eq!(without_reader(&["sub", "a", "--from", "earliest"]).await, Some(0));
}

#[tokio::test]
async fn a_command_shows_its_token_over_tls_to_whom_it_trusts() {
    let mut cluster = Cluster::without_nodes(&[]);
    let authority = Authority::new();
    let directory = cluster.path("");
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let files = authority.issue(&directory, "node", &["127.0.0.1"]);
    let secret = directory.join("secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef").expect("written");
    let (certificate, key, secret) = (path(&files.certificate), path(&files.key), path(&secret));
    let node = cluster
        .add(&["--auto-create", "--tls-cert", &certificate, "--tls-key", &key, "--token-secret-file", &secret])
        .await;
    let words = ["token", "create", "--secret-file", &secret, "--publish", "a", "--subscribe", "a"];
    let (_, token) = run(repl("", &words)).await;
    let trusted = path(&authority.publish(&directory, "trusted"));
    let asks = async |words: &[&str], token: &str| {
        let mut command = repl(cluster.nodes[node].url(), words);
        command.env("REPL_TOKEN", token.trim());
        run(command).await.0
    };

    let publish = ["pub", "a", "1", "--ca-file", &trusted];
    assert_eq!(asks(&publish, &token).await, Some(0));
    assert_eq!(asks(&["sub", "a", "--tail", "1", "-n", "1", "--ca-file", &trusted], &token).await, Some(0));
    assert_eq!(asks(&["sub", "b", "-n", "1", "--ca-file", &trusted], &token).await, Some(6), "of another topic");
    assert_eq!(asks(&publish, "").await, Some(6), "without a token");
    assert_eq!(asks(&["sub", "a"], &token).await, Some(4), "who shows this certificate could be anybody");
    let said = complains(repl(cluster.nodes[node].url(), &["topic", "list", "--patience", "5s"])).await;
    assert!(said.contains("--ca-file says whom to believe"), "{said}");
}

#[tokio::test]
async fn a_command_that_gets_no_tls_is_told_what_to_change() {
    let mut cluster = Cluster::without_nodes(&[]);
    // As `openssl req -x509` makes it, unless told otherwise.
    let own = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let write = |name: &str, text: &str| {
        let file = cluster.path(name);
        fs::write(&file, text).expect("written");
        file.to_str().expect("UTF-8").to_owned()
    };
    let certificate = write("own.pem", &params.self_signed(&own).expect("a certificate").pem());
    let key = write("own.key", &own.serialize_pem());
    let encrypted = cluster.add(&["--tls-cert", &certificate, "--tls-key", &key]).await;
    let plain = Cluster::of(1).await;
    let asks = async |server: &str, words: &[&str]| {
        let list = ["topic", "list", "--patience", "5s"];
        complains(repl(server, &[&list[..], words].concat())).await
    };
    let url = cluster.nodes[encrypted].url();
    let said = asks(url, &["--ca-file", &certificate]).await;
    assert!(said.contains("CaUsedAsEndEntity") && said.contains("certificate of an authority as its own"), "{said}");
    let said = asks(&url.replace("https", "http"), &[]).await;
    assert!(said.contains("its URLs begin with https"), "{said}");
    let said = asks(&plain.url(0).replace("http", "https"), &[]).await;
    assert!(said.contains("its address begins with http."), "{said}");
}

#[tokio::test]
async fn whoever_sees_no_topics_for_lack_of_a_token_is_told_so() {
    let mut cluster = Cluster::without_nodes(&[]);
    let secret = cluster.path("secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef").expect("written");
    let secret = secret.to_str().expect("UTF-8").to_owned();
    let node = cluster.add(&["--token-secret-file", &secret]).await;
    let url = cluster.url(node).to_owned();
    let (code, token) = run(repl(&url, &["token", "create", "--secret-file", &secret, "--manage", "**"])).await;
    assert_eq!(code, Some(0));
    let list = async |token: Option<&str>| {
        let mut command = repl(&url, &["topic", "list"]);
        command.envs(token.map(|token| ("REPL_TOKEN", token)));
        let output = spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
        assert_eq!(output.status.code(), Some(0));
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("UTF-8"))
    };
    let [topics, told] = list(None).await;
    assert!(topics.lines().count() == 1 && told.contains("topics that need one are not listed"), "{topics}{told}");
    let [topics, told] = list(Some(token.trim())).await;
    assert_eq!((topics.lines().count(), told.as_str()), (1, ""), "there are none");
}

#[tokio::test]
async fn a_line_that_can_not_be_published_is_named_as_it_stands_in_the_input() {
    let cluster = Cluster::with(1, &["--auto-create"]).await;
    let file = cluster.path("lines");
    let path = file.to_str().expect("UTF-8");
    let publishes = async |lines: &str| {
        fs::write(&file, lines).expect("written");
        complains(repl(cluster.url(0), &["pub", "a", "--jsonl", "--file", path])).await
    };
    for (lines, expected) in [
        ("{\"value\": 1}\n\n{\"value\": 2, \"foo\": 3}\n", ["line 3 can't", "Unknown field `foo`", "(column 18)"]),
        ("\n{\"value\": 2, foo: 3}\n", ["line 2 can't", "no JSON: key must be a string", "(column 14)"]),
        ("[]\n", ["line 1 can't", "no object of JSON", "(column 0)"]),
    ] {
        let said = publishes(lines).await;
        assert!(expected.iter().all(|part| said.contains(part)), "{expected:?} in {said}");
    }
    let numbers = "{\"value\": 1.00000000000000000001}\n{\"key\": \"once\", \"value\": 2.50 }\n";
    assert_eq!((publishes(numbers).await, publishes(numbers).await), (String::new(), String::new()));
    let words = ["sub", "a", "--from", "earliest", "--exit-at-ready", "--format", "{value}"];
    let (_, values) = run(repl(cluster.url(0), &words)).await;
    assert!(values.ends_with("1.00000000000000000001\n2.50\n1.00000000000000000001\n"), "{values}");
}

#[tokio::test]
async fn whoever_types_a_message_is_told_how_it_ends() {
    let cluster = Cluster::with(1, &["--auto-create"]).await;
    let mut terminal = Terminal::start(&["pub", "a", "--server", cluster.url(0)]);
    terminal.says("repl pub: reading what is typed; Ctrl-D ends it").await;
    terminal.press("[1,\n2]\n\x04");
    assert_eq!(terminal.ends().await, Some(0));
    let (_, values) = run(repl(cluster.url(0), &["sub", "a", "--tail", "1", "-n", "1", "--format", "{value}"])).await;
    assert_eq!(values, "[1,2]\n");
}

/// Runs a command to its end. Answers what it said on standard error.
async fn complains(mut command: Command) -> String {
    let output = spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[tokio::test]
async fn whoever_waits_is_told_why() {
    let mut command = repl("http://127.0.0.1:1", &["topic", "list", "--patience", "1h"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it runs");
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let first = spawn_blocking(move || said.next()).await.expect("no panic").expect("a line").expect("UTF-8");
    child.kill().expect("it runs");
    child.wait().expect("it has ended");
    assert!(first.starts_with("repl: still trying: no answer from http://127.0.0.1:1"), "{first}");
    assert!(first.contains("Connection refused"), "{first}");
}

#[tokio::test]
async fn what_a_server_said_is_not_forgotten_when_the_time_is_up() {
    let problem =
        json!({"title": "The cluster has no leader", "detail": "Ask again.", "code": "no-leader"}).to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{problem}",
        problem.len()
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    // It answers once, and never again.
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let read = socket.read(&mut [0; 4096]).await.expect("a request");
        assert_ne!(read, 0);
        socket.write_all(answer.as_bytes()).await.expect("it is read");
        drop(socket);
        let mut held = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            held.push(accepted);
        }
    });
    let said = complains(repl(&address, &["topic", "list", "--patience", "5s"])).await;
    assert!(said.ends_with("error: The cluster has no leader. Ask again. (no-leader)\n"), "{said}");
}

#[tokio::test]
async fn commands_go_on_at_another_server_when_theirs_dies() {
    const LINES: usize = 2_000;
    let mut cluster = Cluster::of(3).await;
    cluster.client.make_keeping(cluster.url(0), "a", LINES as u64).await;
    let servers = cluster.urls().join(",");
    let count = LINES.to_string();
    let words = ["sub", "a", "--from", "earliest", "-n", &count, "--format", "{value}"];
    let mut reader = repl(&servers, &words).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut writer = repl(&servers, &["pub", "a", "--lines"]).stdin(Stdio::piped()).spawn().expect("it runs");
    let mut lines = writer.stdin.take().expect("a pipe");
    let mut write = move |numbers: std::ops::Range<usize>| {
        numbers.for_each(|number| writeln!(lines, "{number}").expect("it reads"));
        lines.flush().expect("it reads");
    };
    let mut read = BufReader::new(reader.stdout.take().expect("a pipe")).lines();

    write(0..LINES / 2);
    let (first, read) = spawn_blocking(move || (read.next(), read)).await.expect("no panic");
    assert_eq!(first.expect("a line").expect("UTF-8"), "0");
    cluster.nodes[0].kill();
    spawn_blocking(move || write(LINES / 2..LINES)).await.expect("no panic");
    let rest = spawn_blocking(|| read.map_while(Result::ok).collect::<Vec<_>>()).await.expect("no panic");
    let expected: Vec<_> = (1..LINES).map(|number| number.to_string()).collect();
    assert_eq!(rest, expected, "none is missing, none comes twice");
    let ends = async |child: &mut std::process::Child| {
        until("the command ends", async || child.try_wait().expect("a process")).await.code()
    };
    assert_eq!((ends(&mut reader).await, ends(&mut writer).await), (Some(0), Some(0)));
}

//! What is done when a cluster is gone, or most of it: backups, and one node that goes on alone.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::cluster::{Client, Cluster, Message, Seen, Subscriber, Subscription};
use crate::terminal::Terminal;

/// Runs `repl` with these words. Answers its exit code and what it printed.
fn repl(words: &[&str], data_dir: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_repl"));
    let output = command.env_clear().args(words).arg("--data-dir").arg(data_dir).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// What a message is, whatever its cluster is called.
fn without_epoch(messages: &[Message]) -> Vec<Message> {
    let strip = |message: &Message| {
        let (_, position) = message.id.rsplit_once('-').expect("an id");
        Message { id: position.to_owned(), ..message.clone() }
    };
    messages.iter().map(strip).collect()
}

/// Who comes back to a new cluster with the id of a message of the old one is told so, and then gets what there is.
async fn comes_back(client: &Client, url: &str, topic: &str, last: &Message) {
    let subscriber = Subscriber::start(
        client,
        Subscription {
            nodes: vec![url.to_owned()],
            path: format!("/topics/{topic}/sse"),
            last_id: Some(last.id.clone()),
            messages_per_stream: None,
        },
    );
    let gap = |seen: &[Seen]| {
        let events: Vec<_> = seen.iter().filter_map(Seen::as_event).collect();
        let first = events.first()?;
        assert_eq!(first.kind, "repl.gap", "before anything else");
        assert_eq!(first.json()["reason"], "epoch");
        events.iter().any(|event| event.kind == "message").then_some(())
    };
    subscriber.until("the gap, and what there is", gap).await;
}

#[tokio::test]
async fn a_backup_that_is_taken_under_load_becomes_a_new_cluster() {
    let mut cluster = Cluster::with(3, &["--checkpoint-bytes", "32KiB"]).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let before = client.publish_all(cluster.url(0), "orders", 0..50).await;
    let publishing = tokio::spawn({
        let (client, node) = (client.clone(), cluster.url(1).to_owned());
        async move { client.publish_all(&node, "orders", 50..400).await }
    });
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("backup");
    let path = file.to_str().expect("ASCII");
    let backup = async |words: &[&str]| cluster.nodes[2].run(&[&["backup"], words].concat()).await;
    let (code, text) = backup(&["save", path]).await;
    assert!(code == Some(0) && text.starts_with("saved 1 topic with "), "{text}");
    let after = publishing.await.expect("all was published");
    let (code, text) = backup(&["verify", path]).await;
    assert!(code == Some(0) && text.starts_with("whole: 1 topic with "), "{text}");
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1, "nothing is left beside it");
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "it is nobody else's to read");

    let number = cluster.prepare(&[]);
    let restored = cluster.nodes[number].data_dir();
    let (code, text) = repl(&["backup", "restore", path], &restored);
    assert!(code == Some(0) && text.contains("Start the node"), "{text}");
    let (code, text) = repl(&["backup", "restore", path], &restored);
    assert!(code == Some(1) && text.contains("is not empty"), "{text}");
    cluster.nodes[number].start().await;
    let node = &cluster.nodes[number];
    assert_ne!(node.started().cluster, cluster.nodes[0].started().cluster);
    let messages = client.messages(node.url(), "orders").await.expect("the topic is there");
    let all = without_epoch(&[&before[..], &after].concat());
    assert!(messages.len() >= 50, "what was acknowledged before is there");
    assert_eq!(without_epoch(&messages), all[..messages.len()], "and what came next, without a hole");
    comes_back(&client, node.url(), "orders", &before[0]).await;
    // It grows like any other.
    client.publish(node.url(), "orders", json!("new")).await;
    let peer = node.started().peer.clone();
    let kept = client.messages(cluster.url(number), "orders").await.expect("the topic is there");
    let joined = cluster.add(&["--join", &peer]).await;
    client.sees(cluster.url(joined), "two voters", |view| view.voters() == 2 && view.nodes.len() == 2).await;
    client.keeps(cluster.url(joined), "orders", &kept).await;
    cluster.nodes[joined].ordered(&["verify"]).await;
}

#[tokio::test]
async fn what_is_no_whole_backup_is_refused_and_touches_nothing() {
    let cluster = Cluster::of(1).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    client.publish_all(cluster.url(0), "orders", 0..20).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("backup");
    let path = file.to_str().expect("ASCII");
    let (code, text) = cluster.nodes[0].run(&["backup", "save", path]).await;
    assert_eq!(code, Some(0), "{text}");
    fs::write(&file, "of somebody").expect("written");
    let (code, text) = cluster.nodes[0].run(&["backup", "save", path]).await;
    assert!(code == Some(2) && text.contains("is there already"), "{text}");
    assert_eq!(fs::read_to_string(&file).expect("read"), "of somebody");
    let (code, text) = cluster.nodes[0].run(&["backup", "save", path, "--force"]).await;
    assert!(code == Some(0) && text.starts_with("saved 1 topic with 20 messages"), "{text}");
    // What is no file stays what it is, as /dev/null has to.
    let socket = directory.path().join("socket");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let path_of_socket = socket.to_str().expect("ASCII");
    let (code, text) = cluster.nodes[0].run(&["backup", "save", path_of_socket, "--force"]).await;
    assert!(code == Some(2) && text.contains("is no file"), "{text}");
    assert!(fs::metadata(&socket).expect("there").file_type().is_socket());
    // As standard output has it.
    let mut save = Command::new(env!("CARGO_BIN_EXE_repl"));
    save.env_clear().args(["backup", "save", "-", "--data-dir"]).arg(cluster.nodes[0].data_dir());
    let output = tokio::task::spawn_blocking(move || save.output()).await.expect("no panic").expect("it runs");
    fs::write(&file, &output.stdout).expect("written");
    let whole = output.stdout;

    let target = directory.path().join("target");
    let refused = |bytes: &[u8], why: &str| {
        fs::write(&file, bytes).expect("written");
        for words in [["backup", "verify", path], ["backup", "restore", path]] {
            let (code, text) = repl(&words, &target);
            assert!(code == Some(1) && text.contains(why), "{why}: {text}");
        }
        assert!(!target.exists(), "{why}");
    };
    refused(b"#!/bin/sh\necho hello, this is something else\n", "does not begin like one");
    refused(b"", "ends too early");
    refused(&whole[..whole.len() - 1], "ends too early");
    refused(&whole[..whole.len() / 2], &format!("error: {path} is not a whole backup or snapshot"));
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    refused(&flipped, "checksum");
    refused(&[&whole[..], b"x"].concat(), "goes on after its end");

    fs::write(&file, &whole).expect("written");
    fs::create_dir(&target).expect("created");
    fs::write(target.join("thesis.txt"), "chapter one").expect("written");
    let (code, text) = repl(&["backup", "restore", path], &target);
    assert!(code == Some(1) && text.contains("is not empty"), "{text}");
    let (code, _) = repl(&["backup", "save", path, "--force"], &directory.path().join("nobody"));
    assert_eq!(code, Some(4));
    assert_eq!(fs::read(&file).expect("still there"), whole);
}

#[tokio::test]
async fn one_node_of_a_lost_majority_goes_on_alone_and_grows_again() {
    let mut cluster = Cluster::with(3, &["--checkpoint-bytes", "32KiB", "--publish-timeout", "500ms"]).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let messages = client.publish_all(cluster.url(0), "orders", 0..200).await;
    cluster.all_keep("orders", &messages).await;
    let survivor = cluster.follower().await;
    let data_dir = cluster.nodes[survivor].data_dir();
    let recover = || repl(&["recover", "--force-new-cluster"], &data_dir);
    for node in (0..3).filter(|node| *node != survivor) {
        cluster.nodes[node].kill();
    }
    let (code, text) = recover();
    assert!(code == Some(1) && text.contains("in use by another process"), "{text}");
    cluster.nodes[survivor].kill();
    let (code, text) = recover();
    assert!(code == Some(0) && text.contains("others acknowledged after that is lost"), "{text}");
    let (code, text) = recover();
    assert!(code == Some(0) && text.contains("is alone in its cluster"), "{text}");

    let old = cluster.nodes[survivor].started().cluster.clone();
    assert_ne!(cluster.nodes[survivor].start().await.cluster, old);
    let url = cluster.url(survivor).to_owned();
    client.sees(&url, "one voter", |view| view.voters() == 1 && view.nodes.len() == 1).await;
    let kept = client.messages(&url, "orders").await.expect("the topic is there");
    assert_eq!(without_epoch(&kept), without_epoch(&messages));
    comes_back(&client, &url, "orders", &messages[100]).await;
    client.publish(&url, "orders", json!("new")).await;

    // What is left of the old cluster is not let in, and has no majority.
    let other = (survivor + 1) % 3;
    cluster.nodes[other].set_arguments(&["--publish-timeout", "500ms"]);
    cluster.nodes[other].spawn();
    cluster.nodes[other].says("the caller to another one").await;
    let request = client.publication(cluster.url(other), "orders", &json!("nobody takes it"));
    // 504 if it was still looking for a leader when the time was up: then it doesn't say that nothing was written.
    let answer = client.send(request).await;
    assert!(matches!(answer.status, 503 | 504), "{answer:?}");
    cluster.nodes[other].kill();
    let peer = cluster.nodes[survivor].started().peer.clone();
    cluster.nodes[other].set_arguments(&["--join", &peer]);
    let (code, text) = cluster.nodes[other].fails().await;
    assert!(code == Some(2) && text.contains(&format!("belongs to cluster {old}")), "{text}");
    cluster.nodes[other].wipe();
    cluster.nodes[other].start().await;
    client.sees(&url, "two voters", |view| view.voters() == 2).await;
    let kept = client.messages(&url, "orders").await.expect("the topic is there");
    client.keeps(cluster.url(other), "orders", &kept).await;
    cluster.nodes[other].ordered(&["verify"]).await;
}

#[tokio::test]
async fn a_directory_without_a_node_is_not_recovered() {
    let directory = tempfile::tempdir().expect("a directory");
    let nothing = directory.path().join("nothing");
    let (code, text) = repl(&["recover", "--force-new-cluster"], &nothing);
    assert!(code == Some(1) && text.contains("holds no node"), "{text}");
    assert!(!nothing.exists());
    let (code, text) = repl(&["recover"], &nothing);
    assert!(code == Some(2), "{text}");
}

#[tokio::test]
async fn who_waits_for_a_backup_at_a_terminal_sees_that_it_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let (socket, backup) = (path("admin.sock"), path("backup"));
    // A node that begins to send, and breaks off when it is told to.
    let listener = UnixListener::bind(&socket).expect("bound");
    let mut terminal = Terminal::start(&["backup", "save", &backup, "--admin-socket", &socket]);
    let (mut node, _) = listener.accept().await.expect("it asks");
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert_ne!(node.read_buf(&mut request).await.expect("it asks"), 0);
    }
    node.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await.expect("sent");
    node.write_all(&vec![0; 3 * 1024 * 1024]).await.expect("sent");
    terminal.says(" s, 3 MiB").await;
    drop(node);
    assert_eq!(terminal.ends().await, Some(1));
    // What it says at the end stands on a line of its own.
    terminal.says("\r\x1b[Kerror: ").await;
    assert!(!Path::new(&backup).exists());
}

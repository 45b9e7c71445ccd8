//! `repl top`, on a terminal and in a pipe.

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::cli::repl;
use crate::cluster::{Cluster, Place, Publisher, until};
use crate::terminal::Terminal;

#[tokio::test]
async fn a_live_screen_goes_on_at_another_node_when_its_own_dies() {
    let mut cluster = Cluster::of(3).await;
    for topic in ["busy", "calm"] {
        cluster.client.make(cluster.url(0), topic).await;
    }
    let publisher = Publisher::start(&cluster.client, cluster.urls(), "busy");
    // One server is named; the others are learnt from it.
    let gone = cluster.follower().await;
    let url = cluster.url(gone).to_owned();
    let mut terminal = Terminal::start(&["top", "--server", &url]);
    terminal.shows(&[&url, "3 of 3 voters are up", "leader", " busy", " calm", "2 topics, by rate"]).await;
    assert!(!terminal.echoes());
    terminal.press("\x1b[B");
    let picture = terminal.shows(&[" calm", "by rate"]).await;
    assert!(picture.lines().count() == 20, "{picture}");
    until("the busiest is above", async || (!terminal.shows(&[" calm"]).await.contains(" busy")).then_some(())).await;
    terminal.press("\x1b[A\x1b[D");
    terminal.shows(&[" busy", " calm", "2 topics, by name"]).await;

    cluster.nodes[gone].kill();
    let picture = terminal.shows(&["down", "2 of 3 voters are up"]).await;
    assert!(!picture.contains(&format!("repl top\x1b[0m  {url}")), "{picture}");
    assert!(terminal.seen().contains("away: ") && terminal.seen().contains("now from http://"));
    drop(publisher);

    terminal.press("q");
    assert_eq!(terminal.ends().await, Some(0));
    assert!(terminal.echoes(), "the terminal is as it was");
    // So is what was on it.
    terminal.says("\x1b[?1049l").await;
}

#[tokio::test]
async fn a_pipe_gets_one_picture() {
    let mut cluster = Cluster::without_nodes(&[]);
    let secret = cluster.path("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").expect("written");
    let secret = secret.to_str().expect("UTF-8").to_owned();
    let node = cluster.add(&["--auto-create", "--token-secret-file", &secret]).await;
    let url = cluster.nodes[node].url().to_owned();
    let run = async |words: &[&str], token: &str| {
        let mut command = repl(words);
        command.env("REPL_SERVER", &url).env("REPL_TOKEN", token.trim());
        let output = spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    let (_, operator) = run(&["token", "create", "--secret-file", &secret, "--admin"], "").await;
    let (_, anybody) = run(&["token", "create", "--secret-file", &secret, "--publish", "**"], "").await;
    for topic in ["a", "b"] {
        assert_eq!(run(&["pub", topic, "1"], &anybody).await.0, Some(0));
    }

    let (code, text) = run(&["top"], &operator).await;
    assert_eq!(code, Some(0));
    assert!(text.contains("1 of 1 voters are up") && text.contains("\tleader\tup\t0\t"), "{text}");
    assert!(text.contains("\ta\n") && text.contains("\tb\n"), "{text}");
    let (_, document) = run(&["top", "--topics", "1", "--output", "json"], &operator).await;
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!((&document["leader"], &document["topicCount"]), (&json!(1), &json!(2)));
    assert_eq!(document["topics"].as_array().map(Vec::len), Some(1));
    assert!(document["messagesPerSecond"].is_number(), "{document}");

    assert_eq!(run(&["top"], &anybody).await.0, Some(6), "it is for operators");
    let nobody = Place::new();
    assert_eq!(run(&["top", "--server", &nobody.address], "").await.0, Some(4));
}

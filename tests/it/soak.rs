//! Many messages through a small cluster, for which nothing may grow: neither memory, nor descriptors, nor the disk.
//!
//! `REPL_SOAK_MESSAGES` says how many; `make soak` publishes five million and shows what each node takes meanwhile.

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::cluster::{Client, Cluster, LOOK_EVERY, Parser, Usage, until};

const TOPICS: u64 = 10;

/// What a topic keeps.
const KEPT: u64 = 1_000;

/// Messages published together. As many as a request may have.
const BATCH: u64 = 1_000;

/// Samples of what the nodes take. Nothing may grow between the first half of them and the second.
const SAMPLES: u64 = 20;

/// What a sample may vary by: pages that the allocator keeps, a segment that is not purged yet.
const MEMORY_SLACK_KIB: u64 = 48 * 1024;
const DISK_SLACK_KIB: u64 = 16 * 1024;
const DESCRIPTORS_SLACK: u64 = 32;

/// Checkpoints come with what is published and not with time, so that the first half has as many of them as the second
/// however slow the machine is: what sled takes grows over the first ten.
const ARGUMENTS: [&str; 6] = ["--checkpoint-bytes", "256KiB", "--checkpoint-interval", "1m", "--key-max-count", "1000"];

/// One who reads a topic by way of all nodes, and keeps nothing but count.
struct Reader {
    count: Arc<AtomicU64>,
    reading: JoinHandle<()>,
}

impl Reader {
    fn start(client: Client, nodes: Vec<String>, topic: String) -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let reading = tokio::spawn(read(client, nodes, topic, Arc::clone(&count)));
        Self { count, reading }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Goes on from stream to stream. Asserts that each message follows the one before it, unless the hole is named.
async fn read(client: Client, nodes: Vec<String>, topic: String, count: Arc<AtomicU64>) {
    let (mut last_id, mut last_seq) = (String::new(), 0);
    let mut attempts = interval(LOOK_EVERY);
    for node in nodes.iter().cycle() {
        attempts.tick().await;
        let request = client.request(Method::GET, &format!("{node}/topics/{topic}/sse?after=earliest"));
        let Ok(mut response) = request.header("Last-Event-ID", &last_id).send().await else { continue };
        let mut parser = Parser::default();
        let mut has_gap = false;
        while let Ok(Some(bytes)) = response.chunk().await {
            for event in parser.feed(&bytes) {
                match event.kind.as_str() {
                    "message" => {
                        let seq = event.json()["seq"].as_u64().expect("a number");
                        let follows = if has_gap { seq > last_seq } else { seq == last_seq + 1 };
                        assert!(follows, "{topic}: {seq} after {last_seq}");
                        (last_seq, has_gap) = (seq, false);
                        count.store(seq, Ordering::Relaxed);
                    }
                    "repl.gap" => has_gap = true,
                    _ => {}
                }
                last_id = event.id;
            }
        }
    }
}

/// Publishes a batch until it is acknowledged.
async fn publish(client: &Client, node: &str, batch: u64) {
    let topic = batch % TOPICS;
    let line = |number| json!({ "value": { "batch": batch, "number": number }, "key": format!("{batch}-{number}") });
    let lines: Vec<String> = (0..BATCH).map(|number| line(number).to_string()).collect();
    let request = client.request(Method::POST, &format!("{node}/topics/soak:{topic}"));
    let request = request.header("Content-Type", "application/x-ndjson").body(lines.join("\n"));
    let answer = client.settled(request).await;
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
}

#[tokio::test]
async fn nothing_grows_while_messages_come_and_go() {
    let messages: u64 = env::var("REPL_SOAK_MESSAGES").map_or(160_000, |text| text.parse().expect("a number"));
    let batches = (messages / BATCH / TOPICS * TOPICS).max(SAMPLES);
    let cluster = Cluster::with(3, &ARGUMENTS).await;
    let client = cluster.client.clone();
    let topics: Vec<String> = (0..TOPICS).map(|topic| format!("soak:{topic}")).collect();
    for topic in &topics {
        client.make_keeping(cluster.url(0), topic, KEPT).await;
    }
    let mut readers = Vec::new();
    for (number, topic) in topics.iter().enumerate() {
        let mut nodes = cluster.urls();
        nodes.rotate_left(number % 3);
        readers.push(Reader::start(client.clone(), nodes, topic.clone()));
    }

    let mut samples: BTreeMap<usize, Vec<Usage>> = BTreeMap::new();
    say("messages   node  memory KiB  descriptors  disk KiB");
    for batch in 0..batches {
        let node = usize::try_from(batch % 3).expect("a number");
        publish(&client, cluster.url(node), batch).await;
        if (batch + 1) % (batches / SAMPLES) == 0 {
            for (number, node) in cluster.nodes.iter().enumerate() {
                let usage = node.usage();
                let Usage { memory_kib, descriptors, disk_kib } = usage;
                let published = (batch + 1) * BATCH;
                say(&format!("{published:<10} {:>4} {memory_kib:>11} {descriptors:>12} {disk_kib:>9}", number + 1));
                samples.entry(number).or_default().push(usage);
            }
        }
    }
    for (topic, reader) in topics.iter().zip(&readers) {
        let published = batches / TOPICS * BATCH;
        until("the last message", async || {
            assert!(!reader.reading.is_finished(), "a reader of {topic} has found something wrong");
            (reader.count.load(Ordering::Relaxed) >= published).then_some(())
        })
        .await;
        let kept = client.messages(cluster.url(0), topic).await.expect("a page");
        let last: Option<&Value> = kept.last().map(|message| &message.value["number"]);
        assert_eq!((kept.len() as u64, last), (KEPT, Some(&json!(BATCH - 1))));
        assert_eq!(kept.last().map(|message| message.seq), Some(published), "nothing twice, and nothing lost");
    }
    cluster.nodes[0].ordered(&["verify"]).await;
    for (node, samples) in &samples {
        let (early, late) = samples.split_at(samples.len() / 2);
        let grows = |of: fn(&Usage) -> u64, slack: u64| {
            let most = |samples: &[Usage]| samples.iter().map(of).max().expect("a sample");
            most(late) > most(early) + slack
        };
        assert!(!grows(|usage| usage.memory_kib, MEMORY_SLACK_KIB), "memory of node {}: {samples:#?}", node + 1);
        assert!(!grows(|usage| usage.disk_kib, DISK_SLACK_KIB), "disk of node {}: {samples:#?}", node + 1);
        assert!(!grows(|usage| usage.descriptors, DESCRIPTORS_SLACK), "descriptors of node {}: {samples:#?}", node + 1);
    }
}

/// Not `eprintln`, which the test harness would keep to itself.
fn say(text: &str) {
    if env::var("REPL_SOAK_MESSAGES").is_ok() {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

//! Encrypted connections: certificates at the start, and as they change.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use repl::domain::NodeId;
use repl::rpc::{CallError, Endpoint, Lane, Peer, Refusal, Target};
use repl::tls::{Mutual, MutualFiles};
use rustix::process::Signal;

use crate::authority::{Authority, Files};
use crate::cluster::{Cluster, DEADLINE, Node, until};

/// A process of curl that reads a stream into a file, until it is dropped.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn curl(authority: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--no-buffer", "--noproxy", "*", "--cacert"]).arg(authority).args(words);
    command
}

/// Asks by curl. Answers what was printed, or nothing if there was no connection.
async fn ask(authority: &Path, words: &[&str]) -> Option<String> {
    let mut command = curl(authority, words);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("curl runs");
    output.status.success().then(|| String::from_utf8(output.stdout).expect("UTF-8"))
}

fn words(files: &Files) -> [String; 4] {
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    ["--tls-cert".to_owned(), path(&files.certificate), "--tls-key".to_owned(), path(&files.key)]
}

async fn read_topic(node: &Node, authority: &Path, path: &Path) -> Reader {
    let url = format!("{}/topics/news/sse", node.url());
    let output = File::create(path).expect("a file");
    let reader =
        Reader(curl(authority, &["--http1.1", &url]).stdout(output).stderr(Stdio::null()).spawn().expect("curl"));
    shows(path, "event: repl.ready").await;
    reader
}

async fn shows(path: &Path, text: &str) {
    until(text, async || fs::read_to_string(path).ok()?.contains(text).then_some(())).await;
}

#[tokio::test]
async fn a_node_serves_https_and_takes_new_certificates_while_streams_go_on() {
    let mut cluster = Cluster::without_nodes(&[]);
    let (first, second) = (Authority::new(), Authority::new());
    let directory = cluster.path("");
    let (believes_first, believes_second) = (first.publish(&directory, "first"), second.publish(&directory, "second"));
    let files = first.issue(&directory, "node", &["127.0.0.1"]);
    let words = words(&files);
    // What isn't asked for by a signal is looked at soon, but not within this test.
    let words: Vec<&str> =
        words.iter().map(String::as_str).chain(["--auto-create", "--reload-interval", "1h"]).collect();
    let node = cluster.add(&words).await;
    let node = &cluster.nodes[node];
    assert!(node.url().starts_with("https://127.0.0.1:"), "{}", node.url());
    let livez = format!("{}/livez", node.url());
    let asked = ask(&believes_first, &["--write-out", "%{http_version}", &livez]).await.expect("an answer");
    assert!(asked.ends_with("}\n2"), "{asked}");
    assert_eq!(ask(&believes_second, &[&livez]).await, None);

    let publish = async |authority: &Path, value: &str| {
        let (url, body) = (format!("{}/topics/news", node.url()), format!("{{\"value\":\"{value}\"}}"));
        ask(authority, &["--json", &body, &url]).await.expect("published");
    };
    publish(&believes_first, "before").await;
    let output = cluster.path("stream");
    let _reader = read_topic(node, &believes_first, &output).await;
    second.issue(&directory, "node", &["127.0.0.1"]);
    node.signal(Signal::HUP);
    node.says("using the certificate that is now in").await;
    assert!(ask(&believes_second, &[&livez]).await.is_some());
    assert_eq!(ask(&believes_first, &[&livez]).await, None);

    first.issue(&directory, "other", &["127.0.0.1"]);
    fs::copy(directory.join("other.key"), &files.key).expect("copied");
    node.signal(Signal::HUP);
    node.says("does not belong to the certificate").await;
    publish(&believes_second, "after").await;
    shows(&output, "after").await;
}

#[tokio::test]
async fn certificates_that_change_are_taken_unasked() {
    let mut cluster = Cluster::without_nodes(&[]);
    let (first, second) = (Authority::new(), Authority::new());
    let directory = cluster.path("");
    let words = words(&first.issue(&directory, "node", &["127.0.0.1"]));
    let words: Vec<&str> = words.iter().map(String::as_str).chain(["--reload-interval", "50ms"]).collect();
    let node = cluster.add(&words).await;
    let believes_second = second.publish(&directory, "second");
    second.issue(&directory, "node", &["127.0.0.1"]);
    let livez = format!("{}/livez", cluster.nodes[node].url());
    until("the new certificate is shown", async || ask(&believes_second, &[&livez]).await).await;
}

/// The files of a node of a cluster, and what it is started with.
struct PeerFiles {
    files: MutualFiles,
    words: [String; 6],
}

/// Issues a certificate for a node at `host`.
fn peer_files(authority: &Authority, directory: &Path, name: &str, host: &str) -> PeerFiles {
    let Files { certificate, key } = authority.issue(directory, name, &[host]);
    let files =
        MutualFiles { certificate, key, authority: authority.publish(directory, &format!("authority-of-{name}")) };
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let words =
        [("--peer-tls-cert", &files.certificate), ("--peer-tls-key", &files.key), ("--peer-tls-ca", &files.authority)];
    let words = words.map(|(flag, file)| [flag.to_owned(), path(file)]).concat();
    PeerFiles { words: words.try_into().expect("three pairs"), files }
}

fn with<'a>(words: &[&'a str], files: &'a PeerFiles) -> Vec<&'a str> {
    words.iter().copied().chain(files.words.iter().map(String::as_str)).collect()
}

#[tokio::test]
async fn nodes_with_certificates_form_a_cluster_and_strangers_do_not_get_in() {
    let mut cluster = Cluster::without_nodes(&[]);
    let (authority, directory) = (Authority::new(), cluster.path(""));
    let founder = peer_files(&authority, &directory, "founder", "127.0.0.1");
    cluster.add(&with(&["--bootstrap"], &founder)).await;
    let peer = cluster.nodes[0].started().peer.clone();

    let stranger = peer_files(&Authority::new(), &directory, "stranger", "127.0.0.1");
    let cases = [
        (vec!["--join", &peer], "the other side speaks TLS, and this node does not", "received corrupt message"),
        (with(&["--join", &peer], &stranger), "invalid peer certificate", "received fatal alert"),
    ];
    for (arguments, of_caller, of_called) in cases {
        let node = cluster.prepare(&arguments);
        cluster.nodes[node].spawn();
        cluster.nodes[node].says(of_caller).await;
        cluster.nodes[0].says(of_called).await;
        assert_eq!(cluster.nodes[node].stop().await, Some(1));
        let right = peer_files(&authority, &directory, &format!("node-{node}"), "127.0.0.1");
        cluster.nodes[node].set_arguments(&with(&["--join", &peer], &right));
        cluster.nodes[node].start().await;
    }
    cluster.all_see("three voters", |view| view.voters() == 3 && view.leader.is_some()).await;

    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let leader = cluster.leader().await;
    let mut messages = client.publish_all(cluster.url((leader + 1) % 3), "orders", 0..10).await;
    cluster.nodes[leader].kill();
    let other = cluster.leader().await;
    messages.extend(client.publish_all(cluster.url(other), "orders", 10..20).await);
    cluster.nodes[leader].start().await;
    cluster.all_keep("orders", &messages).await;
}

#[tokio::test]
async fn a_node_of_another_cluster_of_the_same_authority_is_refused() {
    let mut cluster = Cluster::without_nodes(&[]);
    let (authority, directory) = (Authority::new(), cluster.path(""));
    let [ours, theirs] = ["ours", "theirs"].map(|name| peer_files(&authority, &directory, name, "127.0.0.1"));
    cluster.add(&with(&["--bootstrap"], &ours)).await;
    let other = cluster.add(&with(&["--bootstrap"], &theirs)).await;
    cluster.nodes[other].stop().await;
    let peer = cluster.nodes[0].started().peer.clone();
    cluster.nodes[other].set_arguments(&with(&["--join", &peer], &theirs));
    let [ours, foreign] = [0, other].map(|node| cluster.nodes[node].started().cluster.clone());
    let (code, text) = cluster.nodes[other].fails().await;
    assert!(code == Some(2) && text.contains(&format!("belongs to cluster {foreign}, but --join leads")), "{text}");

    // Nor is it let in when it calls as a member.
    let endpoint = Endpoint {
        cluster: Some(foreign.parse().expect("a UUID")),
        node: Some(NodeId::new(1)),
        tls: Some(Mutual::new(theirs.files, "127.0.0.1".to_owned()).expect("files of use")),
        ..Endpoint::default()
    };
    let actual = Some(ours.parse().expect("a UUID"));
    for lane in [Lane::Append, Lane::Control, Lane::Snapshot, Lane::Forward] {
        let target = Target { address: peer.clone(), node: None, lane };
        let refused = Peer::new(endpoint.clone(), target).call(1, Bytes::new(), DEADLINE).await;
        assert!(
            matches!(refused, Err(CallError::Refused(Refusal::ForeignCluster { actual: found })) if found == actual),
            "{refused:?}"
        );
    }
    assert_eq!(cluster.client.view(cluster.url(0)).await.expect("a view").nodes.len(), 1);
}

#[tokio::test]
async fn a_certificate_for_another_address_makes_nobody_a_member() {
    let mut cluster = Cluster::without_nodes(&[]);
    let (authority, directory) = (Authority::new(), cluster.path(""));
    let founder = peer_files(&authority, &directory, "founder", "127.0.0.1");
    cluster.add(&with(&["--bootstrap"], &founder)).await;
    let node = cluster.nodes[0].started().clone();

    // Such a node doesn't start by itself.
    let elsewhere = peer_files(&authority, &directory, "elsewhere", "127.0.0.2");
    let honest = cluster.prepare(&with(&["--join", &node.peer], &elsewhere));
    let (code, text) = cluster.nodes[honest].fails().await;
    assert!(code == Some(2) && text.contains("for 127.0.0.1, which is the address that they are told"), "{text}");

    // One that lies about its number is refused.
    let endpoint = Endpoint {
        cluster: Some(node.cluster.parse().expect("a UUID")),
        node: Some(NodeId::new(1)),
        tls: Some(Mutual::new(elsewhere.files, "127.0.0.2".to_owned()).expect("files of use")),
        ..Endpoint::default()
    };
    let ask = async |endpoint: Endpoint, lane: Lane, kind: u8, request: &[u8]| {
        let target = Target { address: node.peer.clone(), node: None, lane };
        Peer::new(endpoint, target).call(kind, Bytes::copy_from_slice(request), DEADLINE).await
    };
    for lane in [Lane::Append, Lane::Control, Lane::Snapshot, Lane::Forward] {
        let refused = ask(endpoint.clone(), lane, 1, b"").await;
        assert!(matches!(refused, Err(CallError::Refused(Refusal::Certificate))), "{refused:?}");
    }
}

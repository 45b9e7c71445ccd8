//! Encrypted connections: certificates at the start, and as they change.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::authority::{Authority, Files};
use crate::cluster::{Cluster, Node, until};

/// A process of curl that reads a stream into a file, until it is dropped.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes the certificate of an authority, for curl to believe.
fn believe(authority: &Authority, path: &Path) {
    fs::write(path, &authority.pem).expect("written");
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
    let (believes_first, believes_second) = (cluster.path("first.pem"), cluster.path("second.pem"));
    believe(&first, &believes_first);
    believe(&second, &believes_second);
    let directory = cluster.path("");
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
    node.signal("HUP");
    node.says("using the certificate that is now in").await;
    assert!(ask(&believes_second, &[&livez]).await.is_some());
    assert_eq!(ask(&believes_first, &[&livez]).await, None);

    first.issue(&directory, "other", &["127.0.0.1"]);
    fs::copy(directory.join("other.key"), &files.key).expect("copied");
    node.signal("HUP");
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
    let believes_second = cluster.path("second.pem");
    believe(&second, &believes_second);
    second.issue(&directory, "node", &["127.0.0.1"]);
    let livez = format!("{}/livez", cluster.nodes[node].url());
    until("the new certificate is shown", async || ask(&believes_second, &[&livez]).await).await;
}

//! `repl check`, as a monitor runs it.

use std::path::Path;
use std::sync::Arc;

use reqwest::Method;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::cli::repl;
use crate::cluster::{Cluster, Place, until};

/// Code and standard output.
async fn check(servers: &str, words: &[&str]) -> (Option<i32>, String) {
    let mut command = repl(&[&["check", "--server", servers], words].concat());
    let output = spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

/// Waits until a check ends with this code, and says this.
async fn comes_to(servers: &str, words: &[&str], code: i32, says: &str) -> String {
    let what = format!("{words:?} ends with {code} and says {says}");
    until(&what, async || {
        let (ended, text) = check(servers, words).await;
        eprint!("{text}");
        (ended == Some(code) && text.contains(says)).then_some(text)
    })
    .await
}

#[tokio::test]
async fn a_monitor_is_told_what_is_wrong_with_a_cluster_and_how_bad_it_is() {
    let mut cluster = Cluster::of(3).await;
    let all = cluster.urls().join(",");
    let text = comes_to(&all, &["--nodes", "3"], 0, "OK: node ").await;
    assert!(text.contains(" leads, 3 of 3 voters are up | lag=") && text.lines().count() == 1, "{text}");
    comes_to(&all, &["--nodes", "4"], 1, "WARNING: 3 of 4 nodes are members").await;
    // Every node is so far behind, and none more.
    for id in cluster.ids() {
        comes_to(&all, &["--lag-warning", "0"], 1, &format!("node {id} is 0 messages behind")).await;
    }

    let leader = cluster.leader().await;
    let (gone, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let serving = cluster.url(leader).to_owned();
    let id = cluster.nodes[gone].started().node.to_string();
    cluster.nodes[gone].kill();
    comes_to(&serving, &[], 1, &format!("WARNING: no answer from node {id}")).await;
    comes_to(&serving, &["--down-critical", "1"], 2, &format!("CRITICAL: no answer from node {id}")).await;
    let text = comes_to(&all, &[], 1, &format!("WARNING: no answer from node {id} |")).await;
    assert!(!text.contains(cluster.url(gone)), "one fault is told once: {text}");
    comes_to(&serving, &["--down-warning", "2"], 0, "2 of 3 voters are up").await;
    comes_to(&all, &["--down-warning", "2"], 1, &format!("no answer from {}", cluster.url(gone))).await;
    comes_to(cluster.url(gone), &[], 2, "CRITICAL: no answer from http").await;
    // It takes connections, and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let mute = format!("http://{}", mute.local_addr().expect("an address"));
    comes_to(&format!("{serving},{mute}"), &[], 1, &format!("s from {mute}")).await;

    cluster.nodes[other].kill();
    // One fault, told once, whoever is asked.
    let text = comes_to(&all, &["--output", "json"], 2, "1 of 3 voters are up, and 2 are needed").await;
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["findings"].as_array().map(Vec::len), Some(1), "{text}");
    assert_eq!((&document["status"], &document["measured"]["votersUp"]), (&"critical".into(), &1.into()), "{text}");
}

/// A node that asks for tokens, and the file of its secret.
async fn asking_for_tokens() -> (Cluster, String) {
    let mut cluster = Cluster::without_nodes(&[]);
    let file = cluster.path("secret");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef").expect("written");
    let file = file.to_str().expect("UTF-8").to_owned();
    cluster.add(&["--token-secret-file", &file]).await;
    (cluster, file)
}

#[tokio::test]
async fn what_a_monitor_can_not_know_is_unknown_and_no_alarm() {
    let (cluster, _) = asking_for_tokens().await;
    let url = cluster.url(0);
    let (code, text) = check(url, &[]).await;
    assert!(code == Some(3) && text.starts_with("UNKNOWN: the cluster can't be seen: "), "{text}");

    let unknown: [&[&str]; 4] = [
        &["--lag-warning", "many"],
        &["--lag-warning", "10", "--lag-critical", "5"],
        &["--token-file", "/nowhere/token"],
        &["--data-dir", "here"],
    ];
    for words in unknown {
        assert_eq!(check(url, words).await.0, Some(3), "{words:?}");
    }
    assert_eq!(check("not an address", &[]).await.0, Some(3));
    // Nobody is there: that is known.
    let nobody = Place::new();
    assert_eq!(check(&nobody.address, &[]).await.0, Some(2));
}

#[tokio::test]
async fn a_monitor_without_the_rights_of_an_operator_asks_for_nothing_that_it_is_refused() {
    let (cluster, secret) = asking_for_tokens().await;
    let url = cluster.url(0);
    let token = |rights: &[&str]| {
        let output =
            repl(&[&["token", "create", "--secret-file", &secret], rights].concat()).output().expect("it runs");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    };
    let file = cluster.path("token");
    std::fs::write(&file, token(&["--subscribe", "**"])).expect("written");
    comes_to(url, &["--token-file", file.to_str().expect("UTF-8")], 0, "OK: node 1 leads").await;

    let request = cluster.client.request(Method::GET, &format!("{url}/metrics")).bearer_auth(token(&["--admin"]));
    let metrics = cluster.client.send(request).await.expect(200).text;
    assert!(!metrics.contains(r#"repl_http_problems_total{code="forbidden"}"#), "{metrics}");
}

/// Shows a certificate that has expired to whoever connects, which no node does.
async fn show_expired(authority: &Authority, directory: &Path) -> String {
    let files = authority.issue_until(directory, "expired", &["127.0.0.1"], 2001);
    let chain = CertificateDer::pem_file_iter(&files.certificate).expect("a file").collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain.expect("PEM"), key).expect("a pair")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(acceptor.accept(socket));
        }
    });
    format!("https://{address}")
}

#[tokio::test]
async fn a_monitor_is_told_of_certificates_that_expire() {
    let mut cluster = Cluster::without_nodes(&[]);
    let (authority, directory) = (Authority::new(), cluster.path(""));
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let trusted = path(&authority.publish(&directory, "authority"));
    let files = authority.issue(&directory, "node", &["127.0.0.1"]);
    let (certificate, key) = (path(&files.certificate), path(&files.key));
    let of_clients = ["--tls-cert", &certificate, "--tls-key", &key];
    let of_peers = ["--peer-tls-cert", &certificate, "--peer-tls-key", &key, "--peer-tls-ca", &trusted];
    let secure = cluster.add(&[&of_clients[..], &of_peers].concat()).await;
    let plain = cluster.add(&of_peers).await;
    let (secure, plain) = (cluster.url(secure).to_owned(), cluster.url(plain).to_owned());

    let words = ["--ca-file", &trusted, "--certificate-warning"];
    let text = comes_to(&secure, &[&words[..], &["1"]].concat(), 0, "OK: ").await;
    assert!(text.contains(" certificateDays=") && text.ends_with(";1:;0:\n"), "{text}");
    // Valid to the year 2100.
    let text = comes_to(&secure, &[&words[..], &["100000"]].concat(), 1, "WARNING: the certificate of https://").await;
    assert!(
        text.contains(&format!("; the certificate of the nodes' port of {secure} expires at 2100-01-01T")),
        "{text}"
    );
    let whose = format!("WARNING: the certificate of the nodes' port of {plain} expires");
    comes_to(&plain, &["--certificate-warning", "100000"], 1, &whose).await;

    let expired = show_expired(&authority, &directory).await;
    let whose = format!("CRITICAL: the certificate of {expired} has expired");
    comes_to(&format!("{expired},{secure}"), &["--ca-file", &trusted], 2, &whose).await;
}

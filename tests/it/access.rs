//! Tokens against a real node: keys that come and go, and the command that makes tokens.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use pem::Pem;
use reqwest::Method;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cluster::{Client, Cluster, Message, Node, Seen, Subscriber, until};

/// Writes a new key pair as `<name>.pem` and `<name>.pub.pem`.
fn write_keys(directory: &Path, name: &str) {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
    let write = |file: String, tag: &str, key: &[u8]| {
        fs::write(directory.join(file), pem::encode(&Pem::new(tag, key))).expect("written");
    };
    write(format!("{name}.pem"), "PRIVATE KEY", document.as_ref());
    write(format!("{name}.pub.pem"), "PUBLIC KEY", public.as_ref());
}

/// Runs `repl token …` in a directory.
fn token(directory: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_repl"));
    command.env_clear().current_dir(directory).arg("token").args(arguments.split(' ')).output().expect("it runs")
}

fn create(directory: &Path, arguments: &str) -> String {
    let output = token(directory, &format!("create {arguments}"));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("a token").trim().to_owned()
}

/// The status of a publish.
async fn publish(client: &Client, node: &str, token: &str) -> u16 {
    let request = client.publication(node, "a", &1.into()).bearer_auth(token);
    client.send(request).await.status
}

#[tokio::test]
async fn a_key_that_is_changed_is_used_without_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    write_keys(directory.path(), "one");
    write_keys(directory.path(), "two");
    let [one, two] = ["one", "two"].map(|name| create(directory.path(), &format!("--key-file {name}.pem --publish a")));
    let keys = directory.path().join("keys.pem");
    fs::copy(directory.path().join("one.pub.pem"), &keys).expect("copied");
    let keys_flag = keys.to_str().expect("a path of ASCII").to_owned();
    let mut node = Node::new(
        &directory.path().join("node"),
        &["--auto-create", "--reload-interval", "50ms", "--token-key-file", &keys_flag],
    );
    let url = node.start().await.url;
    let client = Client::new();
    assert_eq!([publish(&client, &url, &one).await, publish(&client, &url, &two).await], [201, 401]);

    // What is no key changes nothing.
    fs::write(&keys, "no key").expect("written");
    until("the node says that it keeps its keys", async || node.log().contains("stay as they were").then_some(()))
        .await;
    assert_eq!(publish(&client, &url, &one).await, 201);

    fs::copy(directory.path().join("two.pub.pem"), &keys).expect("copied");
    until("the other key is used", async || (publish(&client, &url, &two).await == 201).then_some(())).await;
    assert_eq!(publish(&client, &url, &one).await, 401);
}

#[tokio::test]
async fn keys_are_fetched_from_an_issuer_and_again_when_asked_to() {
    let directory = tempfile::tempdir().expect("a directory");
    write_keys(directory.path(), "key");
    write_keys(directory.path(), "next");
    let (document, published) = watch::channel(jwks(directory.path(), "key"));
    let issuer = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = issuer.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = issuer.accept().await {
            let _ = socket.read(&mut [0; 1024]).await;
            let jwks = published.borrow().clone();
            let answer =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{jwks}", jwks.len());
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    let issuer = format!("http://{address}/jwks.json");
    let mut node = Node::new(&directory.path().join("node"), &["--auto-create", "--token-jwks-url", &issuer]);
    let url = node.start().await.url;
    let good = create(directory.path(), "--key-file key.pem --key-id key --publish a");
    let next = create(directory.path(), "--key-file next.pem --key-id next --publish a");
    let client = Client::new();
    assert_eq!([publish(&client, &url, &good).await, publish(&client, &url, &next).await], [201, 401]);

    document.send_replace(jwks(directory.path(), "next"));
    node.signal(Signal::HUP);
    until("the next key is used", async || (publish(&client, &url, &next).await == 201).then_some(())).await;
    assert_eq!(publish(&client, &url, &good).await, 401);
}

/// A public key as its issuer publishes it.
fn jwks(directory: &Path, name: &str) -> String {
    let pem = pem::parse(fs::read(directory.join(format!("{name}.pub.pem"))).expect("a key")).expect("PEM");
    // The key itself is the end of its document, and base64url without padding is what a PEM holds, but for two characters.
    let raw = pem.contents().last_chunk::<32>().expect("a key");
    let text = pem::encode(&Pem::new("X", raw.as_slice()));
    let x: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let x = x.trim_end_matches('=').replace('+', "-").replace('/', "_");
    format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{name}","use":"sig","x":"{x}"}}]}}"#)
}

/// What a stream says when it ends for somebody.
fn end(reason: &str) -> impl FnMut(&[Seen]) -> Option<()> {
    let data = format!("{{\"reason\":\"{reason}\"}}");
    move |seen| {
        let said = seen.iter().filter_map(Seen::as_event).any(|event| event.kind == "repl.auth" && event.data == data);
        said.then_some(())
    }
}

#[tokio::test]
async fn a_ticket_is_good_on_every_node_until_it_is_revoked_on_any() {
    let directory = tempfile::tempdir().expect("a directory");
    write_keys(directory.path(), "key");
    let keys = directory.path().join("key.pub.pem");
    let keys = keys.to_str().expect("a path of ASCII");
    // So that the nodes may be looked at.
    let arguments = ["--auto-create", "--token-key-file", keys, "--anonymous-subscribe", "public:**"];
    let mut cluster = Cluster::with(3, &arguments).await;
    let urls = cluster.urls();
    let client = cluster.client.clone();
    let make = |rights: &str| create(directory.path(), &format!("--key-file key.pem {rights}"));
    let (writer, reader, admin) = (make("--publish a"), make("--subscribe a --subject eve"), make("--admin"));
    let publish = async |node: usize, value: u64| {
        let request = client.publication(&urls[node], "a", &value.into()).bearer_auth(&writer);
        let answer = client.settled(request.header("Idempotency-Key", value.to_string())).await;
        serde_json::from_value::<Message>(answer.json()).expect("a message")
    };
    let send = async |node: usize, path: &str, token: &str, body: serde_json::Value| {
        let request = client.request(Method::POST, &format!("{}{path}", urls[node])).bearer_auth(token).json(&body);
        client.settled(request).await
    };
    let first = publish(0, 1).await;
    let ticket = async |node: usize| {
        let body = serde_json::json!({ "topics": ["a"] });
        let answer = send(node, "/tickets", &reader, body).await.expect(201).json();
        answer["ticket"].as_str().expect("a ticket").to_owned()
    };
    let (one, other) = (ticket(0).await, ticket(1).await);
    let path = |ticket: &str| format!("/sse?topic=a&after=earliest&ticket={ticket}");
    // At once, on nodes that may not have heard of it.
    let mut streams = Vec::new();
    for (node, ticket) in [(0, &other), (1, &one), (2, &one), (2, &other)] {
        streams.push(Subscriber::live(&client, &urls[node], &path(ticket)).await);
    }

    send(2, "/revocations", &admin, serde_json::json!({ "ticket": one })).await.expect(204);
    for stream in &streams[1..3] {
        stream.until("the end of a ticket", end("revoked")).await;
    }
    let second = publish(1, 2).await;
    for stream in [&streams[0], &streams[3]] {
        stream.has_seen(&[first.clone(), second.clone()]).await;
    }
    for stream in &streams[1..3] {
        stream.until("a refusal", |seen| seen.contains(&Seen::Refused { status: 401 }).then_some(())).await;
        assert_eq!(stream.ids(), [first.id.as_str()]);
    }

    // It outlives a restart of all.
    send(0, "/revocations", &admin, serde_json::json!({ "subject": "eve" })).await.expect(204);
    for stream in [&streams[0], &streams[3]] {
        stream.until("the end of a subject", end("revoked")).await;
    }
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.spawn();
    }
    for node in &mut cluster.nodes {
        node.serves().await;
    }
    for url in &urls {
        client.readiness(url, 200).await;
        let request = client.request(Method::GET, &format!("{url}/topics/a/messages")).bearer_auth(&reader);
        assert_eq!(client.send(request).await.code().as_deref(), Some("invalid-token"));
        let answer = client.refused(url, &path(&other)).await;
        assert_eq!(answer.code().as_deref(), Some("invalid-token"));
    }
}

/// Stands in everything that must not reach a log.
const CANARY: &str = "c4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ry";

#[tokio::test]
async fn what_is_nobody_s_business_reaches_no_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path of ASCII").to_owned();
    fs::write(path("secret"), CANARY).expect("written");
    fs::write(path("cluster"), CANARY).expect("written");
    let (secret, cluster_secret) = (path("secret"), path("cluster"));
    let mut arguments = vec!["--auto-create", "--log-level", "trace", "--anonymous-subscribe", "public:**"];
    arguments.extend(["--token-secret-file", &secret, "--cluster-secret-file", &cluster_secret]);
    arguments.extend(["--reload-interval", "50ms"]);
    let mut cluster = Cluster::with(2, &arguments).await;
    let client = cluster.client.clone();
    let good = create(
        directory.path(),
        &format!("--secret-file secret --subject {CANARY} --publish ** --subscribe ** --manage ** --admin"),
    );
    let signature = good.rsplit('.').next().expect("a signature").to_owned();
    let text = |name: &str| format!("{{\"{name}\":\"{CANARY}\"}}");
    let mut tickets = Vec::new();
    for url in cluster.urls() {
        let send = async |method: Method, path: &str, header: &str, value: &str, body: String| {
            let request = client.request(method, &format!("{url}{path}")).header(header, value).body(body);
            client.settled(request.header("content-type", "application/json")).await
        };
        let bearer = format!("Bearer {good}");
        let ask =
            async |method: Method, path: &str, body: String| send(method, path, "authorization", &bearer, body).await;
        // What is done,
        ask(Method::POST, "/topics/a", text("value")).await.expect(201);
        let keyed = format!("{{\"value\":1,\"key\":\"{CANARY}{}\"}}", tickets.len());
        let answer = ask(Method::POST, "/topics/a", keyed).await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        ask(Method::GET, "/topics/a/messages", String::new()).await.expect(200);
        ask(Method::POST, "/revocations", text("token")).await.expect(204);
        let ticket = ask(Method::POST, "/tickets", "{\"topics\":[\"a\"]}".to_owned()).await.expect(201).json();
        let ticket = ticket["ticket"].as_str().expect("a ticket").to_owned();
        Subscriber::live(&client, &url, &format!("/sse?topic=a&ticket={ticket}")).await;
        tickets.push(ticket);
        // and what is refused.
        for body in [text("valeu"), format!("{{\"value\":{CANARY}"), CANARY.to_owned(), text("key")] {
            ask(Method::POST, "/topics/a", body.clone()).await.expect(400);
            ask(Method::POST, "/tickets", body.clone()).await.expect(400);
            ask(Method::POST, "/revocations", body).await.expect(400);
        }
        for path in ["/topics?x=", "/sse?topic=a&ticket=", "/sse?topic=a&after=", "/topics/a/messages?before="] {
            let answer = client.refused(&url, &format!("{path}{CANARY}")).await;
            assert!(matches!(answer.status, 400 | 401), "{answer:?}");
        }
        let forged = good.replace(&signature, CANARY);
        for (header, value) in [
            ("authorization", format!("Bearer {CANARY}")),
            ("authorization", format!("Basic {CANARY}")),
            ("authorization", format!("Bearer {forged}")),
            ("cookie", format!("__Secure-repl_token={CANARY}")),
            ("cookie", format!("__Secure-repl_token={good}; __Secure-repl_token={CANARY}")),
        ] {
            send(Method::GET, "/topics", header, &value, String::new()).await.expect(401);
        }
        let refused = send(Method::GET, "/sse?topic=public:x", "last-event-id", CANARY, String::new()).await;
        refused.expect(400);
    }
    // Secrets that can't be used are not shown either.
    fs::write(path("secret"), format!("{CANARY}\n{CANARY}")).expect("written");
    for node in &cluster.nodes {
        until("the node says that it keeps its keys", async || node.log().contains("stay as they were").then_some(()))
            .await;
    }
    for node in &mut cluster.nodes {
        node.stop().await;
        let log = node.log();
        assert!(log.contains("DEBUG") && log.contains("refused"), "it says much:\n{log}");
        for secret in [CANARY, &signature, &tickets[0], &tickets[1]] {
            assert!(!log.contains(secret), "{secret} in\n{log}");
        }
    }
}

#[tokio::test]
async fn what_everybody_may_do_needs_no_token_and_the_rest_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = ["--anonymous-subscribe", "public:**", "--anonymous-publish", "public:wall"];
    let mut node = Node::new(directory.path(), &[&arguments[..], &["--auto-create"]].concat());
    let url = node.start().await.url;
    let client = Client::new();
    client.publish(&url, "public:wall", 1.into()).await;
    let status = async |path: &str| client.send(client.request(Method::GET, &format!("{url}{path}"))).await.status;
    assert_eq!(status("/topics/public:wall/messages").await, 200);
    assert_eq!((status("/topics/other/messages").await, status("/metrics").await), (401, 401));
    assert_eq!(client.send(client.publication(&url, "public:door", &1.into())).await.status, 401);
}

#[test]
fn a_token_is_made_and_judged_on_the_command_line() {
    let directory = tempfile::tempdir().expect("a directory");
    write_keys(directory.path(), "key");
    fs::write(directory.path().join("secret"), "0123456789abcdef0123456789abcdef\n").expect("written");
    let rights =
        "--subject ada --id t1 --publish chat:{sub} --subscribe news:*,chat:** --admin --issuer i --audience a";
    for (private, public) in
        [("--key-file key.pem", "--token-key-file key.pub.pem"), ("--secret-file secret", "--token-secret-file secret")]
    {
        let made = create(directory.path(), &format!("{private} {rights}"));
        let judged = token(directory.path(), &format!("verify {made} {public} --token-issuer i --token-audience a"));
        assert!(judged.status.success(), "{judged:?}");
        let text = String::from_utf8(judged.stdout).expect("UTF-8");
        for line in
            ["subject    ada", "id         t1", "publish    chat:ada", "subscribe  news:* chat:**", "admin      yes"]
        {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        let judged = token(directory.path(), &format!("verify {made} {public} --token-issuer other"));
        assert_eq!(judged.status.code(), Some(1));
        let text = String::from_utf8(judged.stderr).expect("UTF-8");
        assert!(text.contains("`iss`") && !text.contains(&made), "{text}");
    }
    let long = token(directory.path(), "create --secret-file secret --expires-in 30d");
    let told = String::from_utf8(long.stderr).expect("UTF-8");
    assert!(long.status.success() && told.contains("unless their --token-life-max is longer"), "{told}");
    let mismatched = token(directory.path(), "create --key-file key.pub.pem");
    assert_eq!(mismatched.status.code(), Some(1), "{mismatched:?}");
}

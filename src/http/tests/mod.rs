//! The API at its boundary: requests in, answers out.

mod access;
mod anything;
mod browser;
mod console;
mod description;
mod fuzz;
mod history;
mod manual;
mod presence;
mod problems;
mod publish;
mod sockets;
mod streams;
mod tickets;
mod tls;
mod topics;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::network::{Network, Remote};
use super::{Api, App, Metrics, Options};
use crate::node::{CheckpointOptions, Connections, Meeting, Member, NewTopics, Node, Settings, Timing};
use crate::state::{KeyWindow, Quotas};
use crate::trace::Tracer;

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(60);

/// What is over in real time, if that has to be waited for: longer than a machine that is busy stands still.
const SOON_OVER: Duration = Duration::from_secs(5);

/// A node without peers that serves. It ends with the test's runtime, and so does its directory.
async fn node() -> Node {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = Settings {
        data_dir: dir.path().to_owned(),
        member: Member {
            peer: "127.0.0.1:7376".to_owned(),
            client: "http://127.0.0.1:7375".to_owned(),
            reads_along: false,
        },
        join: Vec::new(),
        expected: None,
        secret: None,
        tls: None,
        timing: Timing::default(),
        key_window: KeyWindow::default(),
        quotas: Quotas::default(),
        checkpoint: CheckpointOptions::default(),
        new_topics: NewTopics { inboxes: true, ..NewTopics::default() },
        presence_grace: Duration::from_millis(100),
        keep_alive: Duration::from_secs(15),
        move_window: Duration::from_secs(1),
        connections: Connections::new(|| 0),
        fan_out: Handle::current(),
        tracer: Tracer::default(),
    };
    let meeting = Meeting::new(&settings);
    let node = Node::start(settings, meeting, TaskTracker::new(), CancellationToken::new()).await.expect("a node");
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(dir);
    });
    assert!(node.served().await, "it serves");
    node
}

async fn app(options: Options) -> App {
    let mut registry = Registry::with_prefix("repl");
    let metrics = Metrics::register(&mut registry);
    App { node: node().await, options, metrics, registry, stop: CancellationToken::new() }
}

/// Requests to the API without a listener.
impl Api {
    async fn start() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        Self::new(app(options).await)
    }

    /// With topics of default settings.
    async fn with_topics(names: &[&str]) -> Self {
        let api = Self::start().await;
        for name in names {
            let body = serde_json::json!({ "name": name }).to_string();
            assert_eq!(api.post("/topics", body).await.status, StatusCode::CREATED, "{name}");
        }
        api
    }

    /// Answers any request, and checks that the answer is one that the API describes.
    async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.answer(request).await;
        let (head, body) = response.into_parts();
        let streams = head.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event"));
        let body = if streams { Bytes::new() } else { body.collect().await.expect("a body").to_bytes() };
        let answer = Answer { status: head.status, headers: head.headers, body };
        description::check(&method, &path, &answer);
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, "")).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send(request(Method::DELETE, path, "")).await
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(json(Method::POST, path, body)).await
    }

    async fn patch(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(json(Method::PATCH, path, body)).await
    }

    /// Fails unless the page of metrics has the line.
    async fn check_metric(&self, line: &str) {
        let page = self.get("/metrics").await;
        assert!(page.text().lines().any(|found| found == line), "{line} in\n{}", page.text());
    }

    async fn post_lines(&self, path: &str, body: impl Into<Body>) -> Answer {
        let mut request = request(Method::POST, path, body);
        request.headers_mut().insert("content-type", "application/x-ndjson".parse().expect("a value"));
        self.send(request).await
    }
}

/// What callers say that their requests are part of, unless they say something else.
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00b7ad6b71692033-01";

fn request(method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("traceparent", TRACEPARENT);
    request.body(body.into()).expect("a request")
}

fn json(method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = request(method, path, body);
    request.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
    request
}

/// Where a client comes from that is not on this machine.
fn remote(address: [u8; 4]) -> Remote {
    Remote { address: (address, 7).into(), network: Some(Network::of(address.into())) }
}

/// An answer, but for the body of a stream.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a problem; empty for a success.
    fn code(&self) -> String {
        if self.status.is_success() {
            return String::new();
        }
        self.json().get("code").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// A member of a JSON body, by JSON pointer.
    fn at(&self, pointer: &str) -> Value {
        self.json().pointer(pointer).cloned().unwrap_or(Value::Null)
    }
}

/// The next bytes of a stream.
async fn next(body: &mut Body) -> String {
    let frame = timeout(SOON, body.frame()).await.expect("bytes soon").expect("no end").expect("no error");
    String::from_utf8(frame.into_data().expect("data").to_vec()).expect("UTF-8")
}

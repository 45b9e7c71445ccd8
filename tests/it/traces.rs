//! Traces of requests, as a collector gets them and as the log names them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cluster::{Cluster, LEADER_STAYS, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00b7ad6b71692033";

/// Takes spans by OTLP, as far as it is told to.
#[derive(Clone)]
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    answer: watch::Sender<Option<StatusCode>>,
}

/// A span, and the node that it is of.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Span {
    #[serde(skip)]
    node: String,
    trace_id: String,
    span_id: String,
    parent_span_id: String,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Value>,
    status: Value,
}

impl Span {
    fn took(&self) -> (u64, u64) {
        let nanos = |text: &str| text.parse().expect("a number as text");
        (nanos(&self.start_time_unix_nano), nanos(&self.end_time_unix_nano))
    }

    fn attribute(&self, key: &str) -> Value {
        attribute(&self.attributes, key)
    }
}

fn attribute(attributes: &[Value], key: &str) -> Value {
    attributes.iter().find(|attribute| attribute["key"] == key).map_or(Value::Null, |found| found["value"].clone())
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let collector = Self { url, spans: Arc::default(), answer: watch::Sender::new(Some(StatusCode::OK)) };
        let router = axum::Router::new().route("/v1/traces", post(Self::take)).with_state(collector.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        collector
    }

    /// From now on it answers so, or not until it is told to.
    fn answers(&self, status: impl Into<Option<StatusCode>>) {
        self.answer.send_replace(status.into());
    }

    async fn take(State(collector): State<Self>, body: Bytes) -> StatusCode {
        let mut answer = collector.answer.subscribe();
        let status = answer.wait_for(Option::is_some).await.expect("the sender is here").expect("by the line before");
        if status.is_success() {
            collector.spans.lock().expect("no panic").extend(spans(&body));
        }
        status
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("no panic").clone()
    }
}

/// What an `ExportTraceServiceRequest` holds, which has no members but these.
fn spans(body: &[u8]) -> Vec<Span> {
    let mut request: Value = serde_json::from_slice(body).expect("JSON");
    let mut all = Vec::new();
    for of_resource in request["resourceSpans"].as_array_mut().expect("resources") {
        let attributes = of_resource["resource"]["attributes"].as_array().expect("attributes").clone();
        assert_eq!(attribute(&attributes, "service.name"), json!({"stringValue": "repl"}));
        let node = attribute(&attributes, "service.instance.id")["stringValue"].as_str().expect("an id").to_owned();
        for of_scope in of_resource["scopeSpans"].as_array_mut().expect("scopes") {
            let spans: Vec<Span> = serde_json::from_value(of_scope["spans"].take()).expect("spans");
            all.extend(spans.into_iter().map(|span| Span { node: node.clone(), ..span }));
        }
    }
    all
}

#[tokio::test]
async fn a_publish_to_a_follower_is_one_trace_through_both_nodes() {
    let collector = Collector::start().await;
    let arguments = [&["--otlp-endpoint", &collector.url, "--trace-ratio", "0"], &LEADER_STAYS[..]].concat();
    let mut cluster = Cluster::with(3, &arguments).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let (client, node) = (&cluster.client, cluster.url(follower));
    client.make(node, "orders").await;
    let publication = client.publication(node, "orders", &json!(1));
    client.send(publication.header("traceparent", format!("00-{TRACE}-{CALLER}-01"))).await.expect(201);

    let spans = until("three spans", async || Some(collector.spans()).filter(|spans| spans.len() >= 3)).await;
    assert!(spans.iter().all(|span| span.trace_id == TRACE), "nobody asked for others: {spans:?}");
    let by_name: HashMap<&str, &Span> = spans.iter().map(|span| (span.name.as_str(), span)).collect();
    let [request, forward, commit] = ["POST /topics/{topic}", "forward", "commit"].map(|name| by_name[name]);
    let id = |number: usize| cluster.nodes[number].started().node.to_string();
    assert_eq!([&request.node, &forward.node, &commit.node], [&id(follower), &id(follower), &id(leader)]);
    assert_eq!([&request.parent_span_id, &forward.parent_span_id], [CALLER, &request.span_id]);
    assert_eq!(commit.parent_span_id, forward.span_id);
    assert_eq!([request.kind, forward.kind, commit.kind], [2, 3, 2], "server, client, server");
    assert_eq!(request.attribute("http.response.status_code"), json!({"intValue": "201"}));
    assert!(commit.attribute("repl.entry")["intValue"].is_string(), "{commit:?}");
    assert!([request, forward, commit].iter().all(|span| span.status == json!({"code": 0})));
    let [request, forward, commit] = [request, forward, commit].map(Span::took);
    assert!(request.0 <= forward.0 && forward.0 <= commit.0, "{request:?} {forward:?} {commit:?}");
    assert!(commit.0 < commit.1 && commit.1 - commit.0 <= forward.1 - forward.0, "{forward:?} {commit:?}");

    let exported = async |node: &str| client.metric(node, "repl_trace_spans_exported_total").await;
    let two = async || exported(cluster.url(follower)).await.filter(|count| *count == 2);
    until("the two of the follower are counted", two).await;
}

#[tokio::test]
async fn a_node_that_stops_in_order_sends_the_spans_that_are_left() {
    let collector = Collector::start().await;
    let mut cluster = Cluster::with(1, &["--otlp-endpoint", &collector.url]).await;
    let (client, node) = (&cluster.client, cluster.url(0));
    client.make(node, "orders").await;
    collector.answers(None);
    for value in 0..20 {
        client.send(client.publication(node, "orders", &json!(value))).await.expect(201);
    }
    cluster.nodes[0].signal(Signal::TERM);
    cluster.nodes[0].says("stopping: waiting for the last traces to be sent").await;
    collector.answers(StatusCode::OK);
    assert_eq!(cluster.nodes[0].ends().await.0, Some(0));
    let spans = collector.spans();
    let publishes: Vec<_> = spans.iter().filter(|span| span.name == "POST /topics/{topic}").collect();
    assert_eq!(publishes.len(), 20);
    for publish in publishes {
        let parts: Vec<_> = spans.iter().filter(|span| span.parent_span_id == publish.span_id).collect();
        assert_eq!(parts.iter().map(|part| (part.name.as_str(), part.kind)).collect::<Vec<_>>(), [("commit", 1)]);
        assert_eq!((&parts[0].trace_id, publish.parent_span_id.as_str()), (&publish.trace_id, ""));
    }
}

#[tokio::test]
async fn a_collector_in_trouble_costs_its_spans_and_nothing_else() {
    let collector = Collector::start().await;
    collector.answers(StatusCode::SERVICE_UNAVAILABLE);
    let mut cluster = Cluster::with(1, &["--otlp-endpoint", &collector.url, "--trace-ratio", "0"]).await;
    let (client, node) = (&cluster.client, cluster.url(0));
    client.make(node, "orders").await;
    let publish = async || {
        let publication = client.publication(node, "orders", &json!(1));
        client.send(publication.header("traceparent", format!("00-{TRACE}-{CALLER}-01"))).await.expect(201);
    };
    let counts = async |metric: &str, expected: u64| {
        let metric = format!("repl_trace_spans_{metric}_total");
        until(&metric, async || client.metric(node, &metric).await.filter(|count| *count == expected)).await;
    };
    publish().await;
    counts("dropped", 2).await;
    cluster.nodes[0].says("traces don't reach the collector (--otlp-endpoint)").await;
    collector.answers(StatusCode::OK);
    publish().await;
    counts("exported", 2).await;
    cluster.nodes[0].says("traces reach the collector again").await;
    counts("dropped", 2).await;

    collector.answers(None);
    publish().await;
    publish().await;
    assert_eq!(cluster.nodes[0].stop().await, Some(0));
    cluster.nodes[0].says("the last traces were not sent: the collector takes too long").await;
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test]
async fn a_problem_leads_to_the_lines_of_the_log() {
    let cluster = Cluster::with(1, &["--log-format", "json", "--log-level", "debug"]).await;
    let missing = cluster.client.get(cluster.url(0), "/topics/missing").await.expect(404).json();
    let (log, trace) = (cluster.nodes[0].log(), missing["traceId"].as_str().expect("an id"));
    // Of others the last one may be half written.
    let lines = log.lines().filter(|line| line.contains(trace));
    let found: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["trace_id"], trace);
    assert_eq!([&found[0]["message"], &found[0]["code"]], ["refused", "topic-not-found"]);
}

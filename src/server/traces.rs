//! Spans on their way to a collector: OTLP over HTTP, in JSON.
//!
//! Every collector takes this form (<https://opentelemetry.io/docs/specs/otlp/>, "JSON Protobuf Encoding"), and it is a page
//! of code on what is linked anyway. So any build can export, and tests try the one that people run.
//!
//! Nothing waits for the collector: one that is away, slow or refuses loses the spans that it should have had, which are
//! counted.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Settings;
use crate::node::ClusterView;
use crate::trace::{self, Kind, Record, Tracer};

/// Spans that wait for the collector: some megabytes.
const QUEUE_MAX: usize = 8 * 1024;

/// Spans of one request to the collector. To write them down takes a thread a millisecond or two, and no longer.
const BATCH_MAX: usize = 512;

/// Between two requests to the collector, so that spans come together.
const EXPORT_EVERY: Duration = Duration::from_millis(50);

/// For the collector to answer; as OpenTelemetry's exporters have it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// For what is left when the node stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends spans to a collector.
#[derive(Debug)]
pub(super) struct Exporter {
    client: reqwest::Client,
    url: String,
    queue: mpsc::Receiver<Record>,
    exported: Counter,
    dropped: Counter,
    /// Whether the last request failed, which was told then.
    fails: bool,
}

/// One that runs.
#[derive(Debug)]
pub(super) struct Exporting {
    task: JoinHandle<()>,
    finish: CancellationToken,
}

/// What takes spans, and what sends them to the collector, if the settings name one.
pub(super) fn prepare(
    settings: &Settings,
    registry: &mut Registry,
) -> Result<(Tracer, Option<Exporter>), reqwest::Error> {
    let (exported, dropped) = (Counter::default(), Counter::default());
    let registry = registry.sub_registry_with_prefix("trace");
    registry.register("spans_exported", "Spans that the collector has taken", exported.clone());
    let help = "Spans that were lost: the collector was away, too slow, or refused them";
    registry.register("spans_dropped", help, dropped.clone());
    let Some(collector) = &settings.otlp_endpoint else { return Ok((Tracer::default(), None)) };
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_TIMEOUT)
        .user_agent(concat!("repl/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let (sender, queue) = mpsc::channel(QUEUE_MAX);
    let tracer = Tracer::new(settings.trace_ratio, sender, dropped.clone());
    let exporter = Exporter { client, url: collector.traces(), queue, exported, dropped, fails: false };
    Ok((tracer, Some(exporter)))
}

impl Exporter {
    /// Sends the spans of a node until it is to finish.
    pub(super) fn start(self, cluster: &ClusterView) -> Exporting {
        let resource = resource(cluster);
        let finish = CancellationToken::new();
        Exporting { task: tokio::spawn(self.run(resource, finish.clone())), finish }
    }

    async fn run(mut self, resource: Value, finish: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                () = finish.cancelled(), if !self.queue.is_closed() => self.queue.close(),
                taken = self.queue.recv_many(&mut batch, BATCH_MAX) => {
                    // Closed, and empty.
                    if taken == 0 {
                        return;
                    }
                    self.export(&resource, &batch).await;
                    batch.clear();
                    let _ = timeout(EXPORT_EVERY, finish.cancelled()).await;
                }
            }
        }
    }

    async fn export(&mut self, resource: &Value, spans: &[Record]) {
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let sent = self.client.post(&self.url).json(&request(resource, spans)).send().await;
        match sent.and_then(reqwest::Response::error_for_status) {
            Ok(_) => {
                self.exported.inc_by(count);
                if self.fails {
                    info!("traces reach the collector again");
                }
                self.fails = false;
            }
            Err(error) => {
                self.dropped.inc_by(count);
                if !self.fails {
                    warn!(
                        error = &error as &dyn Error,
                        "traces don't reach the collector (--otlp-endpoint), trying on"
                    );
                }
                self.fails = true;
            }
        }
    }
}

impl Exporting {
    /// Sends what is left, as far as the collector takes it soon.
    pub(super) async fn finish(self) {
        self.finish.cancel();
        let abort = self.task.abort_handle();
        if timeout(FLUSH_TIMEOUT, self.task).await.is_err() {
            abort.abort();
            warn!("the last traces were not sent: the collector takes too long");
        }
    }
}

/// Whose spans they are.
fn resource(cluster: &ClusterView) -> Value {
    let attributes = [
        ("service.name", "repl".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.namespace", cluster.cluster.to_string()),
        ("service.instance.id", cluster.node.to_string()),
    ];
    let attributes = attributes.map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}));
    json!({"attributes": attributes})
}

/// An `ExportTraceServiceRequest`.
fn request(resource: &Value, spans: &[Record]) -> Value {
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "repl"}, "spans": spans}]}]})
}

/// A `Span`. Ids are hexadecimal, numbers of 64 bits are text, and enumerations are numbers.
fn span(record: &Record) -> Value {
    let kind = match record.kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
    };
    let attributes = record.attributes.iter().map(|(key, value)| {
        let value = match value {
            trace::Value::Text(text) => json!({"stringValue": text}),
            trace::Value::Number(number) => json!({"intValue": number.to_string()}),
        };
        json!({"key": key, "value": value})
    });
    json!({
        "traceId": record.context.trace.to_string(),
        "spanId": record.context.span.to_string(),
        "parentSpanId": record.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        "name": record.name,
        "kind": kind,
        "startTimeUnixNano": unix_nanos(record.began),
        "endTimeUnixNano": unix_nanos(record.began + record.took),
        "attributes": attributes.collect::<Vec<_>>(),
        // An error, or nothing said.
        "status": {"code": if record.failed { 2 } else { 0 }},
    })
}

fn unix_nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

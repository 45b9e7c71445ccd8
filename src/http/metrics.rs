//! Metrics: what this module counts, and the page that shows what every module counts.
//!
//! There is no global registry: several nodes in one process stay apart. Whoever builds a node makes its registry, lets
//! each module register in it, and hands it to [`super::App`], which only prints it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::access::Operator;
use super::{App, Code, Problem};
use crate::durations::Durations;

/// From half a millisecond, a read from memory, to beyond the time a write may take.
const DURATION_BUCKETS_SECONDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// The counters of the clients' port.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Of publishes that were stored.
    publishes: Durations,
    in_flight: Gauge,
    streams: Gauge,
    streams_opened: Family<OutcomeLabels, Counter>,
    connections: Gauge,
    connections_closed: Family<ReasonLabels, Counter>,
    replays_cut: Counter,
    messages: Family<OutcomeLabels, Counter>,
    problems: Family<ProblemLabels, Counter>,
    tokens_refused: Family<ReasonLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
    method: &'static str,
}

/// Publishing.
const PUBLISH: RouteLabels = RouteLabels { route: "/topics/{topic}", method: "POST" };

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemLabels {
    code: &'static str,
}

/// What became of a wish for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Served,
    /// The node serves none now.
    Refused,
    /// Whoever wished had too many.
    TooMany,
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The client was done, or went away.
    Client,
    /// There were too many others.
    Full,
    /// There were too many others of its address.
    AddressFull,
    /// Too many came from its address at once.
    TooFast,
    /// It was to speak TLS, and did not, or not in time.
    Handshake,
    /// It sent a head that was too large.
    Head,
    /// It sent nothing for too long, or a head too slowly.
    Idle,
    /// It took nothing for too long.
    Stalled,
    /// The server stopped.
    Stopped,
}

impl Closed {
    fn labels(self) -> ReasonLabels {
        let reason = match self {
            Self::Client => "client",
            Self::Full => "full",
            Self::AddressFull => "address",
            Self::TooFast => "rate",
            Self::Handshake => "handshake",
            Self::Head => "head",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Stopped => "stopped",
        };
        ReasonLabels { reason }
    }
}

impl Metrics {
    /// Makes the counters and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS_SECONDS)),
            publishes: Durations::default(),
            in_flight: Gauge::default(),
            streams: Gauge::default(),
            streams_opened: Family::default(),
            connections: Gauge::default(),
            connections_closed: Family::default(),
            replays_cut: Counter::default(),
            messages: Family::default(),
            problems: Family::default(),
            tokens_refused: Family::default(),
        };
        let help = "Messages published through this node, by what became of them";
        registry.register("messages_published", help, metrics.messages.clone());
        let registry = registry.sub_registry_with_prefix("http");
        registry.register("requests", "Requests answered, by class of status", metrics.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time from a request's head to its answer's head",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register("requests_in_flight", "Requests not answered yet", metrics.in_flight.clone());
        registry.register("streams", "Open streams", metrics.streams.clone());
        registry.register("streams_opened", "Streams asked for", metrics.streams_opened.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register("connections_closed", "Connections closed, by reason", metrics.connections_closed.clone());
        let help = "Streams ended after as much history as one request is sent";
        registry.register("replays_cut", help, metrics.replays_cut.clone());
        registry.register("problems", "Requests answered with a problem, by its code", metrics.problems.clone());
        let help = "Tokens and tickets that were not accepted, by reason";
        registry.register("tokens_refused", help, metrics.tokens_refused.clone());
        metrics
    }

    /// Counts messages of a publish that was carried out.
    pub(super) fn messages_published(&self, stored: usize, repeated: usize) {
        for (result, count) in [("stored", stored), ("repeated", repeated)] {
            if count > 0 {
                self.messages.get_or_create(&OutcomeLabels { result }).inc_by(count as u64);
            }
        }
    }

    /// Counts a stream that was asked for.
    pub(super) fn stream_asked_for(&self, admission: Admission) {
        let result = match admission {
            Admission::Served => "served",
            Admission::Refused => "refused",
            Admission::TooMany => "too_many",
        };
        self.streams_opened.get_or_create(&OutcomeLabels { result }).inc();
    }

    /// Counts a stream; it is open until what this returns is dropped.
    pub(super) fn stream_opened(&self) -> Open {
        Open::new(&self.streams)
    }

    /// Counts a stream that had enough history for one request.
    pub(super) fn replay_cut(&self) {
        self.replays_cut.inc();
    }

    /// Counts a connection; it is open until what this returns is dropped.
    pub(super) fn connection_opened(&self) -> Open {
        Open::new(&self.connections)
    }

    pub(super) fn connection_closed(&self, reason: Closed) {
        self.connections_closed.get_or_create(&reason.labels()).inc();
    }

    /// Open connections, for what the cluster tells about this node.
    #[must_use]
    pub fn connections(&self) -> u64 {
        u64::try_from(self.connections.get()).unwrap_or(0)
    }

    /// How long publishes took that were stored.
    pub(super) fn publishes(&self) -> &Durations {
        &self.publishes
    }

    /// Open streams.
    pub(super) fn streams(&self) -> u64 {
        u64::try_from(self.streams.get()).unwrap_or(0)
    }

    /// Connections closed for this reason.
    pub(super) fn closed(&self, reason: Closed) -> u64 {
        self.connections_closed.get_or_create(&reason.labels()).get()
    }

    /// Counts a token or a ticket that was not accepted.
    pub(super) fn token_refused(&self, reason: &'static str) {
        self.tokens_refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a request that has come.
    pub(super) fn request(&self, request: &Request) -> Counted<'_> {
        let labels = RouteLabels { route: route(request.uri().path()), method: known(request.method()) };
        Counted { metrics: self, labels, started: Instant::now(), _in_flight: Open::new(&self.in_flight) }
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    metrics: &'a Metrics,
    labels: RouteLabels,
    started: Instant,
    _in_flight: Open,
}

impl Counted<'_> {
    pub(super) fn method(&self) -> &'static str {
        self.labels.method
    }

    pub(super) fn route(&self) -> &'static str {
        self.labels.route
    }

    pub(super) fn answered(self, answer: &Response) {
        let took = self.started.elapsed();
        if self.labels == PUBLISH && answer.status().is_success() {
            self.metrics.publishes.record(took);
        }
        if let Some(code) = answer.extensions().get::<Code>() {
            self.metrics.problems.get_or_create(&ProblemLabels { code: code.as_str() }).inc();
        }
        self.metrics.durations.get_or_create(&self.labels).observe(took.as_secs_f64());
        let RouteLabels { route, method } = self.labels;
        self.metrics.requests.get_or_create(&RequestLabels { route, method, status: class(answer.status()) }).inc();
    }
}

/// Something that is open as long as this lives.
#[derive(Debug)]
pub(super) struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Read metrics
#[utoipa::path(get, path = "/metrics", operation_id = "readMetrics", tag = "operations",
    responses((status = 200, description = "Metrics of this node", body = String,
        content_type = "application/openmetrics-text")))]
pub(super) async fn page(State(app): State<Arc<App>>, _: Operator) -> Result<Response, Problem> {
    let mut text = String::new();
    encode(&mut text, &app.registry).map_err(|error| Problem::internal(&error))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

/// The route that a path belongs to, so that a client can't make new labels.
fn route(path: &str) -> &'static str {
    let mut segments = path.split('/').skip(1);
    let segments = [segments.next(), segments.next(), segments.next(), segments.next()];
    match segments {
        [Some("topics"), None, ..] => "/topics",
        [Some("topics"), Some(topic), None, _] if !topic.is_empty() => "/topics/{topic}",
        [Some("topics"), Some(topic), Some("messages"), None] if !topic.is_empty() => "/topics/{topic}/messages",
        [Some("topics"), Some(topic), Some("occupancy"), None] if !topic.is_empty() => "/topics/{topic}/occupancy",
        [Some("topics"), Some(topic), Some("presence"), None] if !topic.is_empty() => "/topics/{topic}/presence",
        [Some("users"), Some(user), Some("presence"), None] if !user.is_empty() => "/users/{user}/presence",
        [Some("topics"), Some(topic), Some("sse"), None] if !topic.is_empty() => "/topics/{topic}/sse",
        [Some("sse"), None, ..] => "/sse",
        [Some("streams"), None, ..] => "/streams",
        [Some("tickets"), None, ..] => "/tickets",
        [Some("revocations"), None, ..] => "/revocations",
        [Some("cluster"), None, ..] => "/cluster",
        [Some("cluster"), Some("nodes"), None, _] => "/cluster/nodes",
        [Some("livez"), None, ..] => "/livez",
        [Some("readyz"), None, ..] => "/readyz",
        [Some("metrics"), None, ..] => "/metrics",
        [Some("openapi.json"), None, ..] => "/openapi.json",
        [Some("console"), None, ..] => "/console",
        [Some("console"), Some("feed"), None, _] => "/console/feed",
        [Some("console"), Some(_), None, _] => "/console/{file}",
        [Some("docs"), None, ..] => "/docs",
        [Some("docs"), Some(_), None, _] => "/docs/{page}",
        [Some("problems"), Some(_), None, _] => "/problems/{code}",
        _ => "none",
    }
}

fn known(method: &Method) -> &'static str {
    [&Method::GET, &Method::POST, &Method::PATCH, &Method::DELETE, &Method::HEAD, &Method::OPTIONS]
        .into_iter()
        .zip(["GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"])
        .find_map(|(known, name)| (known == method).then_some(name))
        .unwrap_or("other")
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::route;
    use crate::http::{console, manual, routes};

    #[test]
    fn every_route_is_counted_under_its_own_path_and_nothing_else_is() {
        let api = routes().map(|(path, _)| path);
        let pages = [console::PAGE, console::FEED, console::FILE, manual::HOME, manual::PAGE, manual::PROBLEM];
        for path in api.into_iter().chain(pages) {
            assert_eq!(route(path), path);
        }
        for path in
            ["", "/", "*", "/topics/", "/topics//sse", "/topics/a/b", "/topics/a/sse/", "/sse/a", "/Topics", "//"]
        {
            assert_eq!(route(path), "none", "{path}");
        }
    }
}

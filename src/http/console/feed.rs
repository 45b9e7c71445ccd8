//! What an open console shows, once a second, as Server-Sent Events.
//!
//! Nothing is measured but while somebody looks, and then once for all who do. Counters are sent as they are; the page
//! makes rates of them, so nobody has to remember here what was sent to whom.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::domain::Timestamp;
use crate::http::App;
use crate::http::access::{Caller, Insider};
use crate::http::cluster::ClusterBody;
use crate::http::metrics::Closed;
use crate::http::stream::STREAM_HEADERS;
use crate::http::topics::TopicBody;
use crate::node::{Lease, Node};

/// How often a console is told.
const EVERY: Duration = Duration::from_secs(1);

/// For how long a sample serves others as well.
const FRESH: Duration = Duration::from_millis(500);

/// Topics of a sample, the first by name. The page asks for others by their prefix.
const TOPICS_MAX: usize = 200;

/// What all open consoles share.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    started: Instant,
    /// The newest sample, as an event, and when it was taken.
    newest: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

/// What there is to show.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sample {
    /// When, in milliseconds since the node began to serve.
    time_ms: u64,
    cluster: ClusterBody,
    topics: Vec<TopicBody>,
    topic_count: usize,
    node: NodeSample,
}

/// What this node counts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeSample {
    /// Messages of the cluster that are applied here.
    position: u64,
    /// Requests to publish that were stored, by the microseconds that they took.
    publishes: Vec<(u64, u64)>,
    deliveries: u64,
    delivered_bytes: u64,
    streams: u64,
    connections: u64,
    /// Times that a subscription fell back to history.
    behind: u64,
    /// Connections closed because they took nothing.
    stalled: u64,
    fsyncs: u64,
    fsync_micros: u64,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), newest: Arc::default() }
    }

    /// A stream that ends with the node, or with what the caller was let in by.
    pub(super) fn open(self, app: Arc<App>, caller: &Caller) -> Response {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watching = (self, app, caller.lease(), ticks);
        let events = stream::unfold(watching, async |(feed, app, lease, mut ticks)| {
            tokio::select! {
                biased;
                () = app.stop.cancelled() => return None,
                _ = ticks.tick() => {}
            }
            if lease.as_ref().is_some_and(|lease| is_over(lease, &app.node)) {
                return None;
            }
            let event = feed.newest(&app);
            Some((Ok::<_, Infallible>(event), (feed, app, lease, ticks)))
        });
        (STREAM_HEADERS, Body::from_stream(events)).into_response()
    }

    /// The newest sample, if it is fresh; else a new one.
    fn newest(&self, app: &App) -> Bytes {
        let newest = || self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, event)) = newest().as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return event.clone();
        }
        let time_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let event = event(&Sample::take(app, time_ms));
        *newest() = Some((Instant::now(), event.clone()));
        event
    }
}

impl Sample {
    fn take(app: &App, time_ms: u64) -> Self {
        let counts = app.node.counts();
        let node = NodeSample {
            position: counts.position.get(),
            publishes: app.metrics.publishes().counts(),
            deliveries: counts.broker.delivered_frames,
            delivered_bytes: counts.broker.delivered_bytes,
            streams: app.metrics.streams(),
            connections: app.metrics.connections(),
            behind: counts.broker.behind,
            stalled: app.metrics.closed(Closed::Stalled),
            fsyncs: counts.log.fsyncs.count(),
            fsync_micros: u64::try_from(counts.log.fsyncs.total().as_micros()).unwrap_or(u64::MAX),
        };
        Self {
            time_ms,
            cluster: ClusterBody::new(app.node.cluster(), &Insider { is_operator: true }),
            topics: app.node.topics("", None, TOPICS_MAX).into_iter().map(TopicBody::from).collect(),
            topic_count: counts.topics,
            node,
        }
    }
}

fn event(sample: &Sample) -> Bytes {
    let data = serde_json::to_string(sample).expect("our types are text and numbers under text keys");
    format!("data: {data}\n\n").into()
}

fn is_over(lease: &Lease, node: &Node) -> bool {
    lease.expires_at <= Timestamp::now() || node.is_revoked(&lease.bearer)
}

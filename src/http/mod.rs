//! The clients' port: REST for topics and messages, Server-Sent Events for streams, and what operators look at.
//!
//! A request is parsed into types of `domain`, handed to [`Node`], and its answer written down; that is all. There is no
//! state here but counters, nothing knows of Raft or of storage, and nothing waits but for the node and the client.
//!
//! - Whatever a client sends is answered, by a success or by a [`Problem`] with a stable [`Code`]: extractors reject with
//!   problems, errors of the node become problems by an exhaustive `match`, and so does a panic.
//! - Everything a client may make grow has a bound with a name: [`Limits`] has those of connections, [`Options`] those of
//!   messages, and each route its own.
//! - Bodies are types of this module. What `domain` stores may change its form without the API noticing.
//! - [`Api`] answers requests; [`serve()`] takes them from a listener. Tests need only the first.
//! - Whoever needs a right is asked for it in one place, by what handlers take: see `access`.
//! - What is for people to look at, the console and the manual, are folders of their own and no part of the API.
//! - Nothing here changes the cluster, but for [`serve_admin`], which has a listener of its own.

mod access;
mod activity;
mod admin;
mod allowance;
mod api;
mod body;
mod cluster;
mod code;
mod connection;
mod console;
mod first_head;
mod health;
mod history;
mod manual;
mod metrics;
mod network;
mod openapi;
mod origin;
mod party;
mod path;
mod places;
mod presence;
mod problem;
mod publish;
mod query;
mod rates;
mod request_body;
mod revocations;
mod serve;
mod socket;
mod start;
mod starting;
mod stream;
mod stream_writer;
mod streams;
#[cfg(test)]
mod tests;
mod tickets;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::HeaderName;
use axum::routing::{MethodRouter, get, post};
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::admin::serve_admin;
pub use self::api::Api;
pub use self::code::Code;
pub use self::metrics::Metrics;
pub use self::origin::{Origin, OriginError};
pub use self::problem::Problem;
pub use self::rates::Rates;
pub use self::serve::{Limits, serve};
pub use self::starting::Front;
pub use self::stream::StreamPlaces;
use crate::auth::Authority;
use crate::node::Node;

/// The cursor that an `EventSource` sends when it comes back.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a caller says that its request is part of: <https://www.w3.org/TR/trace-context/>.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What requests are served with.
#[derive(Debug)]
pub struct App {
    /// What is served.
    pub node: Node,
    /// How it is served.
    pub options: Options,
    /// The counters of this module.
    pub metrics: Metrics,
    /// The counters of every module, for `/metrics`.
    pub registry: Registry,
    /// Ends streams, between two events.
    pub stop: CancellationToken,
}

/// Settings of the clients' port.
#[derive(Clone, Debug)]
pub struct Options {
    /// The listener is bound to loopback: only requests for a `Host` that names loopback are served.
    pub loopback_only: bool,
    /// Origins whose pages are admitted besides those of this machine.
    pub cors_origins: Vec<Origin>,
    /// Who may do what; without it everybody everything.
    pub auth: Option<Arc<Authority>>,
    /// The largest message, as the bytes of its JSON with value, headers and type.
    pub message_bytes_max: usize,
    /// How fast one party may publish.
    pub publish_rates: Rates,
    /// How fast one party may create topics and tickets.
    pub creation_rates: Rates,
    /// How many streams one party may have.
    pub stream_places: StreamPlaces,
    /// History that one request for a stream is sent at a stretch before it ends, in bytes. Its client comes again, and goes
    /// on from there.
    pub replay_bytes_max: u64,
    /// How long a write may take before it is answered with "outcome unknown".
    pub write_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            loopback_only: true,
            cors_origins: Vec::new(),
            auth: None,
            message_bytes_max: 64 * 1024,
            publish_rates: Rates::default(),
            creation_rates: Rates::default(),
            stream_places: StreamPlaces::default(),
            replay_bytes_max: 256 * 1024 * 1024,
            // Longer than an election, so that a write that meets one usually outlives it.
            write_timeout: Duration::from_secs(5),
        }
    }
}

impl App {
    /// When a write that starts now has taken too long.
    fn write_deadline(&self) -> Instant {
        Instant::now() + self.options.write_timeout
    }
}

/// Every route of the API.
fn routes() -> [(&'static str, MethodRouter<Arc<App>>); 17] {
    [
        ("/topics", get(topics::list).post(topics::create)),
        ("/topics/{topic}", get(topics::get).post(publish::publish).patch(topics::change).delete(topics::delete)),
        ("/topics/{topic}/messages", get(history::page)),
        ("/topics/{topic}/presence", get(presence::of_topic)),
        ("/topics/{topic}/occupancy", get(presence::occupancy)),
        ("/topics/{topic}/sse", get(stream::one)),
        ("/users/{user}/presence", get(presence::of_user)),
        ("/sse", get(stream::many)),
        ("/streams", get(streams::list)),
        ("/tickets", post(tickets::create)),
        ("/revocations", post(revocations::create)),
        ("/cluster", get(cluster::get)),
        ("/cluster/nodes", get(cluster::list)),
        ("/livez", get(health::live)),
        ("/readyz", get(health::ready)),
        ("/metrics", get(metrics::page)),
        ("/openapi.json", get(openapi::document)),
    ]
}

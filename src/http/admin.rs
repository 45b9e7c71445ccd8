//! The operators' port: a socket in the file system, which only those reach who may open the file. No web page can.
//!
//! The same bodies and problems as on the clients' port. Any node takes any order; what the leader has to do goes on to
//! it from here.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use bytes::BytesMut;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::UnixListener;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::access::Caller;
use super::body::Json;
use super::query::{FromParameters, Parameters, QueryString};
use super::{Api, App, Code, Problem, cluster, health, metrics, revocations};
use crate::domain::{NodeId, Position};
use crate::node::{Difference, NodeState, Order, Verification};
use crate::state::Digest;

/// For an order to be carried out: a change of the membership that meets an election still comes to its end.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves operators until `stop`.
pub async fn serve_admin(listener: UnixListener, api: Api, stop: CancellationToken) {
    let served = axum::serve(listener, routes(Arc::clone(api.app()))).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        warn!(error = &error as &dyn std::error::Error, "operators are served no more");
    }
}

fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/cluster", get(cluster::get))
        .route("/cluster/leader", post(transfer))
        .route("/cluster/verify", post(verify))
        .route("/cluster/rebalance", post(rebalance))
        .route("/cluster/nodes/{node}", delete(remove))
        .route("/cluster/nodes/{node}/promote", post(promote))
        .route("/cluster/nodes/{node}/drain", post(drain))
        .route("/revocations", post(revocations::create))
        .route("/backup", get(backup))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::page))
        .fallback(async || Problem::new(Code::RouteNotFound, "See `repl cluster --help` for what can be ordered."))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed, "See the Allow header."))
        // Whoever reaches the socket is the operator.
        .layer(Extension(Caller::Trusted))
        .with_state(app)
}

/// Which node is to lead.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferBody {
    /// The one that is furthest, unless said.
    to: Option<NodeId>,
}

/// How to remove a node.
#[derive(Debug)]
struct RemoveQuery {
    force: bool,
}

impl FromParameters for RemoveQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self { force: parameters.parsed("force", "`true` or `false`")?.unwrap_or(false) })
    }
}

/// What the nodes hold.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VerificationBody {
    /// The entry of the log at which they were compared.
    entry: u64,
    nodes: Vec<DigestBody>,
    /// Whether every node answered, and all hold the same.
    equal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<DifferenceBody>,
}

#[derive(Debug, Serialize)]
struct DigestBody {
    id: NodeId,
    /// Null if it did not answer in time.
    digest: Option<String>,
}

/// Where two nodes differ first.
#[derive(Debug, Serialize)]
struct DifferenceBody {
    nodes: [NodeId; 2],
    /// Null if it is none, or one that is gone.
    topic: Option<String>,
    /// Of a message; null if they differ in something else.
    position: Option<u64>,
}

impl From<Verification> for VerificationBody {
    fn from(Verification { entry, nodes, difference }: Verification) -> Self {
        let equal = difference.is_none() && nodes.iter().all(|(_, digest)| digest.is_some());
        let digest = |(id, digest): (NodeId, Option<Digest>)| DigestBody {
            id,
            digest: digest.map(|digest| format!("{:016x}", digest.get())),
        };
        let difference = difference.map(|Difference { nodes, topic, position }| DifferenceBody {
            nodes,
            topic: topic.map(|topic| topic.as_str().to_owned()),
            position: position.map(Position::get),
        });
        Self { entry: entry.get(), nodes: nodes.into_iter().map(digest).collect(), equal, difference }
    }
}

async fn verify(State(app): State<Arc<App>>) -> Result<Json<VerificationBody>, Problem> {
    Ok(Json(app.node.verify(Instant::now() + ORDER_TIMEOUT).await?.into()))
}

/// Bytes of a backup in memory at a time.
const BACKUP_PIECE_BYTES: usize = 256 * 1024;

async fn backup(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let file = app.node.back_up().await.map_err(|error| Problem::internal(&error))?;
    let bytes = file.metadata().await.map_err(|error| Problem::internal(&error))?.len();
    let pieces = stream::try_unfold(file, async |mut file| {
        let mut piece = BytesMut::with_capacity(BACKUP_PIECE_BYTES);
        file.read_buf(&mut piece).await?;
        io::Result::Ok((!piece.is_empty()).then(|| (piece.freeze(), file)))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
    Ok(response)
}

async fn transfer(
    State(app): State<Arc<App>>,
    Json(TransferBody { to }): Json<TransferBody>,
) -> Result<StatusCode, Problem> {
    order(&app, Order::TransferLeader { to }).await
}

async fn remove(
    State(app): State<Arc<App>>,
    node: Result<Path<u64>, PathRejection>,
    QueryString(RemoveQuery { force }): QueryString<RemoveQuery>,
) -> Result<StatusCode, Problem> {
    order(&app, Order::Remove { node: id(node)?, force }).await
}

async fn promote(State(app): State<Arc<App>>, node: Result<Path<u64>, PathRejection>) -> Result<StatusCode, Problem> {
    order(&app, Order::Promote { node: id(node)? }).await
}

async fn drain(State(app): State<Arc<App>>, node: Result<Path<u64>, PathRejection>) -> Result<StatusCode, Problem> {
    order(&app, Order::Drain { node: id(node)? }).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn rebalance(State(app): State<Arc<App>>) -> Result<StatusCode, Problem> {
    let up = app.node.cluster().nodes.into_iter().filter(|node| node.state == NodeState::Up);
    for node in up {
        order(&app, Order::Rebalance { node: node.id }).await?;
    }
    Ok(StatusCode::ACCEPTED)
}

fn id(node: Result<Path<u64>, PathRejection>) -> Result<NodeId, Problem> {
    let Path(id) = node.map_err(|_| Problem::new(Code::NodeNotFound, "A node's id is a number; see /cluster."))?;
    Ok(NodeId::new(id))
}

async fn order(app: &App, order: Order) -> Result<StatusCode, Problem> {
    app.node.order(order, Instant::now() + ORDER_TIMEOUT).await?;
    Ok(StatusCode::NO_CONTENT)
}

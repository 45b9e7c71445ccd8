//! Health: whether to restart this node, and whether to send it traffic.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::Json;
use super::{App, Problem};

/// How a node fares.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    status: &'static str,
}

/// Whether the process is alive
///
/// Never fails for lack of a leader or of disk: a restart mends neither.
#[utoipa::path(get, path = "/livez", operation_id = "live", tag = "operations",
    responses((status = 200, description = "The process is alive", body = Health)))]
pub(super) async fn live() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// Whether the node can serve
///
/// It has caught up and knows a leader.
#[utoipa::path(get, path = "/readyz", operation_id = "ready", tag = "operations",
    responses((status = 200, description = "The node can serve", body = Health)))]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Health>, Problem> {
    app.node.readiness()?;
    Ok(Json(Health { status: "ready" }))
}

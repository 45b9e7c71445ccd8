//! The cluster as this node sees it.

#![expect(unused_qualifications, reason = "in what utoipa makes of the parameters")]

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::access::Insider;
use super::body::Json;
use super::query::{self, FromParameters, Parameters, QueryString};
use super::{App, Problem};
use crate::node::{ClusterView, NodeState, NodeView, Role};

/// The cluster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cluster)]
pub(super) struct ClusterBody {
    /// Names the cluster for as long as it lives.
    #[schema(format = "uuid")]
    cluster: String,
    /// The node that answers.
    node: u64,
    /// The node that leads, if this one hears from it.
    leader: Option<u64>,
    /// The Raft term.
    term: u64,
    /// Every member.
    nodes: Vec<NodeBody>,
}

/// A member of the cluster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Node)]
struct NodeBody {
    /// Its id, which no other node ever gets.
    id: u64,
    role: RoleBody,
    /// Where clients reach it.
    client_url: String,
    /// Where other nodes reach it; for operators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_addr: Option<String>,
    state: StateBody,
    /// Milliseconds since the node that was asked heard of it last, or was started; absent if it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_ms: Option<u64>,
    /// The last position that it is known to have applied.
    applied: u64,
    /// How many messages it is behind the furthest node; absent if it doesn't answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
    /// The share of its processors that is in use, 0 to 1; absent if not known, or if it doesn't answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<f64>,
    /// Its processors; 0 if not known.
    cores: u32,
    /// Client connections; 0 if it doesn't answer.
    connections: u64,
    /// Of the program it runs.
    version: String,
}

/// What a node does in the cluster: leaders and followers vote, learners don't.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Role)]
enum RoleBody {
    Leader,
    Follower,
    Learner,
}

/// How a node fares: `suspect` has missed some heartbeats, `draining` is about to stop.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NodeState)]
enum StateBody {
    Up,
    Suspect,
    Down,
    Draining,
}

/// Inspect the cluster
#[utoipa::path(get, path = "/cluster", operation_id = "getCluster", tag = "operations",
    responses((status = 200, description = "The cluster as this node sees it", body = ClusterBody)))]
pub(super) async fn get(State(app): State<Arc<App>>, insider: Insider) -> Json<ClusterBody> {
    Json(ClusterBody::new(app.node.cluster(), &insider))
}

/// Nodes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Nodes)]
pub(super) struct NodesBody {
    nodes: Vec<NodeBody>,
}

/// What nodes are wanted for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NodesQuery {
    /// `stream`: only the nodes that take new streams, and the best one first.
    #[param(value_type = Option<String>, rename = "for", pattern = "^stream$")]
    purpose: Option<Purpose>,
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    Stream,
}

impl FromParameters for NodesQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        let purpose = match parameters.one("for")?.as_deref() {
            None => None,
            Some("stream") => Some(Purpose::Stream),
            Some(_) => return Err(query::invalid("for", "`stream`")),
        };
        Ok(Self { purpose })
    }
}

/// List nodes
///
/// For a stream: those that are up, each time in another order. A node that has less to do stands before one that has
/// more, so that clients which take the first fill all nodes alike.
#[utoipa::path(get, path = "/cluster/nodes", operation_id = "listNodes", tag = "operations", params(NodesQuery),
    responses((status = 200, description = "The nodes as this one sees them", body = NodesBody)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    insider: Insider,
    QueryString(NodesQuery { purpose }): QueryString<NodesQuery>,
) -> Json<NodesBody> {
    let nodes = match purpose {
        None => app.node.cluster().nodes,
        Some(Purpose::Stream) => app.node.nodes_for_stream(),
    };
    Json(NodesBody { nodes: nodes.into_iter().map(|node| NodeBody::new(node, &insider)).collect() })
}

impl ClusterBody {
    pub(super) fn new(view: ClusterView, insider: &Insider) -> Self {
        Self {
            cluster: view.cluster.to_string(),
            node: view.node.get(),
            leader: view.leader.map(|leader| leader.get()),
            term: view.term,
            nodes: view.nodes.into_iter().map(|node| NodeBody::new(node, insider)).collect(),
        }
    }
}

impl NodeBody {
    fn new(view: NodeView, insider: &Insider) -> Self {
        Self {
            id: view.id.get(),
            role: match view.role {
                Role::Leader => RoleBody::Leader,
                Role::Follower => RoleBody::Follower,
                Role::Learner => RoleBody::Learner,
            },
            client_url: view.client_url,
            peer_addr: insider.is_operator.then_some(view.peer_addr),
            state: match view.state {
                NodeState::Up => StateBody::Up,
                NodeState::Suspect => StateBody::Suspect,
                NodeState::Down => StateBody::Down,
                NodeState::Draining => StateBody::Draining,
            },
            silent_ms: view.silence.map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX)),
            applied: view.applied.get(),
            lag: view.lag,
            cpu: view.cpu.map(|share| (share * 1_000.0).round() / 1_000.0),
            cores: view.cores,
            connections: view.connections,
            version: view.version,
        }
    }
}

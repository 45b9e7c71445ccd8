//! This node, as its connections present it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::secret::Secret;
use crate::domain::NodeId;
use crate::tls::Mutual;

/// This node, as its connections present it to other nodes, and what their tasks hang on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// The cluster it belongs to; `None` until it has joined one.
    pub cluster: Option<Uuid>,
    /// Its number; `None` until it has joined a cluster.
    pub node: Option<NodeId>,
    /// With a secret both sides of every connection prove that they know it, and every frame is tagged. Without it and
    /// without TLS, anyone who reaches the peer port is a peer.
    pub secret: Option<Secret>,
    /// With certificates connections are encrypted, and both sides show who they are. Besides a secret or instead of it.
    pub tls: Option<Mutual>,
    /// Connections that were given up: silent, stalled, or with something else on them than frames.
    pub given_up: Arc<AtomicU64>,
    /// Every task of a connection runs in here, so that stopping can wait for them.
    pub tasks: TaskTracker,
    /// Ends every connection at once.
    pub stop: CancellationToken,
}

//! Leaving in order: newcomers are sent elsewhere, another node leads, and streams move within a window.
//!
//! Streams are told at once where to go (`repl.move`). A client that understands this goes by itself in the first third
//! of the window; whoever is still there in the second half is closed, one after the other, and comes back elsewhere by
//! itself. Writes are served until the end.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Node;
use super::status::{ClusterView, NodeState};

/// How far a node is with leaving.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// An operator wants the node to stop.
    ordered: CancellationToken,
    /// Newcomers are sent elsewhere.
    begun: CancellationToken,
    /// Streams are told to go.
    told: CancellationToken,
    departure: OnceLock<Departure>,
    streams: TaskTracker,
}

/// Where streams go, and by when.
#[derive(Debug)]
pub(super) struct Departure {
    /// URLs.
    nodes: Vec<String>,
    pub(super) window: Duration,
    begun: Instant,
}

impl Departure {
    /// Where one stream may go: every node, in an order of its own.
    pub(super) fn nodes(&self) -> Vec<String> {
        let mut nodes = self.nodes.clone();
        fastrand::shuffle(&mut nodes);
        nodes
    }

    /// When one stream is closed, if its client has not gone.
    pub(super) fn end(&self) -> Instant {
        self.begun + self.window.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

impl Drain {
    /// Counts a stream as open for as long as the token is kept.
    pub(super) fn open(&self) -> TaskTrackerToken {
        self.streams.token()
    }

    /// Completes when streams are told to go.
    pub(super) fn told(&self) -> WaitForCancellationFutureOwned {
        self.told.clone().cancelled_owned()
    }

    /// Where streams go, once they are told to.
    pub(super) fn departure(&self) -> Option<&Departure> {
        self.departure.get()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    pub(super) fn order(&self) {
        self.ordered.cancel();
    }
}

impl Node {
    /// Completes when an operator wants this node to stop.
    pub async fn told_to_stop(&self) {
        self.inner.drain.ordered.cancelled().await;
    }

    /// The first step of stopping: hands leadership over, and sends streams to other nodes. Returns once all have gone, at
    /// the latest after `window`; at once if there is no other node to go to.
    pub async fn drain(&self, window: Duration) {
        let drain = &self.inner.drain;
        drain.begun.cancel();
        self.inner.consensus.hand_over().await;
        let nodes = elsewhere(self.cluster());
        if nodes.is_empty() {
            return;
        }
        let _ = drain.departure.set(Departure { nodes, window, begun: Instant::now() });
        drain.told.cancel();
        drain.streams.close();
        // Those that are left end with the server.
        let _ = timeout(window, drain.streams.wait()).await;
    }
}

/// The URLs of the other nodes that clients can go to: those that are up. If none is, those that may be: a node that has
/// just started has not heard from the others yet, and streams that it ended without a word would be cut off.
fn elsewhere(view: ClusterView) -> Vec<String> {
    let mut others = view.nodes;
    others.retain(|node| node.id != view.node);
    let is_any_up = others.iter().any(|node| node.state == NodeState::Up);
    let wanted = if is_any_up { NodeState::Up } else { NodeState::Suspect };
    others.into_iter().filter(|node| node.state == wanted).map(|node| node.client_url).collect()
}

#[cfg(test)]
mod tests {
    use NodeState::{Down, Draining, Suspect, Up};
    use uuid::Uuid;

    use super::*;
    use crate::consensus::Role;
    use crate::domain::NodeId;
    use crate::node::NodeView;

    #[test]
    fn streams_go_to_nodes_that_are_up_or_else_to_those_that_may_be() {
        assert_eq!(elsewhere_among(&[Draining, Up, Suspect, Up]), ["2", "4"]);
        assert_eq!(elsewhere_among(&[Draining, Down, Suspect, Draining]), ["3"]);
        assert_eq!(elsewhere_among(&[Up, Down, Draining]), [""; 0]);
    }

    /// Where the streams of the first node go, nodes being numbered from 1.
    fn elsewhere_among(states: &[NodeState]) -> Vec<String> {
        let view = |(id, &state): (u64, _)| NodeView {
            id: NodeId::new(id),
            role: Role::Follower,
            client_url: id.to_string(),
            peer_addr: String::new(),
            state,
            applied: Default::default(),
            lag: None,
            cpu: None,
            connections: 0,
            version: String::new(),
        };
        let nodes = (1..).zip(states).map(view).collect();
        elsewhere(ClusterView { cluster: Uuid::nil(), node: NodeId::new(1), leader: None, term: 1, nodes })
    }
}

//! Leaving in order: newcomers are sent elsewhere, another node leads, and streams move within a window. Writes are served
//! until the end.

use tokio_util::sync::CancellationToken;

use super::Node;
use super::status::{ClusterView, NodeState};

/// How far a node is with leaving.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// An operator wants the node to stop.
    ordered: CancellationToken,
    /// Newcomers are sent elsewhere.
    begun: CancellationToken,
}

impl Drain {
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
    /// the latest after [`Settings::move_window`](super::Settings::move_window); at once if there is no other node to go
    /// to.
    pub async fn drain(&self) {
        self.inner.drain.begun.cancel();
        self.inner.consensus.hand_over().await;
        let nodes = elsewhere(self.cluster());
        if nodes.is_empty() {
            return;
        }
        let (window, departures) = (self.inner.settings.move_window, &self.inner.departures);
        departures.begin(nodes, 1.0, window);
        // Those that are left end with the server.
        departures.complete(window).await;
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
    use crate::domain::NodeId;
    use crate::node::status::testing::node;

    #[test]
    fn streams_go_to_nodes_that_are_up_or_else_to_those_that_may_be() {
        assert_eq!(elsewhere_among(&[Draining, Up, Suspect, Up]), ["2", "4"]);
        assert_eq!(elsewhere_among(&[Draining, Down, Suspect, Draining]), ["3"]);
        assert_eq!(elsewhere_among(&[Up, Down, Draining]), [""; 0]);
    }

    /// Where the streams of the first node go, nodes being numbered from 1.
    fn elsewhere_among(states: &[NodeState]) -> Vec<String> {
        let nodes = (1..).zip(states).map(|(id, state)| node(id, *state)).collect();
        elsewhere(ClusterView { cluster: Uuid::nil(), node: NodeId::new(1), leader: None, term: 1, nodes })
    }
}

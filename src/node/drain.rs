//! Leaving in order: newcomers are sent elsewhere, another node leads, and streams move within a window.
//!
//! Streams are told at once where to go (`repl.move`). A client that understands this goes by itself in the first half
//! of the window; whoever is still there in the second is closed, one after the other, and comes back elsewhere by
//! itself. Writes are served until the end.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Node;
use super::status::NodeState;

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
        let nodes = self.elsewhere();
        if nodes.is_empty() {
            return;
        }
        let _ = drain.departure.set(Departure { nodes, window, begun: Instant::now() });
        drain.told.cancel();
        drain.streams.close();
        // Those that are left end with the server.
        let _ = timeout(window, drain.streams.wait()).await;
    }

    /// The URLs of the other nodes that clients can go to.
    fn elsewhere(&self) -> Vec<String> {
        let view = self.cluster();
        let others = view.nodes.into_iter().filter(|node| node.id != view.node && node.state == NodeState::Up);
        others.map(|node| node.client_url).collect()
    }
}

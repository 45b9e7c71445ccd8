//! The connections to other nodes, one for each node and lane, shared by whoever calls.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::domain::NodeId;
use crate::rpc::{Endpoint, Lane, Peer, Target};

/// Connections kept. Far more than a cluster has nodes and lanes; addresses that changed are forgotten all together.
const CONNECTIONS_MAX: usize = 256;

/// To which address, whom to expect there, and what for.
type Key = (String, Option<NodeId>, Lane);

/// How other nodes are reached. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    local: Endpoint,
    connections: Arc<Mutex<HashMap<Key, Peer>>>,
    /// Where the members are reached now.
    addresses: Arc<Mutex<BTreeMap<NodeId, String>>>,
    sessions: Arc<AtomicU64>,
}

impl Peers {
    /// Connections that present `local`.
    #[must_use]
    pub fn new(local: Endpoint) -> Self {
        Self { local, connections: Arc::default(), addresses: Arc::default(), sessions: Arc::default() }
    }

    /// How this node presents itself.
    #[must_use]
    pub fn local(&self) -> &Endpoint {
        &self.local
    }

    /// The connection to a peer address, where `node` is expected, if known. It comes about with the first call.
    #[must_use]
    pub fn connect(&self, address: &str, node: Option<NodeId>, lane: Lane) -> Peer {
        let mut connections = self.connections.lock().expect("nothing panics under this lock");
        if connections.len() > CONNECTIONS_MAX {
            connections.clear();
        }
        let peer = connections
            .entry((address.to_owned(), node, lane))
            .or_insert_with(|| Peer::new(self.local.clone(), Target { address: address.to_owned(), node, lane }));
        peer.clone()
    }

    /// Notes where the members are reached.
    pub(super) fn learn(&self, addresses: BTreeMap<NodeId, String>) {
        *self.addresses.lock().expect("nothing panics under this lock") = addresses;
    }

    /// Where a member is reached now, if that is known.
    pub(super) fn address(&self, node: NodeId) -> Option<String> {
        self.addresses.lock().expect("nothing panics under this lock").get(&node).cloned()
    }

    /// A number that no session of appends has had since this node started.
    pub(super) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}

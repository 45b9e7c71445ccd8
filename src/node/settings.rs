//! What a node is started with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::discovery::Seed;
use crate::consensus::{CheckpointOptions, Member, Timing};
use crate::domain::{Pattern, Retention, TopicName, TopicSettings};
use crate::rpc::{Endpoint, Secret};
use crate::state::{KeyWindow, Quotas};
use crate::tls::Mutual;
use crate::trace::Tracer;

/// What [`super::Node::start`] needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Where the node keeps everything.
    pub data_dir: PathBuf,
    /// Where others reach this node.
    pub member: Member,
    /// Where to look for a cluster to join; nowhere to found one. Ignored once the data directory has an identity.
    pub join: Vec<Seed>,
    /// How many nodes found a cluster together if there is none to join.
    pub expected: Option<usize>,
    /// What the nodes prove to one another that they know.
    pub secret: Option<Secret>,
    /// How the nodes encrypt what they say, and show who they are.
    pub tls: Option<Mutual>,
    /// How fast a lost leader is noticed.
    pub timing: Timing,
    /// How long idempotency keys are remembered, if this node leads.
    pub key_window: KeyWindow,
    /// How much the state may grow, if this node leads.
    pub quotas: Quotas,
    /// When memory moves to disk.
    pub checkpoint: CheckpointOptions,
    /// What new topics are set to.
    pub new_topics: NewTopics,
    /// How long a reader who is gone counts as present; and, at least, a node.
    pub presence_grace: Duration,
    /// Silence on a stream before a sign of life is sent.
    pub keep_alive: Duration,
    /// For streams that are sent to another node to move.
    pub move_window: Duration,
    /// Counts the clients' connections, for the other nodes to know.
    pub connections: Connections,
    /// Where subscribers are woken, and should run.
    pub fan_out: Handle,
    /// Takes spans of what requests come to.
    pub tracer: Tracer,
}

impl Settings {
    /// How this node presents itself as long as it belongs to no cluster.
    #[must_use]
    pub fn stranger(&self, tasks: TaskTracker, stop: CancellationToken) -> Endpoint {
        Endpoint { secret: self.secret.clone(), tls: self.tls.clone(), tasks, stop, ..Endpoint::default() }
    }
}

/// What new topics are set to where their creators say nothing, and which come to be without one.
#[derive(Clone, Debug, Default)]
pub struct NewTopics {
    /// What they keep.
    pub retention: Retention,
    /// Which have presence.
    pub presence: Vec<Pattern>,
    /// Whether a publish creates the topic that it names.
    pub auto_create: bool,
    /// Whether a publish creates the inbox that it names, and a user who reads his.
    pub inboxes: bool,
}

impl NewTopics {
    /// What a topic of this name is set to.
    pub(super) fn settings(&self, name: &TopicName) -> TopicSettings {
        let presence = self.presence.iter().any(|pattern| pattern.matches(name));
        TopicSettings { retention: self.retention, presence }
    }

    /// What a topic of this name is set to if a publish creates it; `None` if none does.
    pub(super) fn created_by_publish(&self, name: &TopicName) -> Option<TopicSettings> {
        let is_created = self.auto_create || self.inboxes && name.is_inbox();
        is_created.then(|| self.settings(name))
    }
}

/// Tells how many connections clients have open. Cheap to clone.
#[derive(Clone)]
pub struct Connections(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Connections {
    /// Asks whoever accepts them.
    #[must_use]
    pub fn new(count: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(count))
    }

    pub(super) fn count(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(&self.count()).finish()
    }
}

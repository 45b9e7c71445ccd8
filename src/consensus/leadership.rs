//! Who leads, as far as this node knows, and handing leadership over.

use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;

use super::Consensus;
use super::types::{Member, Metrics};
use crate::domain::NodeId;

/// For hearing from a majority once, and flushing a vote; beyond this the cluster is not healthy.
pub(super) const MAJORITY_TIMEOUT: Duration = Duration::from_secs(1);

/// What a node knows of the cluster's leadership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Raft's current term.
    pub term: u64,
    /// The leader, as far as known. A node that is cut off goes on believing in the last one.
    pub leader: Option<NodeId>,
    /// The last entry that a majority is known to hold.
    pub committed: Option<u64>,
    /// This node's last entry.
    pub last: Option<u64>,
    /// The last entry that this node has dropped from its log.
    pub purged: Option<u64>,
    /// Whether the engine has stopped for good.
    pub stopped: bool,
}

impl From<&Metrics> for Leadership {
    fn from(metrics: &Metrics) -> Self {
        Self {
            term: metrics.current_term,
            leader: metrics.current_leader,
            committed: metrics.cluster_committed.map(|committed| committed.index),
            last: metrics.last_log_index,
            purged: metrics.purged.map(|purged| purged.index),
            stopped: metrics.running_state.is_err(),
        }
    }
}

impl Consensus {
    /// The leader and how to reach it, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<(NodeId, Member)> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader?;
        let member = metrics.membership_config.membership().get_node(&leader)?;
        Some((leader, member.clone()))
    }

    /// Whether this node leads, as far as it knows.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.inner.raft.metrics().borrow_watched().current_leader == Some(self.inner.node)
    }

    /// What is known of leadership and commitment now.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        Leadership::from(&*metrics)
    }

    /// Whether this node is in touch with a leader: it has heard from it, or leads and a majority has heard from it,
    /// within the time in which it would stand for election itself.
    #[must_use]
    pub fn hears_leader(&self) -> bool {
        self.heard_leader(&self.inner.raft.metrics().borrow_watched()).is_some()
    }

    /// The leader, if this node is in touch with it.
    pub(super) fn heard_leader(&self, metrics: &Metrics) -> Option<NodeId> {
        let leader = metrics.current_leader?;
        let in_touch = if leader == self.inner.node {
            let alone = metrics.membership_config.membership().voter_ids().count() == 1;
            alone || metrics.last_quorum_acked.is_some_and(|acked| acked.into_inner().elapsed() < self.patience())
        } else {
            self.inner.heard.lock().expect("nothing panics under this lock").elapsed() < self.patience()
        };
        in_touch.then_some(leader)
    }

    /// Whether a member has answered what this node, which leads, has sent within the last `age`.
    pub(super) fn answers(&self, metrics: &Metrics, member: NodeId, age: Duration) -> bool {
        let answered = metrics.heartbeat.as_ref().and_then(|heard| *heard.get(&member)?);
        member == self.inner.node || answered.is_some_and(|at| at.into_inner().elapsed() < age)
    }

    /// How long a node may be silent before the others do without it.
    pub(super) fn patience(&self) -> Duration {
        self.inner.timing.election_max * 2
    }

    /// Waits until `done` holds of the leadership, which it is asked each time something changes. `false`: the engine has
    /// ended, so nothing changes any more.
    pub async fn wait(&self, mut done: impl FnMut(&Leadership) -> bool) -> bool {
        let mut metrics = self.inner.raft.metrics();
        loop {
            if done(&Leadership::from(&*metrics.borrow_and_update())) {
                return true;
            }
            if metrics.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Hands leadership to the voter that is furthest, if this node leads others, and waits until it does lead. Without
    /// a majority nobody can take it.
    pub async fn hand_over(&self) {
        if self.hears_leader()
            && let Some(successor) = self.successor()
        {
            self.hand_over_to(successor).await;
        }
    }

    /// As [`Self::hand_over`]. From now on this node proposes nothing, so if `successor` doesn't come up to it, the others
    /// elect somebody as if this one were dead.
    pub(super) async fn hand_over_to(&self, successor: NodeId) {
        if self.inner.raft.trigger().transfer_leader(successor).await.is_ok() {
            let elsewhere = self.wait(|now| now.stopped || now.leader.is_some_and(|leader| leader != self.inner.node));
            let _ = tokio::time::timeout(MAJORITY_TIMEOUT, elsewhere).await;
        }
    }

    /// The voter that is furthest of those that answer, if this node leads others.
    pub(super) fn successor(&self) -> Option<NodeId> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.as_ref()?;
        let voters = metrics.membership_config.membership().voter_ids();
        voters
            .filter(|voter| *voter != self.inner.node && self.answers(&metrics, *voter, self.patience()))
            .filter_map(|voter| Some(((*replication.get(&voter)?)?, voter)))
            .max()
            .map(|(_, voter)| voter)
    }
}

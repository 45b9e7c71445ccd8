//! Who belongs to the cluster: founding it, joining it, and becoming a voter.
//!
//! A node enters in three steps, each of which may be repeated: it is allotted an id, which it writes down before it
//! does anything else; it announces where it is reached, and becomes a learner; once it has caught up, the leader makes
//! it a voter, as long as there are fewer than [`VOTERS_MAX`]. One that has left the membership has departed, and is never
//! let in again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::types::{Member, Membership, Metrics, Raft};
use super::wire::{Announce, AnnounceReply, Expelled, JoinReply, kind};
use super::{Consensus, Peers, ProposeError};
use crate::domain::NodeId;
use crate::rpc::Lane;
use crate::state::{Command, Reply};

/// More voters make every publish wait for more disks; readers scale with learners.
pub const VOTERS_MAX: usize = 5;

/// Entries a learner may be behind when it becomes a voter. What it lacks then is made up for within a moment.
pub(super) const CAUGHT_UP_ENTRIES: u64 = 64;

/// How often the leader looks whether a learner has caught up.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// For a node that was known at an address to say that it is still there.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(1);

/// What a change of the membership came to.
#[derive(Debug)]
pub(super) enum Change {
    Done,
    NotLeader,
    /// Another change is under way, or its fate is unknown: look again.
    Again,
}

impl Consensus {
    /// Founds a cluster of these voters, each of whom may do so, as long as all name the same. Does nothing if the log has
    /// begun already.
    pub(super) async fn found(&self, founders: BTreeMap<NodeId, Member>) -> bool {
        self.inner.raft.initialize(founders).await.is_ok()
    }

    /// Lets an empty node in: allots it an id that no node has had.
    pub(crate) async fn join(&self) -> JoinReply {
        match self.propose(vec![Command::AllotNode.encode()]).await {
            Ok(proposed) => match proposed.outcomes.first() {
                Some(Ok(Reply::NodeAllotted(node))) => {
                    info!(node = node.get(), "allotted a node id");
                    JoinReply::Accepted { cluster: *self.inner.cluster.as_bytes(), node: *node }
                }
                _ => JoinReply::Elsewhere { leader: None },
            },
            // An id that may have been allotted and that nobody learns of is lost, which harms nothing.
            Err(ProposeError::NotLeader | ProposeError::Unknown | ProposeError::Stopping) => self.elsewhere(),
        }
    }

    fn elsewhere(&self) -> JoinReply {
        JoinReply::Elsewhere { leader: self.leader_elsewhere() }
    }

    /// The peer address of the leader, if it is another node.
    fn leader_elsewhere(&self) -> Option<String> {
        let (node, member) = self.leader()?;
        (node != self.inner.node).then_some(member.peer)
    }

    /// Records where a node is reached; one that isn't a member yet becomes a learner. Not one that has been a member: it
    /// is told that it is no more.
    pub(crate) async fn announce(&self, announce: Announce) -> AnnounceReply {
        let Announce { node, mut member } = announce;
        if self.has_departed(node) {
            return AnnounceReply::Expelled(Expelled::Removed);
        }
        if !self.leads() {
            return AnnounceReply::Elsewhere { leader: self.leader_elsewhere() };
        }
        let known = self.members().get_node(&node).cloned();
        let change = match known {
            Some(known) if known.is_where(&member) => return AnnounceReply::Done,
            Some(known) => {
                if let Some(expelled) = doubled(&self.inner.peers, node, &known, &member).await {
                    return AnnounceReply::Expelled(expelled);
                }
                // What it came for is told once; since then an operator may have given it a vote.
                member.reads_along = known.reads_along;
                ChangeMembers::SetNodes([(node, member.clone())].into())
            }
            None => ChangeMembers::AddNodes([(node, member.clone())].into()),
        };
        match self.change_members(change).await {
            Change::Done => {
                info!(node = node.get(), peer = member.peer, "node announced itself");
                AnnounceReply::Done
            }
            Change::NotLeader | Change::Again => AnnounceReply::Elsewhere { leader: self.leader_elsewhere() },
        }
    }

    /// Notes where the members are reached. As long as this node leads, it also makes voters of learners that have caught
    /// up, and ends what a leader before it has left half done.
    pub(super) async fn tend_members(self) {
        let metrics = self.inner.raft.metrics();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let members = self.members();
            let addresses = members.nodes().map(|(node, member)| (*node, member.peer.clone())).collect();
            self.inner.peers.learn(addresses);
            let next = next_change(&metrics.borrow_watched());
            if let Some((what, change)) = next
                && matches!(self.change_members(change).await, Change::Done)
            {
                info!("{what}");
            }
        }
    }

    pub(super) async fn change_members(&self, change: ChangeMembers<NodeId, Member>) -> Change {
        // The engine would refuse a second one, and log that as an error: nodes that come at once are none.
        let Ok(_alone) = self.inner.changing.try_lock() else { return Change::Again };
        match self.inner.raft.change_membership(change, false).await {
            Ok(_) => Change::Done,
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Change::NotLeader,
            Err(RaftError::APIError(
                error @ (ClientWriteError::ChangeMembershipError(_)
                | ClientWriteError::LogEntryDiscarded(_)
                | ClientWriteError::PreconditionFailed(_)),
            )) => {
                warn!(error = &error as &dyn std::error::Error, "membership not changed yet");
                Change::Again
            }
            Err(RaftError::Fatal(_)) => Change::Again,
        }
    }

    /// Whether this was a member once. Once it is, it is for ever, so any node can tell.
    pub(super) fn has_departed(&self, node: NodeId) -> bool {
        self.inner.replica.read_state(|state| state.departed.contains(&node))
    }

    /// The peer address of a member, as far as this node knows.
    pub(crate) fn member_address(&self, node: NodeId) -> Option<String> {
        self.members().get_node(&node).map(|member| member.peer.clone())
    }

    /// The cluster's members, as far as this node knows.
    pub(super) fn members(&self) -> Membership {
        members(&self.inner.raft)
    }
}

/// The cluster's members, as far as an engine knows.
pub(super) fn members(raft: &Raft) -> Membership {
    raft.metrics().borrow_watched().membership_config.membership().clone()
}

/// Asks whether another process runs as a node, at the addresses under which it was known before.
pub(super) async fn doubled(peers: &Peers, node: NodeId, known: &Member, now: &Member) -> Option<Expelled> {
    if known.peer == now.peer {
        return None;
    }
    let before = peers.connect(&known.peer, Some(node), Lane::Status);
    let answer = before.call(kind::IDENTIFY, Bytes::new(), IDENTIFY_TIMEOUT).await.ok()?;
    // The same process, if both addresses lead to it.
    let peer: String = super::wire::decode(&answer).ok()?;
    (peer != now.peer).then_some(Expelled::Doubled { address: peer })
}

/// What to change next, if this node leads and nothing is under way.
pub(super) fn next_change(metrics: &Metrics) -> Option<(String, ChangeMembers<NodeId, Member>)> {
    let replication = metrics.replication.as_ref()?;
    let last = metrics.last_log_index?;
    if metrics.membership_config != metrics.committed_membership_config {
        return None;
    }
    let membership = metrics.membership_config.membership();
    if membership.get_joint_config().len() > 1 {
        // The leader that began it is gone, and until it ends each decision takes the old majority, too. Any change ends
        // it, also one that adds nobody.
        let nobody = ChangeMembers::AddVoterIds(BTreeSet::new());
        return Some(("ended a change of voters that another leader had begun".into(), nobody));
    }
    let caught_up = |node: &NodeId| {
        let matched = replication.get(node).and_then(Option::as_ref).map(|matched| matched.index);
        matched.is_some_and(|matched| matched + CAUGHT_UP_ENTRIES >= last)
    };
    let wants_vote = |node: &NodeId| membership.get_node(node).is_some_and(|member| !member.reads_along);
    membership.learner_ids().filter(wants_vote).filter(caught_up).find_map(|learner| {
        let change = promotion(learner, membership, metrics.id)?;
        Some((format!("learner {learner} became a voter"), change))
    })
}

/// Makes a voter of a learner, if there is room. A voter under the same address is a node whose disk was lost: the
/// newcomer takes its place, in one change.
fn promotion(learner: NodeId, membership: &Membership, leader: NodeId) -> Option<ChangeMembers<NodeId, Member>> {
    let address = &membership.get_node(&learner)?.peer;
    let is_voter = |node: &NodeId| membership.voter_ids().any(|voter| voter == *node);
    let replaced = membership
        .nodes()
        .filter(|(node, member)| **node != learner && **node != leader && member.peer == *address)
        .map(|(node, _)| *node);
    // A voter that is removed leaves the membership once the change is complete; a learner can leave at once.
    let (voting, learning): (BTreeSet<_>, BTreeSet<_>) = replaced.partition(is_voter);
    if membership.voter_ids().count() - voting.len() >= VOTERS_MAX {
        return None;
    }
    let mut changes = vec![ChangeMembers::AddVoterIds(BTreeSet::from([learner]))];
    if !voting.is_empty() {
        changes.push(ChangeMembers::RemoveVoters(voting));
    }
    if !learning.is_empty() {
        changes.push(ChangeMembers::RemoveNodes(learning));
    }
    Some(ChangeMembers::Batch(changes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::types::{LogId, StoredMembership};
    use super::*;

    fn log_id(index: u64) -> LogId {
        LogId { leader_id: 1.into(), index }
    }

    fn ids<const N: usize>(ids: [u64; N]) -> BTreeSet<NodeId> {
        ids.map(NodeId::new).into()
    }

    /// What the leader, node 1, does next: nodes are at the addresses named by the text, and have so many of 1,000 entries.
    fn next<const C: usize, const N: usize>(
        voters: [BTreeSet<NodeId>; C],
        nodes: [(u64, &str, u64); N],
    ) -> Option<ChangeMembers<NodeId, Member>> {
        let member = |peer: &str| Member { peer: peer.to_owned(), reads_along: peer == "reader", ..Member::default() };
        let members = nodes.map(|(node, peer, _)| (NodeId::new(node), member(peer)));
        let membership = Membership::new(voters.into(), BTreeMap::from(members)).expect("valid");
        let stored = Arc::new(StoredMembership::new(Some(log_id(1)), membership));
        let mut metrics = Metrics::new_initial(NodeId::new(1));
        metrics.membership_config = stored.clone();
        metrics.committed_membership_config = stored;
        metrics.last_log_index = Some(1_000);
        let matched = nodes.map(|(node, _, matched)| (NodeId::new(node), Some(log_id(matched))));
        metrics.replication = Some(matched.into());
        next_change(&metrics).map(|(_, change)| change)
    }

    #[test]
    fn a_learner_becomes_a_voter_once_it_has_caught_up() {
        let nodes = |matched| [(1, "a", 1_000), (2, "b", matched)];
        assert_eq!(next([ids([1])], nodes(900)), None);
        let add = ChangeMembers::Batch(vec![ChangeMembers::AddVoterIds(ids([2]))]);
        assert_eq!(next([ids([1])], nodes(990)), Some(add));
    }

    #[test]
    fn a_learner_that_came_to_read_along_waits_for_an_operator() {
        assert_eq!(next([ids([1])], [(1, "a", 1_000), (2, "reader", 1_000)]), None);
    }

    #[test]
    fn a_lost_voter_is_replaced_also_where_other_learners_wait_for_room() {
        let five = [(1, "a", 1_000), (2, "b", 1_000), (3, "c", 1_000), (4, "d", 1_000), (5, "e", 0)];
        let [a, b, c, d, e] = five;
        let voters = ids([1, 2, 3, 4, 5]);
        let waits = (6, "f", 1_000);
        assert_eq!(next([voters.clone()], [a, b, c, d, e, waits]), None);
        let change = next([voters], [a, b, c, d, e, waits, (7, "e", 1_000)]);
        let replace = [ChangeMembers::AddVoterIds(ids([7])), ChangeMembers::RemoveVoters(ids([5]))];
        assert_eq!(change, Some(ChangeMembers::Batch(replace.into())));
    }

    #[test]
    fn a_change_that_another_leader_has_begun_is_ended_first() {
        let nodes = [(1, "a", 1_000), (2, "b", 1_000), (3, "c", 0), (4, "c", 1_000), (5, "d", 1_000)];
        let change = next([ids([1, 2, 3]), ids([1, 2, 4])], nodes);
        assert_eq!(change, Some(ChangeMembers::AddVoterIds(BTreeSet::new())));
    }
}

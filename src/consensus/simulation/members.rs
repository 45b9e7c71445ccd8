//! Who belongs to the cluster: an operator has nodes come and go, and leaders see to it.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use tokio::time::sleep;

use super::super::membership::next_change;
use super::super::types::{Member, Metrics, Raft};
use super::wires::Wires;
use super::world::Process;
use crate::domain::NodeId;

/// How often a leader looks whether the members are those that are wanted.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where a node is: no two in one place, or one would come for the other.
pub(super) fn member(node: NodeId) -> Member {
    Member { peer: node.to_string(), ..Member::default() }
}

/// Has those become members that are wanted, for as long as the node leads. What to do with learners, and with what another
/// leader has left half done, is for the product to say.
pub(super) async fn tend(node: NodeId, raft: Raft, wires: Wires) {
    loop {
        sleep(LOOK_EVERY).await;
        let next = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            next_change(&metrics).map(|(_, change)| change).or_else(|| towards(&wires.wanted(), &metrics))
        };
        match next {
            Some(ChangeMembers::RemoveVoters(gone)) if gone.contains(&node) => {
                // Its successor removes it.
                if let Some(successor) = wires.wanted().into_iter().find(|other| *other != node) {
                    let _ = raft.trigger().transfer_leader(successor).await;
                }
            }
            // Refused, or its fate is unknown: then it looks again.
            Some(change) => drop(raft.change_membership(change, false).await),
            None => {}
        }
    }
}

/// The next step towards the members that are wanted, if this node leads and no other step is under way.
fn towards(wanted: &BTreeSet<NodeId>, metrics: &Metrics) -> Option<ChangeMembers<NodeId, Member>> {
    metrics.replication.as_ref()?;
    if metrics.membership_config != metrics.committed_membership_config {
        return None;
    }
    let membership = metrics.membership_config.membership();
    let members: BTreeSet<NodeId> = membership.nodes().map(|(node, _)| *node).collect();
    if let Some(comes) = wanted.difference(&members).next() {
        return Some(ChangeMembers::AddNodes([(*comes, member(*comes))].into()));
    }
    let goes = BTreeSet::from([*members.difference(wanted).next()?]);
    let votes = membership.voter_ids().any(|voter| goes.contains(&voter));
    Some(if votes { ChangeMembers::RemoveVoters(goes) } else { ChangeMembers::RemoveNodes(goes) })
}

impl Wires {
    /// Whether the members are those that are wanted, and all of them vote.
    pub(super) fn settled(&self) -> bool {
        let newest = |process: Process| process.raft.metrics().borrow_watched().committed_membership_config.clone();
        let newest = self.processes().into_iter().map(newest).max_by_key(|stored| *stored.log_id());
        newest.is_some_and(|stored| {
            let membership = stored.membership();
            let votes = |node: &NodeId| membership.voter_ids().any(|voter| voter == *node);
            let wanted = self.wanted();
            membership.get_joint_config().len() == 1
                && membership.nodes().map(|(node, _)| *node).eq(wanted.iter().copied())
                && wanted.iter().all(votes)
        })
    }
}

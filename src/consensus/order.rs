//! What an operator orders: a vote for a learner, a node to leave, another leader.
//!
//! Orders are carried out by the leader, and may be repeated: one that is carried out already is answered as if it had
//! just been. An order that would leave the cluster without a majority is refused, with what to do about it.

use std::time::{Duration, Instant};

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::timeout;
use tracing::info;

use super::membership::{CAUGHT_UP_ENTRIES, Change, VOTERS_MAX};
use super::types::Metrics;
use super::{Consensus, Role};
use crate::domain::NodeId;

/// What an operator wants of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// A learner gets a vote.
    Promote {
        /// The learner.
        node: NodeId,
    },
    /// A node leaves for good, whether it runs or not.
    Remove {
        /// The node.
        node: NodeId,
        /// Even if fewer than a majority of the remaining voters answer: nothing is written until enough of them do.
        force: bool,
    },
    /// Another node leads.
    TransferLeader {
        /// The voter; the one that is furthest, unless said.
        to: Option<NodeId>,
    },
    /// A node sends its clients elsewhere, and stops.
    Drain {
        /// The node.
        node: NodeId,
    },
    /// A node sends what it has beyond its share of streams to others.
    Rebalance {
        /// The node.
        node: NodeId,
    },
}

/// Why an order is not carried out. The cluster is as it was.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderRefused {
    /// Ask the leader.
    #[error("this node doesn't lead")]
    NotLeader,
    /// Nobody has this id, or had it.
    #[error("no member of the cluster has the id {node}")]
    UnknownNode {
        /// The id.
        node: NodeId,
    },
    /// Without it there is no cluster.
    #[error("node {node} is the only voter")]
    LastVoter {
        /// The node.
        node: NodeId,
    },
    /// The rest could not decide anything.
    #[error("without node {node}, only {answering} of {voters} voters would answer")]
    QuorumAtRisk {
        /// The node.
        node: NodeId,
        /// Voters that would be left.
        voters: usize,
        /// Those of them that answer the leader.
        answering: usize,
    },
    /// More voters would make every publish wait for more disks.
    #[error("{VOTERS_MAX} nodes vote already")]
    VotersFull,
    /// It has not got what the others have, or does not answer.
    #[error("node {node} has not caught up with the leader")]
    NotCaughtUp {
        /// The node.
        node: NodeId,
    },
    /// Only voters lead.
    #[error("node {node} is a learner")]
    NotVoter {
        /// The node.
        node: NodeId,
    },
    /// Nobody is there who could lead.
    #[error("no other voter answers")]
    NoSuccessor,
    /// Another change is under way, or it is not known how this one ended.
    #[error("the membership is being changed")]
    Busy,
}

/// For a change of the membership to be committed. It goes on all the same.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);

impl Consensus {
    /// Has the cluster carry out an order. Draining is the affair of the node itself.
    ///
    /// # Errors
    /// See [`OrderRefused`].
    pub(crate) async fn carry_out(&self, order: Order) -> Result<(), OrderRefused> {
        if !self.leads() {
            return Err(OrderRefused::NotLeader);
        }
        match order {
            Order::Promote { node } => self.promote(node).await,
            Order::Remove { node, force } => self.remove(node, force).await,
            Order::TransferLeader { to } => self.transfer(to).await,
            Order::Drain { node } | Order::Rebalance { node } => Err(OrderRefused::UnknownNode { node }),
        }
    }

    async fn promote(&self, node: NodeId) -> Result<(), OrderRefused> {
        let (role, voters) = (self.role(node)?, self.members().voter_ids().count());
        if role != Role::Learner {
            return Ok(());
        }
        if voters >= VOTERS_MAX {
            return Err(OrderRefused::VotersFull);
        }
        self.settles(|metrics| self.has_caught_up(metrics, node))
            .await
            .map_err(|()| OrderRefused::NotCaughtUp { node })?;
        let mut member = self.members().get_node(&node).cloned().ok_or(OrderRefused::UnknownNode { node })?;
        member.reads_along = false;
        let changes = [ChangeMembers::SetNodes([(node, member)].into()), ChangeMembers::AddVoterIds([node].into())];
        self.change(ChangeMembers::Batch(changes.into())).await?;
        info!(node = node.get(), "an operator gave it a vote");
        Ok(())
    }

    async fn remove(&self, node: NodeId, force: bool) -> Result<(), OrderRefused> {
        let role = match self.role(node) {
            Err(_) if self.has_departed(node) => return Ok(()),
            role => role?,
        };
        if role == Role::Learner {
            self.change(ChangeMembers::RemoveNodes([node].into())).await?;
        } else {
            let rest: Vec<NodeId> = self.members().voter_ids().filter(|voter| *voter != node).collect();
            if rest.is_empty() {
                return Err(OrderRefused::LastVoter { node });
            }
            let begun = Instant::now();
            let answers = |metrics: &Metrics, voter: &NodeId| self.answers(metrics, *voter, begun.elapsed());
            let answering = |metrics: &Metrics| rest.iter().filter(|voter| answers(metrics, voter)).count();
            // Who has answered before may have died since. Without a majority of the rest the change would never end, and
            // nothing else could be written meanwhile.
            let settled = self.settles(|metrics| answering(metrics) > rest.len() / 2).await;
            if settled.is_err() && !force {
                let answering = answering(&self.inner.raft.metrics().borrow_watched());
                return Err(OrderRefused::QuorumAtRisk { node, voters: rest.len(), answering });
            }
            if node == self.inner.node {
                // Who leads the cluster without this node is the one to remove it.
                self.hand_over_to(self.successor().ok_or(OrderRefused::NoSuccessor)?).await;
                return Err(OrderRefused::NotLeader);
            }
            self.change(ChangeMembers::RemoveVoters([node].into())).await?;
        }
        info!(node = node.get(), "an operator removed it");
        Ok(())
    }

    async fn transfer(&self, to: Option<NodeId>) -> Result<(), OrderRefused> {
        let to = match to {
            Some(to) if to == self.inner.node => return Ok(()),
            Some(to) if self.role(to)? == Role::Learner => return Err(OrderRefused::NotVoter { node: to }),
            Some(to) => to,
            None => self.successor().ok_or(OrderRefused::NoSuccessor)?,
        };
        self.settles(|metrics| self.has_caught_up(metrics, to))
            .await
            .map_err(|()| OrderRefused::NotCaughtUp { node: to })?;
        self.hand_over_to(to).await;
        match self.leader() {
            Some((leader, _)) if leader == to => Ok(()),
            // Something has come in between.
            _ => Err(OrderRefused::NotLeader),
        }
    }

    fn role(&self, node: NodeId) -> Result<Role, OrderRefused> {
        let member = self.roles().into_iter().find(|(member, ..)| *member == node);
        member.map(|(.., role)| role).ok_or(OrderRefused::UnknownNode { node })
    }

    fn has_caught_up(&self, metrics: &Metrics, node: NodeId) -> bool {
        let matched = metrics.replication.as_ref().and_then(|replication| *replication.get(&node)?);
        let last = metrics.last_log_index.unwrap_or(0);
        matched.is_some_and(|matched| matched.index + CAUGHT_UP_ENTRIES >= last)
            && self.answers(metrics, node, self.patience())
    }

    /// Waits until something holds that mostly does, or will in a moment.
    async fn settles(&self, holds: impl Fn(&Metrics) -> bool) -> Result<(), ()> {
        let mut metrics = self.inner.raft.metrics();
        let settled = async {
            while !holds(&metrics.borrow_and_update()) {
                metrics.changed().await.map_err(|_| ())?;
            }
            Ok(())
        };
        timeout(self.patience(), settled).await.unwrap_or(Err(()))
    }

    async fn change(&self, change: ChangeMembers<NodeId, super::Member>) -> Result<(), OrderRefused> {
        match timeout(CHANGE_TIMEOUT, self.change_members(change)).await {
            Ok(Change::Done) => Ok(()),
            Ok(Change::NotLeader) => Err(OrderRefused::NotLeader),
            Ok(Change::Again) | Err(_) => Err(OrderRefused::Busy),
        }
    }
}

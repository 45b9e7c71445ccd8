//! Orders of an operator on their way to the node that carries them out.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Node;
use crate::consensus::wire::{self, kind};
use crate::consensus::{Order, OrderRefused, Role};
use crate::domain::NodeId;
use crate::rpc::Lane;

/// Why an order was not carried out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OrderError {
    /// The cluster is as it was.
    #[error(transparent)]
    Refused(OrderRefused),
    /// No leader was found in time. Giving the order again is safe.
    #[error("the cluster has no leader")]
    NoLeader,
    /// The node that was to carry it out doesn't answer. Giving the order again is safe.
    #[error("node {node} does not answer")]
    Unreachable {
        /// The node.
        node: NodeId,
    },
}

/// Before an order that could not be carried out yet is given again.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// For this node to learn what came of an order that another has carried out.
const SEEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two looks whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Node {
    /// Has an order carried out, by the leader or by the node that it is about, and waits until it shows here. Orders may
    /// be given again, so this tries until `deadline`.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn order(&self, order: Order, deadline: Instant) -> Result<(), OrderError> {
        let led = self.inner.consensus.leader().map(|(leader, _)| leader);
        loop {
            let error = match timeout_at(deadline, self.give(order)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error,
                Err(_) => OrderError::NoLeader,
            };
            let may_pass = match &error {
                OrderError::Refused(refused) => matches!(refused, OrderRefused::NotLeader | OrderRefused::Busy),
                OrderError::NoLeader | OrderError::Unreachable { .. } => true,
            };
            if !may_pass || Instant::now() + AGAIN_AFTER >= deadline {
                return Err(error);
            }
            sleep(AGAIN_AFTER).await;
        }
        let seen = async {
            while !self.shows(order, led) {
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = timeout(SEEN_TIMEOUT, seen).await;
        Ok(())
    }

    /// Carries out an order that has come to this node.
    pub(crate) async fn carry_out(&self, order: Order) -> Result<(), OrderRefused> {
        match order {
            Order::Drain { node } if node == self.inner.consensus.node() => {
                self.inner.drain.order();
                Ok(())
            }
            Order::Rebalance { node } if node == self.inner.consensus.node() => {
                self.rebalance_streams();
                Ok(())
            }
            order => self.inner.consensus.carry_out(order).await,
        }
    }

    /// One attempt.
    async fn give(&self, order: Order) -> Result<(), OrderError> {
        let consensus = &self.inner.consensus;
        let (node, member, unanswered) = match order {
            Order::Drain { node } | Order::Rebalance { node } => {
                let member = consensus.roles().into_iter().find(|(member, ..)| *member == node);
                let (node, member, _) = member.ok_or(OrderError::Refused(OrderRefused::UnknownNode { node }))?;
                (node, member, OrderError::Unreachable { node })
            }
            Order::Promote { .. } | Order::Remove { .. } | Order::TransferLeader { .. } => {
                let (node, member) = consensus.leader().ok_or(OrderError::NoLeader)?;
                (node, member, OrderError::NoLeader)
            }
        };
        if node == consensus.node() {
            return self.carry_out(order).await.map_err(OrderError::Refused);
        }
        let peer = consensus.peers().connect(&member.peer, Some(node), Lane::Forward);
        let reply = peer.call(kind::ORDER, wire::encode(&order), ATTEMPT_TIMEOUT).await;
        let done = reply.ok().and_then(|reply| wire::decode::<Result<(), OrderRefused>>(&reply).ok());
        done.ok_or(unanswered)?.map_err(OrderError::Refused)
    }

    /// Whether this node sees the cluster as an order wants it, which was given while that node `led`.
    fn shows(&self, order: Order, led: Option<NodeId>) -> bool {
        let roles = self.inner.consensus.roles();
        let role = |node: NodeId| roles.iter().find(|(member, ..)| *member == node).map(|(.., role)| *role);
        match order {
            Order::Promote { node } => role(node).is_some_and(|role| role != Role::Learner),
            Order::Remove { node, .. } => role(node).is_none(),
            Order::TransferLeader { to: Some(to) } => role(to) == Some(Role::Leader),
            Order::TransferLeader { to: None } => {
                roles.iter().any(|(member, _, role)| *role == Role::Leader && Some(*member) != led)
            }
            Order::Drain { .. } | Order::Rebalance { .. } => true,
        }
    }
}

/// For one attempt: longer than the leader itself waits.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);

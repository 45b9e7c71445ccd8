//! Occupancy: how many streams of a topic are open, on all nodes together. Each knows its own, so they are asked when
//! somebody wants to know: counts of every topic once a second would be much talk for numbers that nobody looks at.

use std::time::Duration;

use futures_util::future::join_all;

use super::Node;
use crate::consensus::wire::{self, kind};
use crate::consensus::{Member, Role};
use crate::domain::{NodeId, TopicName};
use crate::rpc::Lane;

/// For a node to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// The open streams of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Streams that have named the topic or match it.
    pub streams: u64,
    /// Whether all nodes have answered.
    pub complete: bool,
}

impl Node {
    /// How many streams of a topic are open on all nodes.
    pub async fn occupancy(&self, topic: &TopicName) -> Occupancy {
        let members = self.inner.consensus.roles();
        let counts = join_all(members.into_iter().map(|member| self.count_streams(member, topic))).await;
        let complete = counts.iter().all(Option::is_some);
        Occupancy { streams: counts.into_iter().flatten().sum(), complete }
    }

    async fn count_streams(&self, (node, member, _): (NodeId, Member, Role), topic: &TopicName) -> Option<u64> {
        if node == self.inner.consensus.node() {
            return Some(self.streams_of(topic));
        }
        let peer = self.inner.consensus.peers().connect(&member.peer, Some(node), Lane::Status);
        let reply = peer.call(kind::OCCUPANCY, wire::encode(topic), ASK_TIMEOUT).await.ok()?;
        wire::decode(&reply).ok()
    }

    /// How many streams of a topic are open on this node.
    pub(crate) fn streams_of(&self, topic: &TopicName) -> u64 {
        u64::try_from(self.inner.broker.subscribers(topic)).unwrap_or(u64::MAX)
    }
}

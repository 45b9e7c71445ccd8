//! The type configuration of openraft: its generics are spelled out here and nowhere else.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::{LogIndex, NodeId};
use crate::state::Outcome;

openraft::declare_raft_types!(
    /// One leader per term, as in the Raft paper, so that a log id is a term and an index.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = NodeId,
        Node = Member,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, super::state_machine::StateMachine>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type RaftEntry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<NodeId, Member>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// An encoded [`crate::state::Entry`]. Consensus copies it and never looks inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What applying an entry answered: one outcome for each of its commands. Blank and membership entries have none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) index: LogIndex,
    pub(crate) outcomes: Vec<Outcome>,
}

/// A node as the membership entries of the log hold it: how the others reach it, and what it came for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `host:port` of its peer listener.
    pub peer: String,
    /// The URL of its client listener.
    pub client: String,
    /// It came to read along, and gets a vote only when an operator says so.
    pub reads_along: bool,
}

impl Member {
    /// Whether the two are reached at the same addresses.
    #[must_use]
    pub fn is_where(&self, other: &Self) -> bool {
        (&self.peer, &self.client) == (&other.peer, &other.client)
    }
}

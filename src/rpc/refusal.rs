//! Why a called node refuses a caller.

use thiserror::Error;
use uuid::Uuid;

use crate::domain::NodeId;

/// Why a called node refuses a caller. Both sides report it in the same words, so they name the caller and the called
/// node, never "this node".
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The nodes speak different versions of this protocol.
    #[error("the called node speaks version {called} of the peer protocol, the caller another: upgrade the older one")]
    Version {
        /// The called node's.
        called: u8,
    },
    /// The called node doesn't know the lane.
    #[error("the called node does not know what the connection is for: upgrade it")]
    Lane,
    /// Only the called node has a secret.
    #[error("the called node has a cluster secret, the caller has none: give every node the same secret file")]
    SecretMissing,
    /// Only the caller has a secret.
    #[error("the caller has a cluster secret, the called node has none: give every node the same secret file")]
    SecretUnexpected,
    /// Both have one, but not the same.
    #[error("the caller's cluster secret is not the called node's: compare the secret files of both")]
    SecretMismatch,
    /// The caller belongs to another cluster.
    #[error("the called node belongs to {}, the caller to another one: compare their addresses and data directories",
        cluster_name(*actual))]
    ForeignCluster {
        /// The called node's cluster, if it has one.
        actual: Option<Uuid>,
    },
    /// The caller belongs to no cluster, and wants something else than to join.
    #[error("the caller belongs to no cluster: all it may do is join")]
    NotMember,
    /// The caller says that it is a member, and its certificate is not for where that member is.
    #[error(
        "the caller's certificate is not for the address of the node that it says it is: if it has moved, it has to announce \
         itself first"
    )]
    Certificate,
    /// The caller meant another node: the address was reused, or written down wrong.
    #[error("the called address is that of {}, the caller expected another one", node_name(*actual))]
    WrongNode {
        /// The called node, if it has a number.
        actual: Option<NodeId>,
    },
}

impl Refusal {
    /// The refusal on the wire: what, and a detail. 0 stands for none.
    pub(super) fn encode(self) -> (u8, [u8; 16]) {
        let none = [0; 16];
        match self {
            Self::Version { called } => (1, u128::from(called).to_be_bytes()),
            Self::Lane => (2, none),
            Self::SecretMissing => (3, none),
            Self::SecretUnexpected => (4, none),
            Self::SecretMismatch => (5, none),
            Self::ForeignCluster { actual } => (6, actual.map_or(none, Uuid::into_bytes)),
            Self::NotMember => (7, none),
            Self::Certificate => (9, none),
            Self::WrongNode { actual } => (8, u128::from(actual.map_or(0, NodeId::get)).to_be_bytes()),
        }
    }

    /// `None` if this version knows no such refusal.
    pub(super) fn decode(code: u8, detail: [u8; 16]) -> Option<Self> {
        let number = u128::from_be_bytes(detail);
        Some(match code {
            1 => Self::Version { called: u8::try_from(number).ok()? },
            2 => Self::Lane,
            3 => Self::SecretMissing,
            4 => Self::SecretUnexpected,
            5 => Self::SecretMismatch,
            6 => Self::ForeignCluster { actual: (number != 0).then(|| Uuid::from_bytes(detail)) },
            7 => Self::NotMember,
            8 => {
                let number = u64::try_from(number).ok()?;
                Self::WrongNode { actual: (number != 0).then(|| NodeId::new(number)) }
            }
            9 => Self::Certificate,
            _ => return None,
        })
    }
}

fn cluster_name(cluster: Option<Uuid>) -> String {
    cluster.map_or_else(|| "no cluster".into(), |cluster| format!("cluster {cluster}"))
}

fn node_name(node: Option<NodeId>) -> String {
    node.map_or_else(|| "a node without a number".into(), |node| format!("node {node}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_comes_back_from_the_wire() {
        for refusal in [
            Refusal::Version { called: 9 },
            Refusal::Lane,
            Refusal::SecretMissing,
            Refusal::SecretUnexpected,
            Refusal::SecretMismatch,
            Refusal::ForeignCluster { actual: None },
            Refusal::ForeignCluster { actual: Some(Uuid::from_u128(7 << 64)) },
            Refusal::NotMember,
            Refusal::Certificate,
            Refusal::WrongNode { actual: None },
            Refusal::WrongNode { actual: Some(NodeId::new(u64::MAX)) },
        ] {
            let (code, detail) = refusal.encode();
            assert_eq!(Refusal::decode(code, detail), Some(refusal));
        }
        for (code, detail) in [(0, [0; 16]), (10, [0; 16]), (1, [255; 16]), (8, [255; 16])] {
            assert_eq!(Refusal::decode(code, detail), None);
        }
    }
}

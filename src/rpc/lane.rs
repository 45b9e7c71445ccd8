//! What a connection is for.

/// What a connection is for. Each lane has a connection of its own, so that a snapshot never stands before a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Log entries, many in flight, to be processed in order.
    Append,
    /// Votes and heartbeats: small, and late is as bad as never.
    Control,
    /// Chunks of a snapshot.
    Snapshot,
    /// Writes that a follower passes on to the leader.
    Forward,
    /// Questions about a node's condition.
    Status,
    /// A node asks to become a member. The only lane open to a caller that has no cluster yet.
    Join,
}

impl Lane {
    /// The lane's number on the wire. A number is never given to another lane.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Append => 1,
            Self::Control => 2,
            Self::Snapshot => 3,
            Self::Forward => 4,
            Self::Status => 5,
            Self::Join => 6,
        }
    }

    pub(super) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Append),
            2 => Some(Self::Control),
            3 => Some(Self::Snapshot),
            4 => Some(Self::Forward),
            5 => Some(Self::Status),
            6 => Some(Self::Join),
            _ => None,
        }
    }
}

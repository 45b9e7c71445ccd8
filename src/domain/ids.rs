//! Numbers that must not be mixed up.

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a number that is known to be one.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The bare number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The number that follows this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A node of the cluster. Allotted by the cluster, 1 for the node that founded it, and never used again after the
    /// node has left: a wiped node that came back under its old id could form a second quorum.
    NodeId
}
number! {
    /// The index of an entry in the Raft log. Counts entries of every kind, so it is not a [`Position`].
    LogIndex
}
number! {
    /// The place of a message in the one order of the cluster: dense, 1, 2, 3 …, given when the message is applied.
    /// 0 stands before the first message.
    Position
}
number! {
    /// The place of a message in its topic: dense, from 1.
    Seq
}

impl Position {
    /// Before the first message.
    pub const ZERO: Self = Self(0);
}

//! What was recorded of a run: what publishers were told, what subscribers saw, and what the nodes keep in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// All that is known of a run, after it has come to rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// In any order.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) nodes: BTreeMap<String, Kept>,
    pub(crate) subscribers: Vec<Subscriber>,
    /// Topics whose oldest messages may have been evicted. All that was published to them is acknowledged.
    pub(crate) bounded: BTreeSet<String>,
    /// Topics whose deletion was acknowledged, and that nobody has created again.
    pub(crate) deleted: BTreeSet<String>,
    pub(crate) isolations: Vec<Isolation>,
}

/// One request to publish the message of a key. There may be several for each.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) key: String,
    /// Who was asked.
    pub(crate) node: String,
    pub(crate) begun: Moment,
    pub(crate) ended: Moment,
    pub(crate) outcome: Outcome,
}

/// What a publisher was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is stored, as this.
    Acknowledged(Message),
    /// It is certainly not stored by this request.
    Refused,
    /// There was no answer, or one that doesn't know.
    Unknown,
}

/// A message, as a node keeps it, a publisher is told of it, or a subscriber sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) id: String,
    /// The number in the id: its place in the one order.
    pub(crate) position: u64,
    pub(crate) seq: u64,
    pub(crate) key: String,
}

/// What a node keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Every topic that it knows of.
    pub(crate) topics: BTreeMap<String, Vec<Message>>,
    /// What it says its whole state amounts to.
    pub(crate) digest: String,
}

/// One who reads these topics from their first message on.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    pub(crate) name: String,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) seen: Vec<Seen>,
}

/// What it was sent, through all its streams.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Message(Message),
    /// It was told that messages before this position are missing.
    Gap {
        first_available: u64,
    },
}

/// A node could not reach any other one for this long, from the first moment to the last.
#[derive(Clone, Debug)]
pub(crate) struct Isolation {
    pub(crate) node: String,
    pub(crate) begun: Moment,
    pub(crate) ended: Moment,
}

/// A place in the order in which those who record look at the clock.
pub(crate) type Moment = u64;

/// The clock of those who record: what it says first happened first, whoever asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn now(&self) -> Moment {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

impl History {
    /// What was acknowledged. The message of a key may be there more than once.
    pub(crate) fn acknowledged(&self) -> impl Iterator<Item = (&Attempt, &Message)> {
        self.attempts.iter().filter_map(|attempt| match &attempt.outcome {
            Outcome::Acknowledged(message) => Some((attempt, message)),
            Outcome::Refused | Outcome::Unknown => None,
        })
    }
}

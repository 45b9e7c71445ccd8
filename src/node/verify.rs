//! Whether all nodes hold the same.
//!
//! A [`Command::Mark`] goes through the log like a publish, so that each node notes its digest at the same entry, whatever
//! else is written meanwhile. The digests are compared first; only if they differ, those of the topics, and of the first
//! topic that differs the messages.

use futures_util::future::join_all;
use tokio::time::{Duration, Instant, timeout};

use super::{Node, WriteError};
use crate::consensus::Member;
use crate::consensus::wire::{self, Inspect, Inspected, Part, kind};
use crate::domain::{LogIndex, NodeId, Position, TopicName};
use crate::rpc::Lane;
use crate::state::{Command, Digest, Holding, Reply, TopicId};

/// For a node to apply the mark and answer. One that is further behind is told of as not compared.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the nodes hold at one entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The entry.
    pub entry: LogIndex,
    /// The members, each with its digest. `None` if it did not answer in time, or restarted meanwhile.
    pub nodes: Vec<(NodeId, Option<Digest>)>,
    /// Where nodes differ first, if they do.
    pub difference: Option<Difference>,
}

/// Where two nodes differ first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// One of those that agree with most others, and one that does not.
    pub nodes: [NodeId; 2],
    /// The first topic in which they differ, in the order in which topics were created. `None` if it has been deleted
    /// since, or if they differ in something else.
    pub topic: Option<TopicName>,
    /// The first message of it that one of them lacks or has otherwise. `None` if it is the topic's settings or keys, or
    /// if such a message has been evicted since.
    pub position: Option<Position>,
}

impl Node {
    /// Compares what all members hold at one entry of the log. Writes go on meanwhile.
    ///
    /// # Errors
    /// The mark was not written; see [`WriteError`].
    pub async fn verify(&self, deadline: Instant) -> Result<Verification, WriteError> {
        let entry = match self.write(&Command::Mark, true, deadline).await? {
            Reply::Marked { entry } => entry,
            reply => unreachable!("a mark is not answered {reply:?}"),
        };
        let members: Vec<_> =
            self.inner.consensus.roles().into_iter().map(|(node, member, _)| (node, member)).collect();
        let digests = members.iter().map(async |member| match self.ask_for(member, entry, Part::Whole).await {
            Some(Inspected::Whole(digest)) => Some(digest),
            _ => None,
        });
        let digests = join_all(digests).await;
        let agreeing = |digest: &Digest| digests.iter().flatten().filter(|other| *other == digest).count();
        let usual = digests.iter().flatten().copied().max_by_key(agreeing);
        let holds = |is: &dyn Fn(Digest) -> bool| {
            members.iter().zip(&digests).find(|(_, digest)| digest.is_some_and(is)).map(|(member, _)| member)
        };
        let differing = usual.and_then(|usual| Some((holds(&|one| one == usual)?, holds(&|one| one != usual)?)));
        let difference = match differing {
            Some((one, other)) => Some(self.difference(one, other, entry).await),
            None => None,
        };
        let nodes = members.iter().map(|(node, _)| *node).zip(digests.iter().copied()).collect();
        Ok(Verification { entry, nodes, difference })
    }

    async fn difference(&self, one: &(NodeId, Member), other: &(NodeId, Member), entry: LogIndex) -> Difference {
        let mut difference = Difference { nodes: [one.0, other.0], topic: None, position: None };
        let topics = async |member| match self.ask_for(member, entry, Part::Topics).await {
            Some(Inspected::Topics(topics)) => topics,
            _ => Vec::new(),
        };
        let Some(topic) = first_difference(&topics(one).await, &topics(other).await) else { return difference };
        difference.topic = self.inner.consensus.replica().read(|machine| machine.topic_name(topic).cloned());
        let messages = async |member| match self.ask_for(member, entry, Part::Messages { topic }).await {
            Some(Inspected::Messages(holding)) => Some(holding),
            _ => None,
        };
        if let (Some(one), Some(other)) = (messages(one).await, messages(other).await) {
            difference.position = Holding::first_difference(&one, &other);
        }
        difference
    }

    async fn ask_for(&self, (node, member): &(NodeId, Member), entry: LogIndex, part: Part) -> Option<Inspected> {
        let request = Inspect { entry, part };
        if *node == self.inner.consensus.node() {
            return timeout(INSPECT_TIMEOUT, self.inspect(request)).await.ok()?;
        }
        let peer = self.inner.consensus.peers().connect(&member.peer, Some(*node), Lane::Forward);
        let reply = peer.call(kind::INSPECT, wire::encode(&request), INSPECT_TIMEOUT).await.ok()?;
        wire::decode(&reply).ok()?
    }

    /// What this node holds, or held at the mark.
    pub(crate) async fn inspect(&self, Inspect { entry, part }: Inspect) -> Option<Inspected> {
        self.applied(Some(entry)).await;
        self.inner.consensus.replica().read(|machine| {
            let mark = machine.marked(entry)?;
            Some(match part {
                Part::Whole => Inspected::Whole(mark.digest),
                Part::Topics => Inspected::Topics(mark.topics.clone()),
                Part::Messages { topic } => Inspected::Messages(machine.messages_up_to(topic, mark.position)),
            })
        })
    }
}

/// The first topic that one of two nodes lacks or has otherwise.
fn first_difference(one: &[(TopicId, Digest)], other: &[(TopicId, Digest)]) -> Option<TopicId> {
    let differs = one.iter().zip(other).find(|(one, other)| one != other);
    let longer = one.get(other.len()).or_else(|| other.get(one.len()));
    differs.map(|(one, other)| one.0.min(other.0)).or_else(|| longer.map(|(topic, _)| *topic))
}

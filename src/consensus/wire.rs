//! The messages between nodes: their numbers on the wire and their bodies.
//!
//! Bodies are postcard of the types below, which are openraft's where those serialize well. Appends have a form of
//! their own, so that entries are copied once.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::codec::decode_first;
pub(crate) use super::codec::{CodecError, decode, encode};
use super::types::{LogId, Member, SnapshotMeta, TypeConfig, Vote};
use crate::domain::{LogIndex, NodeId, TraceContext};
use crate::state::{Digest, Holding, Outcome, TopicId};

/// The numbers of the requests. Never reused for another meaning.
pub(crate) mod kind {
    pub(crate) const APPEND: u8 = 1;
    pub(crate) const VOTE: u8 = 2;
    pub(crate) const PRE_VOTE: u8 = 3;
    pub(crate) const TRANSFER_LEADER: u8 = 4;
    pub(crate) const INSTALL_SNAPSHOT: u8 = 5;
    pub(crate) const OPEN_SNAPSHOT: u8 = 6;
    pub(crate) const READ_SNAPSHOT: u8 = 7;
    pub(crate) const PROPOSE: u8 = 8;
    pub(crate) const JOIN: u8 = 9;
    pub(crate) const ANNOUNCE: u8 = 10;
    pub(crate) const STATUS: u8 = 11;
    pub(crate) const COMMITTED: u8 = 12;
    pub(crate) const IDENTIFY: u8 = 13;
    pub(crate) const ORDER: u8 = 14;
    pub(crate) const INSPECT: u8 = 15;
    pub(crate) const OCCUPANCY: u8 = 16;
    pub(crate) const MEET: u8 = 17;
}

/// Everything of an append request but its entries.
#[derive(Debug, Serialize, Deserialize)]
struct AppendHead {
    session: u64,
    vote: Vote,
    prev_log_id: Option<LogId>,
    leader_commit: Option<LogId>,
}

/// An append, and the replication session it belongs to. After a conflict the follower drops what is left of a session.
pub(super) fn encode_append(session: u64, request: &AppendEntriesRequest<TypeConfig>) -> Bytes {
    let head = AppendHead {
        session,
        vote: request.vote,
        prev_log_id: request.prev_log_id,
        leader_commit: request.leader_commit,
    };
    let head = encode(&head);
    let entries: Vec<Bytes> = request.entries.iter().map(super::entry::encode).collect();
    let len = entries.iter().map(|entry| 4 + entry.len()).sum::<usize>();
    let mut out = BytesMut::with_capacity(4 + head.len() + len);
    put_framed(&mut out, &head);
    entries.iter().for_each(|entry| put_framed(&mut out, entry));
    out.freeze()
}

pub(super) fn decode_append(mut bytes: Bytes) -> Result<(u64, AppendEntriesRequest<TypeConfig>), CodecError> {
    let AppendHead { session, vote, prev_log_id, leader_commit } = decode(&get_framed(&mut bytes)?)?;
    let mut index = prev_log_id.map_or(0, |prev| prev.index + 1);
    let mut entries = Vec::new();
    while bytes.has_remaining() {
        let entry = get_framed(&mut bytes)?;
        entries.push(super::entry::decode(index, &entry).map_err(|_| CodecError(None))?);
        index += 1;
    }
    Ok((session, AppendEntriesRequest { vote, prev_log_id, entries, leader_commit }))
}

fn put_framed(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).expect("a frame is far below 4 GiB"));
    out.put_slice(bytes);
}

fn get_framed(bytes: &mut Bytes) -> Result<Bytes, CodecError> {
    let len = bytes.try_get_u32().map_err(|_| CodecError(None))?;
    let len = usize::try_from(len).map_err(|_| CodecError(None))?;
    if len > bytes.len() {
        return Err(CodecError(None));
    }
    Ok(bytes.split_to(len))
}

/// How an append ended: the last log id that is flushed, or why the session is over.
pub(super) type AppendReply = StreamAppendResult<TypeConfig>;

/// Commands that a follower passes on to the leader, each encoded.
#[derive(Debug)]
pub(crate) struct Propose {
    pub(crate) commands: Vec<Bytes>,
    /// Of those whose traces are recorded, what they are part of.
    pub(crate) traces: Vec<TraceContext>,
}

impl Propose {
    /// The traces stand behind what builds before them read, which pass over them; without any, the bytes are theirs.
    pub(crate) fn encode(&self) -> Bytes {
        let Self { commands, traces } = self;
        if traces.is_empty() { encode(commands) } else { encode(&(commands, traces)) }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (commands, rest) = decode_first(bytes)?;
        let traces = if rest.is_empty() { Vec::new() } else { decode(rest)? };
        Ok(Self { commands, traces })
    }
}

/// What the leader answers to [`Propose`].
pub(crate) type ProposeReply = Result<Proposed, ProposeRefused>;

/// The commands are applied on the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// The entry they came to stand in; one outcome for each command. Whoever asked has to reach this index before it
    /// answers its own client.
    pub index: LogIndex,
    /// In the order of the commands.
    pub outcomes: Vec<Outcome>,
}

/// Why the leader's answer holds no outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ProposeRefused {
    /// Nothing was proposed: the node doesn't lead, or has lost its quorum.
    NotLeader,
    /// The entry was appended, and may or may not be committed.
    Unknown,
    /// Nothing was proposed: the node is stopping.
    Stopping,
}

/// Asks a node what it holds, or held at a mark, once it has applied that.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Inspect {
    /// The entry of the mark.
    pub(crate) entry: LogIndex,
    pub(crate) part: Part,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    /// The digest of everything.
    Whole,
    /// That of each topic.
    Topics,
    /// The messages of a topic, up to the mark.
    Messages { topic: TopicId },
}

/// The answer; none if the node doesn't remember the mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Inspected {
    Whole(Digest),
    Topics(Vec<(TopicId, Digest)>),
    Messages(Holding),
}

/// An empty node asks to be let in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Join {
    pub(crate) member: Member,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum JoinReply {
    /// The identity to write down before anything else.
    Accepted { cluster: [u8; 16], node: NodeId },
    /// Ask the leader, whose peer address this is, or again when there is one.
    Elsewhere { leader: Option<String> },
}

/// An empty node that is to found a cluster together with others asks who is there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Meet {
    pub(crate) candidate: Candidate,
    /// Asks for a promise.
    pub(crate) offer: Option<Plan>,
}

/// Who is there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Met {
    /// An empty node that is to found a cluster, too.
    Candidate(Candidate),
    /// A node of this cluster.
    Member { cluster: [u8; 16] },
}

/// An empty node that is to found a cluster together with others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) member: Member,
    /// The process.
    pub(crate) instance: [u8; 16],
    /// How many are to found the cluster.
    pub(crate) expected: u64,
    /// What it has promised to others, or collects promises for.
    pub(crate) plan: Option<Plan>,
}

/// A cluster that is about to be founded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    pub(crate) cluster: [u8; 16],
    /// By their peer addresses, the lowest first, which is the one that decides. Their ids are 1, 2, 3 ….
    pub(crate) voters: Vec<Member>,
}

impl Plan {
    /// The peer address of the node that decides whether it comes about.
    pub(crate) fn founder(&self) -> Option<&str> {
        self.voters.first().map(|member| member.peer.as_str())
    }

    /// The id that a node is to have.
    pub(crate) fn seat(&self, member: &Member) -> Option<NodeId> {
        self.nodes().find_map(|(node, voter)| (voter == *member).then_some(node))
    }

    /// Every voter with its id.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, Member)> {
        (1..).map(NodeId::new).zip(self.voters.iter().cloned())
    }
}

/// A node with an identity tells where it is reached; as a learner, if it isn't a member yet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Announce {
    pub(crate) node: NodeId,
    pub(crate) member: Member,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AnnounceReply {
    /// The membership holds the node under these addresses.
    Done,
    /// Ask the leader, whose peer address this is, or again when there is one.
    Elsewhere { leader: Option<String> },
    /// The cluster is done with this node.
    Expelled(Expelled),
}

/// Why the cluster wants no more of a node.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expelled {
    /// An operator has removed it, or another node has taken its place. Its id is never used again.
    #[error(
        "this node was removed from its cluster. What it has acknowledged is on the others; to let it in again, start it \
         with an empty data directory, so that it joins under a new id"
    )]
    Removed,
    /// Another process runs under its id.
    #[error(
        "another process runs as this node, at {address}. Was its data directory copied? Stop that one, or start this one \
         with an empty data directory, so that it joins under a new id"
    )]
    Doubled {
        /// The peer address at which the other one answers.
        address: String,
    },
}

/// A snapshot that a node keeps ready to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) meta: SnapshotMeta,
    pub(crate) bytes: u64,
    /// SHA-256 of the whole, which also names it.
    pub(crate) digest: [u8; 32],
}

/// The leader tells a lagging follower to fetch a snapshot and install it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InstallSnapshot {
    pub(super) vote: Vote,
    pub(super) offer: Offer,
    /// Where to read it.
    pub(super) source: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReadSnapshot {
    pub(super) digest: [u8; 32],
    pub(super) offset: u64,
}

/// A piece of a snapshot; `None` if the node doesn't keep that snapshot any more.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotPiece {
    pub(super) data: Option<Bytes>,
    pub(super) crc32c: u32,
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use openraft::entry::RaftEntry as _;
    use proptest::prelude::*;

    use super::super::types::{Proposal, RaftEntry};
    use super::*;

    fn log_id(term: u64, index: u64) -> LogId {
        openraft::LogId { leader_id: term.into(), index }
    }

    #[test]
    fn an_append_comes_back_as_it_was_sent() {
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal(Bytes::from_static(b"payload"))),
            EntryPayload::Membership(openraft::Membership::new_with_defaults(
                vec![[NodeId::new(1)].into()],
                [NodeId::new(2)],
            )),
        ];
        let entries = (5..).zip(payloads).map(|(index, payload)| RaftEntry::new(log_id(3, index), payload)).collect();
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(3, NodeId::new(1)),
            prev_log_id: Some(log_id(2, 4)),
            entries,
            leader_commit: Some(log_id(2, 3)),
        };
        let (session, read) = decode_append(encode_append(7, &request)).expect("an append");
        assert_eq!(session, 7);
        assert_eq!(format!("{read:?}"), format!("{request:?}"));
    }

    fn trace() -> TraceContext {
        TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-00b7ad6b71692033-01").expect("one")
    }

    #[test]
    fn traces_of_commands_are_passed_over_by_a_build_that_knows_none() {
        let commands = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        let traces = vec![trace(), trace()];
        let traced = Propose { commands: commands.clone(), traces: traces.clone() }.encode();
        assert_eq!(decode::<Vec<Bytes>>(&traced).expect("commands"), commands);
        assert_eq!(Propose::decode(&traced).expect("both").traces, traces);

        let untraced = Propose { commands: commands.clone(), traces: Vec::new() }.encode();
        assert_eq!(untraced, encode(&commands));
        let read = Propose::decode(&untraced).expect("commands");
        assert_eq!((read.commands, read.traces), (commands, Vec::new()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>) {
            let _ = decode_append(Bytes::from(bytes.clone()));
            let _ = decode::<AppendReply>(&bytes);
            let _ = decode::<openraft::raft::VoteRequest<TypeConfig>>(&bytes);
            let _ = Propose::decode(&bytes);
            let _ = decode::<ProposeReply>(&bytes);
            let _ = decode::<JoinReply>(&bytes);
            let _ = decode::<InstallSnapshot>(&bytes);
            let _ = decode::<Meet>(&bytes);
        }
    }

    /// What a node that has proven itself may send: it can be of another version, or broken.
    #[test]
    fn fuzz_requests_between_nodes() {
        let member = Member { peer: "a:7376".to_owned(), client: "http://a:7375".to_owned(), reads_along: false };
        let plan = Plan { cluster: [7; 16], voters: vec![member.clone(); 3] };
        let candidate = Candidate { member: member.clone(), instance: [8; 16], expected: 3, plan: Some(plan.clone()) };
        let command = crate::state::Command::Tick.encode().as_bytes().clone();
        let corpus = [
            Propose { commands: vec![command.clone(), command], traces: vec![trace()] }.encode(),
            encode(&Inspect { entry: LogIndex::new(7), part: Part::Topics }),
            encode(&Join { member: member.clone() }),
            encode(&Announce { node: NodeId::new(2), member }),
            encode(&Meet { candidate, offer: Some(plan) }),
            encode(&ReadSnapshot { digest: [7; 32], offset: 9 }),
            encode(&SnapshotPiece { data: Some(Bytes::from_static(b"a piece")), crc32c: 5 }),
            encode(&Proposed { index: LogIndex::new(7), outcomes: Vec::new() }),
        ];
        let corpus = corpus.into_iter().map(|bytes| bytes.to_vec()).collect();
        crate::fuzz::Target::new("requests between nodes", corpus).run(|input| {
            let _ = decode_append(Bytes::copy_from_slice(input));
            let _ = (Propose::decode(input), decode::<Inspect>(input), decode::<Join>(input));
            let _ = (
                decode::<Announce>(input),
                decode::<Meet>(input),
                decode::<ReadSnapshot>(input),
                decode::<InstallSnapshot>(input),
            );
            let _ = (decode::<SnapshotPiece>(input), decode::<ProposeReply>(input), decode::<Offer>(input));
        });
    }
}

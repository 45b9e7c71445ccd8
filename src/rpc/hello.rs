//! What the two sides of a handshake tell each other. Every message has a fixed length, so that nothing is allocated
//! and nothing needs a limit before a caller has shown who it is.

use bytes::{Buf, BufMut};
use uuid::Uuid;

use super::lane::Lane;
use super::refusal::Refusal;
use crate::domain::NodeId;

/// The first bytes of every connection.
pub(super) const MAGIC: [u8; 4] = *b"repl";

/// The version of the handshake and of the frames. A change in either gives it the next number.
pub(super) const VERSION: u8 = 2;

/// Both sides' first message starts, in every version, with the magic and the version.
pub(super) const PREFIX_BYTES: usize = 5;

/// Random bytes that are used once, so that no handshake is like another.
pub(super) type Nonce = [u8; 32];

/// The caller's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// Whether the caller has a cluster secret.
    pub(super) secret: bool,
    /// By number: the called node may know fewer lanes.
    pub(super) lane: u8,
    pub(super) cluster: Option<Uuid>,
    pub(super) from: Option<NodeId>,
    pub(super) to: Option<NodeId>,
    pub(super) nonce: Nonce,
}

impl Hello {
    /// What follows the prefix.
    pub(super) const REST_BYTES: usize = 1 + 1 + 16 + 8 + 8 + 32;

    const SECRET: u8 = 1;
    const CLUSTER: u8 = 2;
    const FROM: u8 = 4;
    const TO: u8 = 8;

    pub(super) fn new(
        secret: bool,
        lane: Lane,
        cluster: Option<Uuid>,
        from: Option<NodeId>,
        to: Option<NodeId>,
    ) -> Self {
        Self { secret, lane: lane.code(), cluster, from, to, nonce: nonce() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut flags = 0;
        for (is_set, flag) in [
            (self.secret, Self::SECRET),
            (self.cluster.is_some(), Self::CLUSTER),
            (self.from.is_some(), Self::FROM),
            (self.to.is_some(), Self::TO),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        let mut out = Vec::with_capacity(PREFIX_BYTES + Self::REST_BYTES);
        out.put_slice(&MAGIC);
        out.put_u8(VERSION);
        out.put_u8(flags);
        out.put_u8(self.lane);
        out.put_slice(self.cluster.unwrap_or_default().as_bytes());
        out.put_u64(self.from.map_or(0, NodeId::get));
        out.put_u64(self.to.map_or(0, NodeId::get));
        out.put_slice(&self.nonce);
        out
    }

    /// Reads what follows the prefix.
    pub(super) fn decode(rest: &[u8; Self::REST_BYTES]) -> Self {
        let mut rest = rest.as_slice();
        let flags = rest.get_u8();
        let has = |flag| flags & flag != 0;
        Self {
            secret: has(Self::SECRET),
            lane: rest.get_u8(),
            cluster: Some(Uuid::from_u128(rest.get_u128())).filter(|_| has(Self::CLUSTER)),
            from: Some(NodeId::new(rest.get_u64())).filter(|_| has(Self::FROM)),
            to: Some(NodeId::new(rest.get_u64())).filter(|_| has(Self::TO)),
            nonce: *rest.first_chunk().expect("32 bytes are left"),
        }
    }
}

/// Whether the called node goes on, and if not, why.
pub(super) type Verdict = Result<(), Refusal>;

const VERDICT_BYTES: usize = 1 + 16;

/// The number of the refusal and its detail; zeros stand for a caller that is admitted.
pub(super) fn encode_verdict(verdict: Verdict) -> [u8; VERDICT_BYTES] {
    let (code, detail) = verdict.err().map_or((0, [0; 16]), Refusal::encode);
    let mut out = [0; VERDICT_BYTES];
    let mut rest = out.as_mut_slice();
    rest.put_u8(code);
    rest.put_slice(&detail);
    out
}

/// `None` if this version knows no such verdict. Each has one form only, so that none of its bytes can be changed
/// without changing what the proof covers.
fn decode_verdict(bytes: &[u8; VERDICT_BYTES]) -> Option<Verdict> {
    let mut rest = bytes.as_slice();
    let (code, detail) = (rest.get_u8(), rest.get_u128().to_be_bytes());
    let verdict = if code == 0 { Ok(()) } else { Err(Refusal::decode(code, detail)?) };
    (encode_verdict(verdict) == *bytes).then_some(verdict)
}

/// The called node's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) verdict: Verdict,
    pub(super) nonce: Nonce,
}

impl Challenge {
    /// What follows the prefix.
    pub(super) const REST_BYTES: usize = VERDICT_BYTES + 32;

    pub(super) fn new(verdict: Verdict) -> Self {
        Self { verdict, nonce: nonce() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PREFIX_BYTES + Self::REST_BYTES);
        out.put_slice(&MAGIC);
        out.put_u8(VERSION);
        out.put_slice(&encode_verdict(self.verdict));
        out.put_slice(&self.nonce);
        out
    }

    /// Reads what follows the prefix.
    pub(super) fn decode(rest: &[u8; Self::REST_BYTES]) -> Option<Self> {
        let (verdict, nonce) = rest.split_first_chunk().expect("a verdict comes first");
        Some(Self { verdict: decode_verdict(verdict)?, nonce: *nonce.first_chunk().expect("32 bytes are left") })
    }
}

/// The called node's last message: its verdict, and the proof that it comes from a node that knows the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    pub(super) verdict: Verdict,
    pub(super) proof: [u8; 32],
}

impl Welcome {
    pub(super) const BYTES: usize = VERDICT_BYTES + 32;

    pub(super) fn encode(&self) -> Vec<u8> {
        [encode_verdict(self.verdict).as_slice(), &self.proof].concat()
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (verdict, proof) = bytes.split_first_chunk().expect("a verdict comes first");
        Some(Self { verdict: decode_verdict(verdict)?, proof: *proof.first_chunk().expect("32 bytes are left") })
    }
}

fn nonce() -> Nonce {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).expect("the operating system has random bytes");
    nonce
}

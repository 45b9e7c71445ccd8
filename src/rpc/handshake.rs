//! How a connection begins: both sides say who they are, and prove that they know the cluster secret.
//!
//! ```text
//! caller                                      called node
//!   hello: lane, cluster, from, to, nonce  →
//!                                          ←  challenge: nonce, or a refusal
//!   proof                                  →
//!                                          ←  welcome: verdict, proof
//! ```
//!
//! A proof is the HMAC of a label, the hello and the challenge, so it holds for this connection, this direction and
//! exactly these claims. The secret itself never travels. Of the two, the caller proves first: a stranger who calls
//! learns no more than whether there is a secret, not even the cluster's id. What a node says *after* the caller's
//! proof (another cluster, another node) is covered by its own proof; earlier refusals anyone in between could forge,
//! as anyone in between could cut the connection.
//!
//! Without a secret the same messages travel, with a key that everybody knows, and frames carry no tags.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use uuid::Uuid;

use super::endpoint::Endpoint;
use super::hello::{Challenge, Hello, MAGIC, PREFIX_BYTES, VERSION, Verdict, Welcome, encode_verdict};
use super::lane::Lane;
use super::refusal::Refusal;
use super::seal::{Key, Seal};
use crate::domain::NodeId;
use crate::tls;

/// How long a handshake may take. Two round trips and four hashes; the rest is for a machine that is busy.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Why there is no connection, though there was a socket.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The called node refuses the caller.
    #[error("refused")]
    Refused(#[source] Refusal),
    /// The other side speaks something else.
    #[error("the other side does not speak the peer protocol: is this the peer address of a node?")]
    Foreign,
    /// The called node admitted the caller without knowing the secret. Only an impostor does.
    #[error("the called node could not prove that it knows the cluster secret")]
    Impostor,
    /// Only one of the two speaks TLS.
    #[error("the other side speaks TLS, and this node does not: give every node --peer-tls-cert, or none")]
    TlsExpected,
    /// One side does not believe the other's certificate, or speaks without TLS.
    #[error("no TLS connection with the other side: both need a certificate of the same authority (--peer-tls-ca)")]
    Tls(#[source] io::Error),
    /// Longer than [`HANDSHAKE_MAX`].
    #[error("the other side did not finish the handshake within {} s", HANDSHAKE_MAX.as_secs())]
    Timeout,
    /// The socket failed, or the other side closed it.
    #[error("the connection failed during the handshake")]
    Io(#[source] io::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        if tls::is_of_tls(&error) { Self::Tls(error) } else { Self::Io(error) }
    }
}

/// Who called, and what for. With a secret, proven to come from a node of this cluster or one that may join it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerHello {
    /// What the connection is for.
    pub lane: Lane,
    /// The caller's cluster, which is this node's; `None` only on [`Lane::Join`].
    pub cluster: Option<Uuid>,
    /// The caller, if it has a number yet.
    pub from: Option<NodeId>,
    /// Whether its certificate, if nodes have them, fits the number. Where not, all it may do is announce itself.
    pub is_at_home: bool,
}

/// How the frames of a connection are tagged, if they are.
pub(super) struct Seals {
    pub(super) sending: Option<Seal>,
    pub(super) receiving: Option<Seal>,
}

/// The caller's part.
///
/// # Errors
/// There is no connection.
pub(super) async fn call<S>(
    stream: &mut S,
    local: &Endpoint,
    lane: Lane,
    to: Option<NodeId>,
) -> Result<Seals, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(HANDSHAKE_MAX, call_unhurried(stream, local, lane, to)).await.unwrap_or(Err(HandshakeError::Timeout))
}

/// The called node's part. `is_at_home` tells whether the caller can be the node of a number.
///
/// # Errors
/// There is no connection.
pub(super) async fn answer<S>(
    stream: &mut S,
    local: &Endpoint,
    is_at_home: impl Fn(NodeId) -> bool,
) -> Result<(PeerHello, Seals), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(HANDSHAKE_MAX, answer_unhurried(stream, local, is_at_home)).await.unwrap_or(Err(HandshakeError::Timeout))
}

async fn call_unhurried<S>(
    stream: &mut S,
    local: &Endpoint,
    lane: Lane,
    to: Option<NodeId>,
) -> Result<Seals, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = Hello::new(local.secret.is_some(), lane, local.cluster, local.node, to).encode();
    stream.write_all(&hello).await?;

    let called = version(read(stream).await?)?;
    if called != VERSION {
        return Err(HandshakeError::Refused(Refusal::Version { called }));
    }
    let rest: [u8; Challenge::REST_BYTES] = read(stream).await?;
    let challenge = Challenge::decode(&rest).ok_or(HandshakeError::Foreign)?;
    challenge.verdict.map_err(HandshakeError::Refused)?;

    let transcript = Transcript::new(local, &hello, &challenge);
    stream.write_all(&transcript.caller_proof()).await?;

    let welcome = Welcome::decode(&read(stream).await?).ok_or(HandshakeError::Foreign)?;
    // Who says that the secrets differ has no proof that this node could check.
    if welcome.verdict != Err(Refusal::SecretMismatch) && !transcript.proves_called(&welcome) {
        return Err(HandshakeError::Impostor);
    }
    welcome.verdict.map_err(HandshakeError::Refused)?;
    let seal = |label| local.secret.is_some().then(|| transcript.seal(label));
    Ok(Seals { sending: seal(Transcript::CALLER_FRAMES), receiving: seal(Transcript::CALLED_FRAMES) })
}

async fn answer_unhurried<S>(
    stream: &mut S,
    local: &Endpoint,
    is_at_home: impl Fn(NodeId) -> bool,
) -> Result<(PeerHello, Seals), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let prefix = read(stream).await?;
    if version(prefix)? != VERSION {
        let refusal = Refusal::Version { called: VERSION };
        return Err(refuse(stream, &Challenge::new(Err(refusal)).encode(), refusal).await);
    }
    let rest: [u8; Hello::REST_BYTES] = read(stream).await?;
    let hello = Hello::decode(&rest);
    let lane = match preliminary(local, &hello) {
        Ok(lane) => lane,
        Err(refusal) => return Err(refuse(stream, &Challenge::new(Err(refusal)).encode(), refusal).await),
    };
    let challenge = Challenge::new(Ok(()));
    stream.write_all(&challenge.encode()).await?;

    let is_at_home = hello.from.is_none_or(is_at_home);
    let transcript = Transcript::new(local, &[prefix.as_slice(), &rest].concat(), &challenge);
    let proof: [u8; 32] = read(stream).await?;
    let welcome = if transcript.proves_caller(&proof) {
        transcript.welcome(admit(local, lane, &hello, is_at_home))
    } else {
        // A proof of ours would let a stranger test guesses at the secret.
        Welcome { verdict: Err(Refusal::SecretMismatch), proof: [0; 32] }
    };
    if let Err(refusal) = welcome.verdict {
        return Err(refuse(stream, &welcome.encode(), refusal).await);
    }
    stream.write_all(&welcome.encode()).await?;
    let seal = |label| local.secret.is_some().then(|| transcript.seal(label));
    let seals = Seals { sending: seal(Transcript::CALLED_FRAMES), receiving: seal(Transcript::CALLER_FRAMES) };
    Ok((PeerHello { lane, cluster: hello.cluster, from: hello.from, is_at_home }, seals))
}

/// What can be refused before the caller has proven anything, and what it may learn without.
fn preliminary(local: &Endpoint, hello: &Hello) -> Result<Lane, Refusal> {
    match (hello.secret, local.secret.is_some()) {
        (false, true) => Err(Refusal::SecretMissing),
        (true, false) => Err(Refusal::SecretUnexpected),
        (false, false) | (true, true) => Lane::from_code(hello.lane).ok_or(Refusal::Lane),
    }
}

/// Whether a caller that knows the secret has come to the right place, as itself.
fn admit(local: &Endpoint, lane: Lane, hello: &Hello, is_at_home: bool) -> Verdict {
    match hello.cluster {
        None if lane != Lane::Join => return Err(Refusal::NotMember),
        Some(_) if hello.cluster != local.cluster => return Err(Refusal::ForeignCluster { actual: local.cluster }),
        None | Some(_) => {}
    }
    if hello.to.is_some() && hello.to != local.node {
        return Err(Refusal::WrongNode { actual: local.node });
    }
    // One that has moved announces itself on the lane of questions.
    if !is_at_home && lane != Lane::Status {
        return Err(Refusal::Certificate);
    }
    Ok(())
}

/// Sends the refusal and waits until the caller has hung up. To close at once could reset the connection, and a reset
/// discards what the caller hasn't read yet: the reason.
async fn refuse<S>(stream: &mut S, message: &[u8], refusal: Refusal) -> HandshakeError
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if stream.write_all(message).await.is_ok() {
        hang_up(stream).await;
    }
    // Whether or not the caller got it, this is why there is no connection.
    HandshakeError::Refused(refusal)
}

/// Waits until the caller, which was told why, has hung up.
pub(super) async fn hang_up<S>(stream: &mut S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let heard = async {
        stream.shutdown().await?;
        let mut unread = (&mut *stream).take(4096);
        tokio::io::copy(&mut unread, &mut tokio::io::sink()).await
    };
    let _ = timeout(REFUSAL_MAX, heard).await;
}

/// How long a refused caller may take to hang up. Well within [`HANDSHAKE_MAX`], which would hide the reason.
const REFUSAL_MAX: Duration = Duration::from_secs(1);

/// How records of TLS begin, RFC 8446 section 5.1; the version after them begins with 3.
const TLS_ALERT: u8 = 21;
const TLS_HANDSHAKE: u8 = 22;

/// The version that the other side speaks.
fn version(prefix: [u8; PREFIX_BYTES]) -> Result<u8, HandshakeError> {
    let [magic @ .., version] = prefix;
    match magic {
        MAGIC => Ok(version),
        [TLS_ALERT | TLS_HANDSHAKE, 3, ..] => Err(HandshakeError::TlsExpected),
        _ => Err(HandshakeError::Foreign),
    }
}

async fn read<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// What both sides have said, under the key that both should know.
struct Transcript {
    key: Key,
    said: Vec<u8>,
}

impl Transcript {
    // No label starts another one: what is tagged for one purpose never serves another.
    const CALLER_PROOF: &[u8] = b"caller proof";
    const CALLED_PROOF: &[u8] = b"called proof";
    const CALLER_FRAMES: &[u8] = b"caller frames";
    const CALLED_FRAMES: &[u8] = b"called frames";

    fn new(local: &Endpoint, hello: &[u8], challenge: &Challenge) -> Self {
        let key = local.secret.as_ref().map_or_else(|| Key::new(b""), |secret| secret.key().clone());
        Self { key, said: [hello, &challenge.encode()].concat() }
    }

    fn caller_proof(&self) -> [u8; 32] {
        self.key.tag(&[Self::CALLER_PROOF, &self.said])
    }

    fn proves_caller(&self, proof: &[u8; 32]) -> bool {
        self.key.verifies(&[Self::CALLER_PROOF, &self.said], proof)
    }

    fn welcome(&self, verdict: Verdict) -> Welcome {
        Welcome { verdict, proof: self.key.tag(&[Self::CALLED_PROOF, &self.said, &encode_verdict(verdict)]) }
    }

    fn proves_called(&self, welcome: &Welcome) -> bool {
        self.key.verifies(&[Self::CALLED_PROOF, &self.said, &encode_verdict(welcome.verdict)], &welcome.proof)
    }

    fn seal(&self, label: &[u8]) -> Seal {
        Seal::new(Key::new(&self.key.tag(&[label, &self.said])))
    }
}

//! The called node's side: a connection that was accepted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::endpoint::Endpoint;
use super::frame::{Frame, PAYLOAD_BYTES_MAX};
use super::handshake::{self, HANDSHAKE_MAX, HandshakeError, PeerHello, Seals};
use super::link::{FrameReader, FrameWriter, LinkError, Outbox};
use super::room::{Room, Share};
use super::socket::host;
use crate::domain::NodeId;
use crate::tls::{Mutual, PeerCertificate};

/// An accepted connection: who called, and what is asked, in the order in which it was.
///
/// Dropping it stops the reading. What was handed out can still be answered; then the connection closes.
#[derive(Debug)]
pub struct Connection {
    caller: Caller,
    requests: mpsc::UnboundedReceiver<Request>,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) hello: PeerHello,
    pub(super) address: SocketAddr,
    pub(super) certificate: Option<PeerCertificate>,
}

impl Connection {
    /// Shakes hands with whoever called, within [`HANDSHAKE_MAX`]. How many may try at once, and
    /// what the log says of those that fail, is up to the owner of the listener: a stranger can try a thousand times a
    /// second. `member_address` tells where a member is reached, as far as this node knows.
    ///
    /// # Errors
    /// The caller was refused, or gave up, or isn't a peer at all. The socket is closed.
    pub async fn accept(
        local: &Endpoint,
        mut stream: TcpStream,
        member_address: impl Fn(NodeId) -> Option<String>,
    ) -> Result<Self, HandshakeError> {
        stream.set_nodelay(true)?;
        let address = stream.peer_addr()?;
        let Some(tls) = &local.tls else {
            let (hello, seals) = handshake::answer(&mut stream, local, |_| true).await?;
            let (read, write) = stream.into_split();
            return Ok(Self::open(local, Caller { hello, address, certificate: None }, seals, read, write));
        };
        // In a box: without TLS nobody has to carry the size of it.
        Box::pin(Self::accept_tls(local, tls, stream, address, member_address)).await
    }

    async fn accept_tls(
        local: &Endpoint,
        tls: &Mutual,
        stream: TcpStream,
        address: SocketAddr,
        member_address: impl Fn(NodeId) -> Option<String>,
    ) -> Result<Self, HandshakeError> {
        let (mut stream, certificate) = match timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
            Ok(Ok(accepted)) => accepted,
            Ok(Err((error, mut stream))) => {
                handshake::hang_up(&mut stream).await;
                return Err(HandshakeError::Tls(error));
            }
            Err(_) => return Err(HandshakeError::Timeout),
        };
        let is_at_home = |node| member_address(node).is_none_or(|address| certificate.is_for(host(&address)));
        let (hello, seals) = handshake::answer(&mut stream, local, is_at_home).await?;
        let (read, write) = tokio::io::split(stream);
        Ok(Self::open(local, Caller { hello, address, certificate: Some(certificate) }, seals, read, write))
    }

    pub(super) fn open<R, W>(local: &Endpoint, caller: Caller, seals: Seals, read: R, write: W) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, requests) = mpsc::unbounded_channel();
        let (stop, Caller { hello, address, .. }) = (local.stop.clone(), caller.clone());
        let given_up = Arc::clone(&local.given_up);
        local.tasks.spawn(async move {
            let ended = stop.run_until_cancelled(converse(read, write, seals, sender)).await;
            let lane = hello.lane;
            match ended {
                None | Some(Ok(()) | Err(LinkError::Closed | LinkError::Io(_))) => {
                    debug!(peer = %address, ?lane, ?ended, "connection closed");
                }
                Some(Err(error)) => {
                    given_up.fetch_add(1, Ordering::Relaxed);
                    warn!(peer = %address, ?lane, error = &error as &dyn std::error::Error, "connection given up");
                }
            }
        });
        Self { caller, requests }
    }

    /// Who called, and what for.
    #[must_use]
    pub fn hello(&self) -> &PeerHello {
        &self.caller.hello
    }

    /// Whether the caller may say that a node, itself, is reached at this peer address.
    #[must_use]
    pub fn may_be_at(&self, address: &str) -> bool {
        self.caller.certificate.as_ref().is_none_or(|certificate| certificate.is_for(host(address)))
    }

    /// Where the call came from.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.caller.address
    }

    /// The next request, in the order in which they were sent. `None`: the connection has ended, and what had arrived
    /// was handed out. Nothing is lost if the future is dropped.
    pub async fn next_request(&mut self) -> Option<Request> {
        self.requests.recv().await
    }
}

/// What a peer asks.
#[derive(Debug)]
pub struct Request {
    /// As the caller gave it.
    pub kind: u8,
    /// As the caller gave it.
    pub payload: Bytes,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// Where the answer goes.
    pub replier: Replier,
}

/// Takes the answer to one request, from any task and in any order. Dropped without one, the caller learns at once that
/// there will be none.
#[derive(Debug)]
pub struct Replier {
    id: u64,
    /// Until it is answered.
    share: Option<Share>,
    /// Never holds more than there is room for requests: each has one answer.
    answers: mpsc::UnboundedSender<Answer>,
}

#[derive(Debug)]
struct Answer {
    frame: Frame,
    /// Until the answer is written: a caller who doesn't read answers can't pile them up here.
    share: Share,
}

/// The answer is larger than [`PAYLOAD_BYTES_MAX`]. The caller was told that there is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("an answer of {bytes} bytes, the limit is {PAYLOAD_BYTES_MAX}")]
pub struct AnswerTooLarge {
    /// The answer's size.
    pub bytes: usize,
}

impl Replier {
    /// Answers. If the connection has ended meanwhile, nobody hears it.
    ///
    /// # Errors
    /// The answer is too large.
    pub fn answer(mut self, payload: Bytes) -> Result<(), AnswerTooLarge> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(AnswerTooLarge { bytes: payload.len() });
        }
        let id = self.id;
        self.send(Frame::Answer { id, payload });
        Ok(())
    }

    fn send(&mut self, frame: Frame) {
        if let Some(share) = self.share.take() {
            // Fails if the connection has ended, which the caller knows.
            let _ = self.answers.send(Answer { frame, share });
        }
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        self.send(Frame::NoAnswer { id: self.id });
    }
}

/// Hears requests and sends answers until the connection ends.
async fn converse<R, W>(
    read: R,
    write: W,
    seals: Seals,
    requests: mpsc::UnboundedSender<Request>,
) -> Result<(), LinkError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (sender, answers) = mpsc::unbounded_channel();
    let hearing = hear(FrameReader::new(read, seals.receiving), requests, sender);
    let mut sending = std::pin::pin!(FrameWriter::new(write, seals.sending).run(Answers(answers)));
    tokio::select! {
        heard = hearing => heard?,
        ended = &mut sending => return ended,
    }
    sending.await
}

/// Hands out requests. Returns when nobody takes them any more.
async fn hear<R: AsyncRead + Unpin>(
    mut reader: FrameReader<R>,
    requests: mpsc::UnboundedSender<Request>,
    answers: mpsc::UnboundedSender<Answer>,
) -> Result<(), LinkError> {
    let room = Room::new();
    loop {
        let frame = tokio::select! {
            frame = reader.next() => frame?,
            () = requests.closed() => return Ok(()),
        };
        match frame {
            Frame::Request { id, kind, left_ms, payload } => {
                let deadline = Instant::now() + Duration::from_millis(left_ms.into());
                let share = Some(room.take(payload.len()).await);
                reader.listen_again();
                let replier = Replier { id, share, answers: answers.clone() };
                if requests.send(Request { kind, payload, deadline, replier }).is_err() {
                    return Ok(());
                }
            }
            Frame::Pulse => {}
            Frame::Answer { .. } | Frame::NoAnswer { .. } => return Err(LinkError::Unexpected),
        }
    }
}

struct Answers(mpsc::UnboundedReceiver<Answer>);

impl Outbox for Answers {
    async fn take(&mut self, frames: &mut Vec<Frame>, bytes_max: usize) -> bool {
        let Some(mut answer) = self.0.recv().await else {
            return false;
        };
        let mut bytes = 0;
        loop {
            bytes += answer.frame.len_bytes();
            frames.push(answer.frame);
            drop(answer.share);
            if bytes >= bytes_max {
                return true;
            }
            match self.0.try_recv() {
                Ok(next) => answer = next,
                Err(_) => return true,
            }
        }
    }
}

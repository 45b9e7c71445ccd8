//! The caller's side: a peer that is called.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::call_error::{CallError, ConnectError, NotSent, Unanswered};
use super::calls::{Answer, Call, Calls, Expired};
use super::endpoint::Endpoint;
use super::frame::{Frame, PAYLOAD_BYTES_MAX};
use super::handshake::{self, HANDSHAKE_MAX, HandshakeError, Seals};
use super::health::Health;
use super::lane::Lane;
use super::link::{FrameReader, FrameWriter, LinkError};
use super::room::Room;
use super::socket::{Socket, host};
use crate::domain::NodeId;

/// How long a TCP connection may take to come about. Between nodes a round trip is milliseconds; what takes longer is
/// a machine that is off, and the caller has others to ask.
pub const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Whom to call, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `HOST:PORT` of the peer port. A name is looked up for each connection.
    pub address: String,
    /// Who is expected there, if known. Guards against an address that another node has now.
    pub node: Option<NodeId>,
    /// What the connection is for.
    pub lane: Lane,
}

/// A node that is called on one lane. Cheap to clone; when the last clone is dropped the connection closes.
///
/// It connects when it is called and has no connection, and once for all calls that wait meanwhile. Nothing is repeated
/// and nothing happens in the background: whoever calls decides whether to call again.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    route: Arc<Route>,
    room: Room,
    link: Mutex<Option<Link>>,
}

/// What every connection to the peer needs.
struct Route {
    local: Endpoint,
    target: Target,
    health: Health,
}

/// A connection, made or in the making or ended.
struct Link {
    calls: Arc<Calls>,
    _released: DropGuard,
}

impl Peer {
    /// Doesn't connect yet.
    #[must_use]
    pub fn new(local: Endpoint, target: Target) -> Self {
        let health = Health::new(&target);
        let route = Arc::new(Route { local, target, health });
        Self(Arc::new(Inner { route, room: Room::new(), link: Mutex::new(None) }))
    }

    /// Whom it calls.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.0.route.target
    }

    /// Calls and waits for the answer; the same as [`Peer::send`] and [`Pending::answer`].
    ///
    /// # Errors
    /// There is no answer.
    pub async fn call(&self, kind: u8, payload: Bytes, time: Duration) -> Result<Bytes, CallError> {
        self.send(kind, payload, time).await?.answer().await
    }

    /// Puts a call in line and returns as soon as there is room for it, without waiting for the answer.
    ///
    /// Calls that are put in line one after another arrive in this order, as long as the connection holds. If it breaks
    /// the calls on it fail, and later ones, on the next connection, may overtake one whose outcome is unknown.
    ///
    /// The time runs from now. When it is over and nothing at all was heard since the call was sent, the connection is
    /// given up, and every call on it. So let `time` run out rather than drop the future at the same moment: a call
    /// that is dropped says nothing about the connection.
    ///
    /// # Errors
    /// The payload is too large, or there was no room in time.
    pub async fn send(&self, kind: u8, payload: Bytes, time: Duration) -> Result<Pending, CallError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(CallError::TooLarge { bytes: payload.len() });
        }
        let deadline = Instant::now() + time;
        let share = timeout_at(deadline, self.0.room.take(payload.len()))
            .await
            .map_err(|_| CallError::NotSent(NotSent::Expired { waited: time }))?;
        let (answer, receiver) = oneshot::channel();
        let (calls, id) = self.0.enqueue(Call { kind, payload, deadline, answer, share });
        Ok(Pending { calls, id, receiver, deadline, time })
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peer").field(&self.0.route.target).finish()
    }
}

impl Inner {
    fn enqueue(&self, mut call: Call) -> (Arc<Calls>, u64) {
        let mut link = self.link.lock().expect("nothing panics under this lock");
        if let Some(link) = &*link {
            match link.calls.push(call) {
                Ok(id) => return (Arc::clone(&link.calls), id),
                Err(refused) => call = refused,
            }
        }
        let (calls, id) = Calls::starting_with(call);
        let calls = Arc::new(calls);
        let Endpoint { tasks, stop, .. } = &self.route.local;
        let released = stop.child_token();
        tasks.spawn(run(Arc::clone(&self.route), Arc::clone(&calls), released.clone()));
        *link = Some(Link { calls: Arc::clone(&calls), _released: released.drop_guard() });
        (calls, id)
    }
}

/// A call in line or under way. Dropping it gives it up; it may be carried out all the same.
#[must_use = "a call that nobody waits for may never be sent"]
pub struct Pending {
    calls: Arc<Calls>,
    id: u64,
    receiver: oneshot::Receiver<Answer>,
    deadline: Instant,
    time: Duration,
}

impl Pending {
    /// Waits for the answer.
    ///
    /// # Errors
    /// There is none.
    pub async fn answer(mut self) -> Result<Bytes, CallError> {
        if let Ok(answer) = timeout_at(self.deadline, &mut self.receiver).await {
            return answer.expect("a call is answered before it is dropped");
        }
        let waited = self.time;
        match self.calls.expire(self.id) {
            Expired::InQueue => Err(CallError::NotSent(NotSent::Expired { waited })),
            // The answer may have come between the two.
            Expired::Sent => {
                self.receiver.try_recv().unwrap_or(Err(CallError::Unanswered(Unanswered::Expired { waited })))
            }
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("id", &self.id).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// The life of a connection.
async fn run(route: Arc<Route>, calls: Arc<Calls>, released: CancellationToken) {
    let error = match released.run_until_cancelled(connect(&route.local, &route.target)).await {
        None => LinkError::Released,
        Some(Ok((socket, seals))) => {
            route.health.up();
            match socket {
                Socket::Plain(socket) => {
                    let (read, write) = socket.into_split();
                    converse(read, write, seals, &calls, &released).await
                }
                Socket::Tls(socket) => {
                    let (read, write) = tokio::io::split(socket);
                    converse(read, write, seals, &calls, &released).await
                }
            }
        }
        Some(Err(error)) => {
            route.health.down(&error);
            let error = CallError::from(Arc::new(error));
            return calls.end(&error, &error);
        }
    };
    if !matches!(error, LinkError::Released) {
        route.health.down(&error);
    }
    let error = Arc::new(error);
    calls.end(&CallError::NotSent(NotSent::Lost(Arc::clone(&error))), &CallError::Unanswered(Unanswered::Lost(error)));
}

async fn connect(local: &Endpoint, target: &Target) -> Result<(Socket, Seals), ConnectError> {
    let mut stream = timeout(CONNECT_MAX, TcpStream::connect(&target.address))
        .await
        .map_err(|_| ConnectError::Timeout)?
        .map_err(ConnectError::Socket)?;
    // Frames that belong together leave in one write already.
    stream.set_nodelay(true).map_err(ConnectError::Socket)?;
    let Some(tls) = &local.tls else {
        let seals = handshake::call(&mut stream, local, target.lane, target.node).await?;
        return Ok((Socket::Plain(stream), seals));
    };
    let connecting = timeout(HANDSHAKE_MAX, Box::pin(tls.connect(stream, host(&target.address)))).await;
    let connected = connecting.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
    let mut stream = Box::new(connected.map_err(HandshakeError::Tls)?);
    let seals = handshake::call(&mut stream, local, target.lane, target.node).await?;
    Ok((Socket::Tls(stream), seals))
}

/// Sends calls and hears answers until the connection ends.
pub(super) async fn converse<R, W>(
    read: R,
    write: W,
    seals: Seals,
    calls: &Calls,
    released: &CancellationToken,
) -> LinkError
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let sending = FrameWriter::new(write, seals.sending).run(calls);
    tokio::select! {
        error = hear(FrameReader::new(read, seals.receiving), calls) => error,
        ended = sending => ended.err().unwrap_or(LinkError::Closed),
        () = calls.unresponsive() => LinkError::Unresponsive,
        () = released.cancelled() => LinkError::Released,
    }
}

async fn hear<R: AsyncRead + Unpin>(mut reader: FrameReader<R>, calls: &Calls) -> LinkError {
    loop {
        match reader.next().await {
            Ok(Frame::Answer { id, payload }) => calls.answer(id, Ok(payload)),
            Ok(Frame::NoAnswer { id }) => calls.answer(id, Err(CallError::Unanswered(Unanswered::GivenUp))),
            Ok(Frame::Pulse) => calls.heard(),
            Ok(Frame::Request { .. }) => return LinkError::Unexpected,
            Err(error) => return error,
        }
    }
}

//! The listener's loop.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::metrics::{Closed, Metrics, Open};
use super::network::{Network, Networks, Remote};
use super::places::Place;
use super::{Front, Problem, connection, first_head};
use crate::tls::{AcceptError, Acceptor};

/// How long to leave a listener alone that has no descriptor for the next connection. The backlog holds it meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the kernel holds of what is not sent yet, in bytes. It would take a megabyte and more for a client that doesn't
/// read, for thousands of them a gigabyte, and it would take long to notice that they don't.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// Bounds of connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; further ones are closed as soon as they are accepted, which an `EventSource` takes as a
    /// reason to come back later, to this node or another.
    pub connections_max: usize,
    /// Of [`Self::connections_max`], those of one IPv4 address, or of the /64 of an IPv6 address.
    pub connections_per_address_max: usize,
    /// New connections a second of one address; those of ten seconds may come at once.
    pub connection_rate_max: u32,
    /// Whether loopback is an address like the others. By default it is not: what comes from this machine is mostly a proxy,
    /// which stands for all its clients.
    pub limits_loopback: bool,
    /// For a TLS handshake, and for its turn.
    pub handshake_timeout: Duration,
    /// TLS handshakes at once; further ones wait. A handshake costs more than a request, and its client has shown nothing
    /// yet.
    pub handshakes_max: usize,
    /// From the first byte of a request's head to its last.
    pub head_timeout: Duration,
    /// Without a request.
    pub idle_timeout: Duration,
    /// A write that makes no progress.
    pub write_stall_timeout: Duration,
    /// For the requests in flight when the server stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_address_max: 1_000,
            connection_rate_max: 100,
            limits_loopback: false,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1_000,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            // What the kernel takes meanwhile included, whoever never reads is gone within 30 s.
            write_stall_timeout: Duration::from_secs(25),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// Serves until `stop`, then accepts no more and returns once every connection has ended: requests in flight are
/// answered within [`Limits::drain_timeout`]. `stop` should be the [`super::App::stop`] that ends the streams. Streams
/// that have their connection for themselves run on `fan_out`. With an [`Acceptor`] nothing but TLS is served.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Acceptor>,
    front: Front,
    metrics: Metrics,
    limits: Limits,
    stop: CancellationToken,
    fan_out: Handle,
) {
    let (tasks, abort) = (TaskTracker::new(), CancellationToken::new());
    let server =
        Server { front, metrics, limits, tasks: tasks.clone(), stop, abort, requests: Handle::current(), fan_out };
    let server = Arc::new(server);
    let places = Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS)));
    let handshakes = Arc::new(Semaphore::new(limits.handshakes_max.min(Semaphore::MAX_PERMITS)));
    let networks = Networks::new(limits.connections_per_address_max, limits.connection_rate_max);
    while let Some((socket, address)) = server.stop.run_until_cancelled(accept(&listener)).await {
        let is_limited = limits.limits_loopback || !address.ip().to_canonical().is_loopback();
        let network = is_limited.then(|| Network::of(address.ip()));
        let place = Arc::clone(&places).try_acquire_owned().map_err(|_| Closed::Full);
        let admitted = place.and_then(|place| Ok((place, network.map(|network| networks.admit(network)).transpose()?)));
        let place = match admitted {
            Ok(place) => place,
            Err(reason) => {
                server.metrics.connection_closed(reason);
                continue;
            }
        };
        if let Err(error) = prepare(&socket) {
            debug!(error = &error as &dyn Error, "could not prepare a socket");
        }
        let _open = server.metrics.connection_opened();
        let remote = Remote { address, network };
        let open = Counted { _place: place, _open, remote, server: Arc::clone(&server) };
        // Two kinds of tasks, so that those without TLS don't have the size of those with it.
        match &tls {
            None => tasks.spawn_on(open.serve(socket), &server.fan_out),
            Some(tls) => {
                let (tls, handshakes) = (tls.clone(), Arc::clone(&handshakes));
                let shake_hands = async move {
                    match handshake(&tls, socket, limits.handshake_timeout, &handshakes).await {
                        Some(socket) => open.serve(socket).await,
                        None => open.closed(Closed::Handshake),
                    }
                };
                tasks.spawn_on(shake_hands, &server.fan_out)
            }
        };
    }
    drop(listener);
    tasks.close();
    if timeout(limits.drain_timeout, tasks.wait()).await.is_err() {
        warn!("connections are still open after the drain, closing them");
        server.abort.cancel();
        tasks.wait().await;
    }
}

/// What all connections share.
pub(super) struct Server {
    pub(super) front: Front,
    pub(super) limits: Limits,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    /// Ends what has not ended in time after `stop`.
    pub(super) abort: CancellationToken,
    metrics: Metrics,
    /// Where requests are served.
    requests: Handle,
    /// Where streams run, and whatever else may be thousands of clients that publish nothing.
    fan_out: Handle,
}

/// A connection that counts as open.
struct Counted {
    _place: (OwnedSemaphorePermit, Option<Place<Network>>),
    remote: Remote,
    _open: Open,
    server: Arc<Server>,
}

impl Counted {
    /// Serves it to its end: until there is a request among those that may never send one, then where requests are served.
    async fn serve<S>(self, mut socket: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match first_head::arrive(&mut socket, &self.server).await {
            Err(reason) => self.closed(reason),
            Ok(first_head) => {
                let server = Arc::clone(&self.server);
                server.tasks.spawn_on(self.converse(socket, first_head), &server.requests);
            }
        }
    }

    async fn converse<S>(self, socket: S, first_head: Vec<u8>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match connection::run(socket, first_head, self.remote, &self.server).await {
            Err(reason) => self.closed(reason),
            // In a task of its own, which is small: there are thousands, and most of them rest.
            Ok(mut stream) => {
                let server = Arc::clone(&self.server);
                server.tasks.spawn_on(async move { self.closed(stream.run().await) }, &server.fan_out);
            }
        }
    }

    fn closed(self, reason: Closed) {
        self.server.metrics.connection_closed(reason);
    }
}

/// What the kernel does with a client's socket.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    // Without it a small frame waits for the acknowledgement of the one before: 40 ms.
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)
}

/// Makes a TLS connection of a socket, in time and when it is its turn.
async fn handshake(
    tls: &Acceptor,
    socket: TcpStream,
    time: Duration,
    handshakes: &Semaphore,
) -> Option<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
    let shaken = async {
        let _turn = handshakes.acquire().await.expect("the semaphore is never closed");
        tls.accept(socket).await
    };
    match timeout(time, shaken).await {
        Ok(Ok(socket)) => return Some(socket),
        Ok(Err(AcceptError::Plain(socket))) => refuse_plain(socket).await,
        Ok(Err(error @ AcceptError::Handshake(_))) => {
            debug!(error = &error as &dyn Error, "no TLS connection");
        }
        Err(_) => debug!("no TLS connection in time"),
    }
    None
}

/// Tells a client in its own words that it has to speak TLS. What can't be told at once is not told.
async fn refuse_plain(mut socket: TcpStream) {
    // What is closed with something unread is reset, and the client may never see the answer.
    let _ = socket.try_read(&mut [0; 4096]);
    let _ = socket.try_write(&Problem::tls_required().to_http_1());
    let _ = socket.shutdown().await;
}

/// The next connection. No error ends the loop: a client that left while it waited is not our concern, and descriptors
/// become free again.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut failed = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                if failed {
                    info!("accepting connections again");
                }
                return accepted;
            }
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                if !failed {
                    warn!(error = &error as &dyn Error, "can't accept connections, trying on");
                    failed = true;
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

//! The listener's loop.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::metrics::{Closed, Metrics, Open};
use super::{Front, connection};

/// How long to leave a listener alone that has no descriptor for the next connection. The backlog holds it meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; further ones are closed as soon as they are accepted, which an `EventSource` takes as a
    /// reason to come back later, to this node or another.
    pub connections_max: usize,
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
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_stall_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// Serves until `stop`, then accepts no more and returns once every connection has ended: requests in flight are
/// answered within [`Limits::drain_timeout`]. `stop` should be the [`super::App::stop`] that ends the streams. Streams
/// that have their connection for themselves run on `fan_out`.
pub async fn serve(
    listener: TcpListener,
    front: Front,
    metrics: Metrics,
    limits: Limits,
    stop: CancellationToken,
    fan_out: Handle,
) {
    let (tasks, metrics) = (TaskTracker::new(), Arc::new(metrics));
    let places = Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS)));
    let abort = CancellationToken::new();
    while let Some(socket) = stop.run_until_cancelled(accept(&listener)).await {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics.connection_closed(Closed::Full);
            continue;
        };
        let connection = Counted { _place: place, _open: metrics.connection_opened(), metrics: Arc::clone(&metrics) };
        let served = connection::run(socket, front.clone(), limits, tasks.clone(), stop.clone(), abort.clone());
        let (streams, fan_out) = (tasks.clone(), fan_out.clone());
        tasks.spawn(async move {
            match served.await {
                Err(reason) => connection.closed(reason),
                // In a task of its own, which is small: there are thousands, and most of them rest.
                Ok(mut stream) => {
                    streams.spawn_on(async move { connection.closed(stream.run().await) }, &fan_out);
                }
            }
        });
    }
    drop(listener);
    tasks.close();
    if timeout(limits.drain_timeout, tasks.wait()).await.is_err() {
        warn!("connections are still open after the drain, closing them");
        abort.cancel();
        tasks.wait().await;
    }
}

/// A connection that counts as open.
struct Counted {
    _place: OwnedSemaphorePermit,
    _open: Open,
    metrics: Arc<Metrics>,
}

impl Counted {
    fn closed(self, reason: Closed) {
        self.metrics.connection_closed(reason);
    }
}

/// The next connection. No error ends the loop: a client that left while it waited is not our concern, and descriptors
/// become free again.
async fn accept(listener: &TcpListener) -> TcpStream {
    let mut failed = false;
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                if failed {
                    info!("accepting connections again");
                }
                return socket;
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

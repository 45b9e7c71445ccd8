//! Signals to the process.

use std::io;
use std::process;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};

/// What signals tell the server.
pub(super) struct Signals<S> {
    /// Completes at the first SIGINT or SIGTERM. A second one ends the process at once, with the exit code that shells
    /// expect (128 + signal).
    pub(super) stop: S,
    /// SIGHUP: files that may have changed are to be read again.
    pub(super) reload: Arc<Notify>,
}

/// Begins to listen.
///
/// It waits on a thread of its own: the second signal is for a server that is stuck, and then so may be its runtime.
///
/// # Errors
/// The operating system refuses a handler or a thread.
pub(super) fn listen() -> io::Result<Signals<impl Future<Output = ()>>> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    let reload = Arc::new(Notify::new());
    let asked = Arc::clone(&reload);
    let mut next = async move || {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return SignalKind::interrupt(),
                _ = terminate.recv() => return SignalKind::terminate(),
                // Certificates and keys. Who is busy looking right now looks again soon anyway.
                _ = hangup.recv() => asked.notify_waiters(),
            }
        }
    };
    let (stop, stopped) = oneshot::channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async move {
            next().await;
            // Nobody is listening any more if the server has ended by itself.
            let _ = stop.send(());
            process::exit(128 + next().await.as_raw_value());
        });
    })?;
    let stop = async {
        let _ = stopped.await;
    };
    Ok(Signals { stop, reload })
}

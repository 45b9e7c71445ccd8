//! Signals that stop the process.

use std::io;
use std::process;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Completes at the first SIGINT or SIGTERM. A second one ends the process at once, with the exit code that shells
/// expect (128 + signal).
///
/// It waits on a thread of its own: the second signal is for a server that is stuck, and then so may be its runtime.
///
/// # Errors
/// The operating system refuses a handler or a thread.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let mut next = async move || {
        tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
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
    Ok(async {
        let _ = stopped.await;
    })
}

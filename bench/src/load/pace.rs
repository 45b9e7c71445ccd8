//! When messages are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::message::Clock;
use super::window::Window;

/// What a publisher waits for before it sends its next message, besides the answer to its last one.
#[derive(Clone, Debug)]
pub(crate) enum Pace {
    /// Nothing.
    Answers,
    /// That fewer messages are under way to their subscribers.
    Window(Arc<Window>),
    /// Its time: so many messages a second by all publishers together, whatever becomes of them.
    ///
    /// An open loop. Latencies are counted from the time at which a message *should* have been sent, so that a server that
    /// holds up its publishers does not look fast because it was asked less.
    Rate(f64),
}

/// Tells publishers in turn that it is time to send, and what time that is. In a thread of its own: tokio's timers are
/// good to a millisecond, this is good to a tenth of it.
pub(crate) fn start(
    rate: f64,
    publishers: usize,
    clock: Clock,
    stopping: Arc<AtomicBool>,
) -> Result<Vec<UnboundedReceiver<u64>>> {
    let (to, from): (Vec<_>, Vec<_>) = (0..publishers).map(|_| mpsc::unbounded_channel()).unzip();
    let start = clock.now();
    let tell = move || {
        for (number, publisher) in (1_u32..).zip(to.iter().cycle()) {
            let due = start + Duration::from_secs_f64(f64::from(number) / rate);
            #[expect(clippy::disallowed_methods, reason = "until a time; there is no condition to wait for")]
            thread::sleep(due.saturating_sub(clock.now()));
            let due_us = u64::try_from(due.as_micros()).unwrap_or(u64::MAX);
            if stopping.load(Ordering::Relaxed) || publisher.send(due_us).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("pace".to_owned()).spawn(tell).context("no thread for the pace")?;
    Ok(from)
}

//! Streams that are sent to other nodes: all of them before a stop, some when another node has fewer.
//!
//! A stream is told at once where to go (`repl.move`). A client that understands this goes by itself in the first third
//! of the window; whoever is still there in the second half is closed, one after the other, and comes back elsewhere by
//! itself.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Where streams go, and by when.
#[derive(Debug)]
pub(super) struct Departure {
    /// URLs.
    nodes: Vec<String>,
    /// Of all streams, the part that goes.
    share: f64,
    window: Duration,
    begun: Instant,
}

impl Departure {
    /// Where one stream may go: every node, in an order of its own.
    pub(super) fn nodes(&self) -> Vec<String> {
        let mut nodes = self.nodes.clone();
        fastrand::shuffle(&mut nodes);
        nodes
    }

    /// How long streams have to go.
    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// When one stream is closed, if its client has not gone.
    pub(super) fn end(&self) -> Instant {
        self.begun + self.window.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

/// All streams of a node, and what they are told.
#[derive(Debug, Default)]
pub(super) struct Departures {
    latest: Mutex<Option<Arc<Departure>>>,
    /// How many there have been: streams that have nothing to learn don't take the lock.
    count: AtomicU64,
    told: Arc<Notify>,
    streams: TaskTracker,
}

impl Departures {
    /// Sends a part of the streams to these nodes, until `window` is over.
    pub(super) fn begin(&self, nodes: Vec<String>, share: f64, window: Duration) {
        let departure = Departure { nodes, share, window, begun: Instant::now() };
        let mut latest = self.latest.lock().expect(LOCK);
        *latest = Some(Arc::new(departure));
        self.count.fetch_add(1, Ordering::Release);
        drop(latest);
        self.told.notify_waiters();
    }

    /// Waits until there are no more streams, at the latest after `patience`. None may come any more.
    pub(super) async fn complete(&self, patience: Duration) {
        self.streams.close();
        let _ = timeout(patience, self.streams.wait()).await;
    }

    /// A stream that is open for as long as this is kept.
    pub(super) fn passenger(&self) -> Passenger {
        Passenger {
            told: Box::pin(Arc::clone(&self.told).notified_owned()),
            known: self.count.load(Ordering::Acquire),
            _open: self.streams.token(),
        }
    }
}

/// One stream, as those see it who send it elsewhere.
#[derive(Debug)]
pub(super) struct Passenger {
    told: Pin<Box<OwnedNotified>>,
    /// The departures that it has learned of.
    known: u64,
    _open: TaskTrackerToken,
}

impl Passenger {
    /// Completes when there is a departure to learn of.
    pub(super) async fn told(&mut self, departures: &Departures) {
        self.told.as_mut().await;
        // Before anybody looks, so that none is missed.
        self.told = Box::pin(Arc::clone(&departures.told).notified_owned());
    }

    /// The departure that this stream has to take, once.
    pub(super) fn departure(&mut self, departures: &Departures) -> Option<Arc<Departure>> {
        if departures.count.load(Ordering::Acquire) == self.known {
            return None;
        }
        let latest = departures.latest.lock().expect(LOCK);
        self.known = departures.count.load(Ordering::Acquire);
        latest.clone().filter(|departure| fastrand::f64() < departure.share)
    }
}

const LOCK: &str = "nothing panics while it is held";

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn departing(passengers: &mut [Passenger], departures: &Departures) -> usize {
        passengers.iter_mut().filter_map(|passenger| passenger.departure(departures)).count()
    }

    #[test]
    fn a_share_of_the_streams_goes_and_each_is_asked_once() {
        let departures = Departures::default();
        let mut passengers: Vec<_> = (0..1_000).map(|_| departures.passenger()).collect();
        assert_eq!(departing(&mut passengers, &departures), 0);
        departures.begin(Vec::new(), 0.25, WINDOW);
        // Nine standard deviations on either side.
        let gone = departing(&mut passengers, &departures);
        assert!((127..373).contains(&gone), "{gone} of 1,000");
        assert_eq!(departing(&mut passengers, &departures), 0);
        assert!(departures.passenger().departure(&departures).is_none(), "it came later");
        departures.begin(Vec::new(), 1.0, WINDOW);
        assert_eq!(departing(&mut passengers, &departures), 1_000);
    }

    #[test]
    fn a_stream_that_waits_is_woken_for_each() {
        let departures = Departures::default();
        let mut passenger = departures.passenger();
        for _ in 0..2 {
            assert!(passenger.told(&departures).now_or_never().is_none());
            departures.begin(Vec::new(), 1.0, WINDOW);
            assert!(passenger.told(&departures).now_or_never().is_some());
            assert!(passenger.departure(&departures).is_some());
        }
    }

    #[test]
    fn streams_are_closed_in_the_second_half_of_the_window() {
        let departure = Departure { nodes: Vec::new(), share: 1.0, window: WINDOW, begun: Instant::now() };
        for _ in 0..100 {
            let end = departure.end() - departure.begun;
            assert!((WINDOW / 2..=WINDOW).contains(&end), "{end:?}");
        }
    }
}

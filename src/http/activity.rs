//! What a connection is doing, and until when it may.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Version};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::Limits;
use super::stream::Events;

/// Whether a connection has requests in flight, and if not, when it is due to be closed.
///
/// hyper has one timer for "nothing is sent" and "a head arrives slowly", and none for the bytes that tell HTTP/1 from
/// HTTP/2. Here both are one rule: a head is complete within [`Limits::head_timeout`] of its first byte (the first head:
/// of the connection), and a connection is idle for at most [`Limits::idle_timeout`].
#[derive(Debug)]
pub(super) struct Activity {
    head_timeout: Duration,
    idle_timeout: Duration,
    state: Mutex<State>,
    /// Whether all answers that have ended were handed to the kernel.
    is_flushed: AtomicBool,
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// Whether what is read next begins a head. Not on HTTP/2, where it may be a ping.
    expects_head: bool,
    due: Instant,
    stalled: bool,
    /// A stream that wants the connection for itself, and the headers of its answer.
    taken_over: Option<(Events, HeaderMap)>,
    /// Of the connection's task, while it waits for requests in flight.
    waker: Option<Waker>,
}

impl Activity {
    pub(super) fn new(limits: &Limits) -> Self {
        let Limits { head_timeout, idle_timeout, .. } = *limits;
        let due = Instant::now() + head_timeout;
        let state = State { in_flight: 0, expects_head: false, due, stalled: false, taken_over: None, waker: None };
        Self { head_timeout, idle_timeout, state: Mutex::new(state), is_flushed: AtomicBool::new(true) }
    }

    /// When the connection is to be closed if nothing happens. Pending while a request is in flight.
    pub(super) fn poll_due(&self, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut state = self.state();
        if state.in_flight == 0 {
            return Poll::Ready(state.due);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn bytes_read(&self) {
        let mut state = self.state();
        if state.in_flight == 0 && state.expects_head {
            state.expects_head = false;
            state.due = Instant::now() + self.head_timeout;
        }
    }

    /// The protocol has no bytes left to write: it flushes the socket when its own buffers are empty.
    pub(super) fn flushed(&self) {
        self.is_flushed.store(true, Ordering::Relaxed);
    }

    /// What the connection is to go on with instead of HTTP.
    pub(super) fn taken_over(&self) -> Option<(Events, HeaderMap)> {
        self.state().taken_over.take()
    }

    pub(super) fn write_stalled(&self) {
        self.state().stalled = true;
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.state().stalled
    }

    /// A head is complete; the request is in flight until the answer's body has ended.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> InFlight {
        self.state().in_flight += 1;
        InFlight { activity: Arc::clone(self), expects_head: version < Version::HTTP_2 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    expects_head: bool,
}

impl InFlight {
    /// Whether the kernel has all bytes of the answers before this one, so that the connection may be taken over.
    pub(super) fn is_flushed(&self) -> bool {
        self.activity.is_flushed.load(Ordering::Relaxed)
    }

    /// Ends the speaking of HTTP on this connection, in favour of a stream.
    pub(super) fn take_over(&self, events: Events, headers: HeaderMap) {
        self.activity.state().taken_over = Some((events, headers));
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.is_flushed.store(false, Ordering::Relaxed);
        let mut state = self.activity.state();
        state.in_flight -= 1;
        state.expects_head = self.expects_head;
        state.due = Instant::now() + self.activity.idle_timeout;
        // Answers of HTTP/1 end inside the connection's task, which looks afterwards anyway.
        let waker = state.waker.take().filter(|_| !self.expects_head);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The body of an answer, which keeps its request in flight.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: Body,
    _in_flight: InFlight,
}

impl AnswerBody {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn due_in(activity: &Activity) -> Option<u64> {
        match activity.poll_due(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(due) => Some(due.duration_since(Instant::now()).as_secs()),
            Poll::Pending => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_its_first_byte_and_idling_another() {
        let activity = Arc::new(Activity::new(&Limits {
            head_timeout: 10 * SECOND,
            idle_timeout: 60 * SECOND,
            ..Limits::default()
        }));
        advance(SECOND).await;
        activity.bytes_read();
        assert_eq!(due_in(&activity), Some(9), "the first head counts from the start");
        let request = activity.begin(Version::HTTP_11);
        assert_eq!(due_in(&activity), None);
        activity.bytes_read();
        drop(request);
        assert_eq!(due_in(&activity), Some(60));
        advance(30 * SECOND).await;
        activity.bytes_read();
        assert_eq!(due_in(&activity), Some(10));
        advance(SECOND).await;
        activity.bytes_read();
        assert_eq!(due_in(&activity), Some(9), "further bytes don't win time");
    }

    #[tokio::test(start_paused = true)]
    async fn pings_of_http2_are_no_heads() {
        let activity = Arc::new(Activity::new(&Limits { idle_timeout: 60 * SECOND, ..Limits::default() }));
        drop(activity.begin(Version::HTTP_2));
        advance(SECOND).await;
        activity.bytes_read();
        assert_eq!(due_in(&activity), Some(59));
    }
}

//! The calls of one connection, on the caller's side.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call_error::CallError;
use super::frame::Frame;
use super::link::Outbox;
use super::room::Share;

/// What a call waits for.
pub(super) type Answer = Result<Bytes, CallError>;

/// A call on its way to a connection.
pub(super) struct Call {
    pub(super) kind: u8,
    pub(super) payload: Bytes,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Answer>,
    pub(super) share: Share,
}

/// The calls of one connection: those that wait for their turn, and those that wait for their answer.
///
/// A call is in exactly one of the two, or done. It leaves the first only by being sent or by being taken back, under
/// one lock: whoever takes a call back knows that no byte of it was sent.
pub(super) struct Calls {
    state: Mutex<State>,
    queued: Notify,
    unresponsive: CancellationToken,
}

struct State {
    /// In the order of their ids.
    queue: VecDeque<(u64, Call)>,
    sent: HashMap<u64, Sent>,
    next_id: u64,
    /// How many signs of life came.
    heard: u64,
    ended: bool,
}

/// Stays until it is answered, even if nobody waits any more: until then the peer is busy with it.
struct Sent {
    /// How many signs of life had come before.
    heard: u64,
    answer: oneshot::Sender<Answer>,
    _share: Share,
}

/// What had become of a call when its time ran out.
pub(super) enum Expired {
    /// It was not sent, and won't be.
    InQueue,
    /// It was sent, and perhaps answered at the last moment.
    Sent,
}

impl Calls {
    /// The calls of a new connection, and the id of the first one.
    pub(super) fn starting_with(call: Call) -> (Self, u64) {
        let mut state = State { queue: VecDeque::new(), sent: HashMap::new(), next_id: 0, heard: 0, ended: false };
        let id = state.push(call);
        (Self { state: Mutex::new(state), queued: Notify::new(), unresponsive: CancellationToken::new() }, id)
    }

    /// Puts a call behind all others and gives it an id, or back if the connection has ended.
    pub(super) fn push(&self, call: Call) -> Result<u64, Call> {
        let mut state = self.lock();
        if state.ended {
            return Err(call);
        }
        let id = state.push(call);
        drop(state);
        self.queued.notify_one();
        Ok(id)
    }

    /// A sign of life came.
    pub(super) fn heard(&self) {
        self.lock().heard += 1;
    }

    /// An answer came.
    pub(super) fn answer(&self, id: u64, answer: Answer) {
        let mut state = self.lock();
        state.heard += 1;
        if let Some(sent) = state.sent.remove(&id) {
            // Fails if nobody waits any more, which is no matter.
            let _ = sent.answer.send(answer);
        }
    }

    /// The time of a call ran out. If it was sent and nothing at all was heard since, the connection is given up: that
    /// is what a partition looks like.
    pub(super) fn expire(&self, id: u64) -> Expired {
        let mut state = self.lock();
        if let Ok(at) = state.queue.binary_search_by_key(&id, |(id, _)| *id) {
            state.queue.remove(at);
            return Expired::InQueue;
        }
        if state.sent.get(&id).is_some_and(|sent| state.heard == sent.heard) {
            self.unresponsive.cancel();
        }
        Expired::Sent
    }

    /// Waits until a call expires without a sign of life.
    pub(super) async fn unresponsive(&self) {
        self.unresponsive.cancelled().await;
    }

    /// The connection has ended, or was never made.
    pub(super) fn end(&self, not_sent: &CallError, unanswered: &CallError) {
        let mut state = self.lock();
        state.ended = true;
        for (_, call) in state.queue.drain(..) {
            let _ = call.answer.send(Err(not_sent.clone()));
        }
        for (_, sent) in state.sent.drain() {
            let _ = sent.answer.send(Err(unanswered.clone()));
        }
    }

    /// Moves calls whose turn it is to `frames`. Leaves out those that nobody waits for any more.
    fn send(&self, frames: &mut Vec<Frame>, bytes_max: usize) {
        let mut state = self.lock();
        let (now, mut bytes) = (Instant::now(), 0);
        while bytes < bytes_max
            && let Some((id, call)) = state.queue.pop_front()
        {
            if call.answer.is_closed() {
                continue;
            }
            let left_ms = call.deadline.saturating_duration_since(now).as_millis();
            let left_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
            let frame = Frame::Request { id, kind: call.kind, left_ms, payload: call.payload };
            bytes += frame.len_bytes();
            frames.push(frame);
            let heard = state.heard;
            state.sent.insert(id, Sent { heard, answer: call.answer, _share: call.share });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl State {
    fn push(&mut self, call: Call) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.queue.push_back((id, call));
        id
    }
}

impl Outbox for &Calls {
    async fn take(&mut self, frames: &mut Vec<Frame>, bytes_max: usize) -> bool {
        loop {
            self.send(frames, bytes_max);
            if !frames.is_empty() {
                return true;
            }
            self.queued.notified().await;
        }
    }
}

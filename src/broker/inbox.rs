//! Where logs leave word for a subscription that reads several of them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

use super::audience::Seat;
use super::batch::Tick;
use super::topic_log::TopicLog;

/// A log that a subscription follows, and its seat there.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    pub(super) log: Arc<TopicLog>,
    pub(super) seat: Seat,
    /// Selected by its name, not by a pattern.
    pub(super) named: bool,
}

/// Word from logs. A log leaves word at its first frame after the subscription came to rest there, so an inbox holds each
/// log at most once, and looking at what changed never costs more than what changed. As a waker it wakes whoever waits
/// for the subscription. Its lock is the innermost one.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waker: Option<Waker>,
    changed: Vec<(Arc<TopicLog>, Seat)>,
    attached: Vec<Followed>,
    lost: Tick,
}

impl Inbox {
    /// A log has something, or needs to be looked at.
    pub(super) fn tell(&self, log: Arc<TopicLog>, seat: Seat) {
        self.lock().changed.push((log, seat));
    }

    /// A pattern matches one more topic.
    pub(super) fn attach(&self, followed: Followed) {
        self.lock().attached.push(followed);
    }

    /// Whatever the subscription has not got up to `lost`, it has lost.
    pub(super) fn lose(&self, lost: Tick) {
        self.lock().lost = lost;
    }

    /// Moves out the logs that changed; answers what was lost.
    pub(super) fn collect(&self, changed: &mut Vec<(Arc<TopicLog>, Seat)>, followed: &mut Vec<Followed>) -> Tick {
        let mut state = self.lock();
        changed.append(&mut state.changed);
        followed.append(&mut state.attached);
        state.lost
    }

    /// Whom to wake. False if there is word already for a subscription that has got everything up to `after`.
    pub(super) fn wait(&self, waker: &Waker, after: Tick) -> bool {
        let mut state = self.lock();
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            unknown => *unknown = Some(waker.clone()),
        }
        state.changed.is_empty() && state.lost <= after
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl Wake for Inbox {
    fn wake(self: Arc<Self>) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

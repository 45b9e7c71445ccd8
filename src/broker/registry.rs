//! How far the broker's order has got, and who joins and leaves at which point of it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use super::Common;
use super::audience::Seat;
use super::batch::Tick;
use super::frame::Format;
use super::inbox::{Followed, Inbox};
use super::readership::{PatternsId, Readership};
use super::topic_log::TopicLog;
use crate::domain::{Position, Selection, TopicName};
use crate::state::Event;

/// Ticks are given out, and subscriptions come and go, under one lock: so each event is either before a subscription or
/// after it. The frames follow later, without the lock; a subscription knows those before it by their ticks. The lock is
/// the outermost one.
#[derive(Debug)]
pub(super) struct Registry {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The last one given out, and the position it stands for.
    now: Start,
    full: Readership,
    value: Readership,
}

/// Where a new subscription begins: it gets what comes after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) tick: Tick,
    pub(super) position: Position,
}

/// A frame to be appended.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) log: Arc<TopicLog>,
    pub(super) tick: Tick,
    pub(super) position: Position,
    pub(super) event: &'a Event,
}

/// What a group of events leads to.
#[derive(Debug)]
pub(super) struct Announced<'a> {
    /// In order of their ticks.
    pub(super) targets: Vec<Target<'a>>,
    /// Logs that get nothing after this group.
    pub(super) retired: Vec<Arc<TopicLog>>,
    /// Of the last event.
    pub(super) position: Position,
}

/// What a jump leads to.
#[derive(Debug)]
pub(super) struct Reset {
    /// Everything up to here is lost.
    pub(super) lost: Tick,
    /// Every log there was.
    pub(super) logs: Vec<Arc<TopicLog>>,
    /// Those of them that get nothing any more.
    pub(super) retired: Vec<Arc<TopicLog>>,
}

impl Registry {
    pub(super) fn new(common: &Arc<Common>) -> Self {
        let [full, value] = [Format::Full, Format::Value].map(|format| Readership::new(format, Arc::clone(common)));
        let now = Start { tick: Tick::default(), position: Position::ZERO };
        Self { state: Mutex::new(State { now, full, value }) }
    }

    /// Where a subscription would begin now.
    pub(super) fn now(&self) -> Start {
        self.lock().now
    }

    /// A subscription of one topic by its name.
    pub(super) fn join_task(&self, topic: &TopicName, format: Format) -> (Start, Arc<TopicLog>, Seat) {
        let mut state = self.lock();
        let log = state.readership(format).join(topic);
        let seat = log.join_task();
        (state.now, log, seat)
    }

    /// A subscription of any selection. What its names follow is returned, what its patterns find goes to the inbox.
    pub(super) fn join_follower(
        &self,
        mut selection: Selection,
        format: Format,
        inbox: &Arc<Inbox>,
    ) -> (Start, Vec<Followed>, Option<PatternsId>) {
        let mut state = self.lock();
        let readership = state.readership(format);
        let mut followed = Vec::with_capacity(selection.topics.len());
        for topic in &selection.topics {
            let log = readership.join(topic);
            let seat = log.join_follower(Arc::clone(inbox));
            followed.push(Followed { log, seat, named: true });
        }
        let patterns = (!selection.patterns.is_empty()).then(|| {
            // The logs hold the same names anyway.
            selection.topics = followed.iter().map(|followed| followed.log.name().clone()).collect();
            readership.add_patterns(selection, Arc::clone(inbox))
        });
        (state.now, followed, patterns)
    }

    pub(super) fn leave_task(&self, log: &Arc<TopicLog>, seat: Seat, wake: &mut Vec<Waker>) {
        let mut state = self.lock();
        state.readership(log.format()).leave(log, true);
        log.leave_task(seat, wake);
    }

    pub(super) fn leave_follower(
        &self,
        followed: &mut Vec<Followed>,
        format: Format,
        patterns: Option<PatternsId>,
        inbox: &Inbox,
        wake: &mut Vec<Waker>,
    ) {
        let mut state = self.lock();
        let readership = state.readership(format);
        if let Some(id) = patterns {
            readership.remove_patterns(id);
        }
        // Under this lock, as patterns attach under it, too.
        inbox.collect(&mut Vec::new(), followed);
        for Followed { log, seat, named } in followed.drain(..) {
            readership.leave(&log, named);
            log.leave_follower(seat, wake);
        }
        // Word that was left meanwhile holds a log, which holds the inbox.
        inbox.collect(&mut Vec::new(), followed);
    }

    /// Gives out ticks for a group of events, and finds the logs they belong to.
    pub(super) fn announce<'a>(&self, events: &'a [Event]) -> Announced<'a> {
        let mut state = self.lock();
        let State { now, full, value } = &mut *state;
        let mut targets = Vec::new();
        for event in events {
            let name = &match event {
                Event::TopicCreated { name, .. } | Event::TopicDeleted { name, .. } => Cow::Borrowed(name),
                Event::Published(message) => Cow::Borrowed(&message.topic),
                Event::Presence { topic, .. } => Cow::Owned(topic.presence()),
                Event::Status { user, .. } => Cow::Owned(TopicName::status_of(user)),
            };
            *now = Start { tick: now.tick.next(), position: event.position() };
            let Start { tick, position } = *now;
            for readership in [&mut *full, &mut *value] {
                let log = readership.find(name).cloned();
                match event {
                    Event::TopicCreated { .. } => {
                        readership.revive(name);
                        continue;
                    }
                    Event::Published(_) | Event::Presence { .. } | Event::Status { .. } => {}
                    Event::TopicDeleted { .. } => readership.forget(name),
                }
                targets.extend(log.map(|log| Target { log, tick, position, event }));
            }
        }
        Announced { targets, retired: state.take_orphans(), position: state.now.position }
    }

    /// Jumps to a position.
    pub(super) fn reset(&self, position: Position, wake: &mut Vec<Waker>) -> Reset {
        let mut state = self.lock();
        let State { now, full, value } = &mut *state;
        *now = Start { tick: now.tick.next(), position };
        let lost = now.tick;
        let logs = full.logs().chain(value.logs()).cloned().collect();
        for inbox in full.forget_all().chain(value.forget_all()) {
            inbox.lose(lost);
            wake.push(Waker::from(Arc::clone(inbox)));
        }
        Reset { lost, logs, retired: state.take_orphans() }
    }

    /// Every log.
    pub(super) fn logs(&self) -> Vec<Arc<TopicLog>> {
        let state = self.lock();
        state.full.logs().chain(state.value.logs()).cloned().collect()
    }

    pub(super) fn log_count(&self) -> usize {
        let state = self.lock();
        state.full.logs().count() + state.value.logs().count()
    }

    pub(super) fn subscribers(&self, topic: &TopicName) -> usize {
        let state = self.lock();
        state.full.subscribers(topic) + state.value.subscribers(topic)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl State {
    fn readership(&mut self, format: Format) -> &mut Readership {
        match format {
            Format::Full => &mut self.full,
            Format::Value => &mut self.value,
        }
    }

    fn take_orphans(&mut self) -> Vec<Arc<TopicLog>> {
        let mut orphans = self.full.take_orphans();
        orphans.append(&mut self.value.take_orphans());
        orphans
    }
}

//! The shared log of one topic in one format.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::audience::{Audience, Presence, Seat};
use super::batch::{Copied, Place, Run, Tick};
use super::chunk::ChunkBuffer;
use super::frame::Format;
use super::inbox::Inbox;
use super::pacer::Job;
use super::ring::Ring;
use super::{BrokerOptions, Common};
use crate::domain::TopicName;

/// Timers count whole milliseconds, so there is no shorter rest.
const REST_MIN: Duration = Duration::from_millis(1);

/// If fewer frames came in a round, few would come in a rest.
const REST_FRAMES_MIN: usize = 8;

/// Frames of a topic, and those who read them. A round begins when a seal wakes all that wait, and ends when they have
/// all come back for more, which means that they have passed on what they got. What is appended meanwhile waits, and the
/// end of the round seals it: batches grow with the load, and nobody has to choose their size. A log whose readers all
/// wait seals at once.
///
/// While a round is under way again as soon as one ends, writes are most of the work, and batches no larger than what is
/// published in one round. So one in which much was published is followed by a [rest](super::BrokerOptions::rest_per_round),
/// unless it took so long that batches are large anyway.
///
/// Two things that look harmless would undo this. A reader that could seal whatever is pending, although others are due,
/// would get a batch of one, and so would the next (a convoy). And a round without a bound would make everyone wait for
/// one stalled connection; so the pacer cuts it.
///
/// Its lock comes after the registry's and before that of an inbox. Nothing is woken under it: methods hand out wakers.
pub(super) struct TopicLog {
    name: TopicName,
    format: Format,
    common: Arc<Common>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ring: Ring,
    audience: Audience,
    /// Tells one seal from the next.
    seals: u64,
    /// The pacer has been asked to end this round in time.
    held: bool,
    /// When the round began, if there was one yet.
    begun: Option<Instant>,
    /// The round is over, and what is pending waits so long for more.
    rest: Option<Duration>,
    /// The topic is gone and the log no longer receives anything.
    retired: bool,
}

/// What a log wants after a group of frames.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing more.
    Done,
    /// [`TopicLog::cut_round`] with this number once the bound has passed.
    Held(u64),
}

/// What a task gets.
#[derive(Debug)]
pub(super) enum Taken {
    Run(Run),
    Nothing,
    Behind,
}

/// What a follower finds in a log.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing sealed: it may rest.
    NothingSealed,
    /// Sealed frames that are new to it, up to this one.
    SealedUpTo(Tick),
    Behind,
}

/// How a follower comes to rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It has everything. The log leaves word when that changes.
    Resting,
    /// Something is pending. The log wakes it when it is sealed.
    Waiting,
    /// It can't rest: there is something new.
    More,
    /// It has everything, and nothing will follow. Its seat is gone.
    Retired,
}

impl TopicLog {
    pub(super) fn new(name: TopicName, format: Format, common: Arc<Common>) -> Self {
        Self { name, format, common, state: Mutex::default() }
    }

    pub(super) fn name(&self) -> &TopicName {
        &self.name
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Adds a frame, to be sealed by the next [`Self::flush`] or later. Ticks must rise over all logs, in order of the
    /// calls: a follower that sees a frame of one log can rely on every log having told it about the frames before.
    pub(super) fn append(self: &Arc<Self>, at: Place, frame: &[u8]) {
        let mut state = self.lock();
        if state.audience.is_empty() {
            return;
        }
        state.ring.push(at, frame, self.common.options.batch_bytes_max);
        state.audience.rouse(|inbox, seat| inbox.tell(Arc::clone(self), seat));
    }

    /// Ends a group of frames: seals them unless a round is open.
    pub(super) fn flush(self: &Arc<Self>, wake: &mut Vec<Waker>) -> Flushed {
        self.change(|state, common| {
            if !state.ring.has_pending() {
                return Flushed::Done;
            }
            if state.ring.pending_bytes() >= common.options.ring_bytes_max {
                state.cut_round(common, wake);
                return Flushed::Done;
            }
            if state.audience.has_waiting() && !state.audience.has_due() && state.rest.is_none() {
                state.seal(common, wake);
                return Flushed::Done;
            }
            // If nobody waits then nobody is kept waiting, and what comes next may as well join the batch.
            if std::mem::replace(&mut state.held, true) { Flushed::Done } else { Flushed::Held(state.seals) }
        })
    }

    /// Ends the round in which `seals` was handed out, if it is still open.
    pub(super) fn cut_round(self: &Arc<Self>, seals: u64, wake: &mut Vec<Waker>) {
        self.change(|state, common| {
            if state.seals == seals && state.ring.has_pending() {
                state.cut_round(common, wake);
            }
        });
    }

    pub(super) fn join_task(&self) -> Seat {
        self.lock().audience.join_task()
    }

    /// A follower that will look by itself, once it has read its history.
    pub(super) fn join_follower(&self, inbox: Arc<Inbox>) -> Seat {
        self.lock().audience.join_follower(inbox, Presence::Late)
    }

    /// A follower that doesn't know of this log.
    pub(super) fn attach_follower(&self, inbox: Arc<Inbox>) -> Seat {
        self.lock().audience.join_follower(inbox, Presence::Resting)
    }

    pub(super) fn leave_task(self: &Arc<Self>, seat: Seat, wake: &mut Vec<Waker>) {
        self.change(|state, common| {
            state.audience.leave_task(seat);
            state.after_leaving(common, wake);
        });
    }

    pub(super) fn leave_follower(self: &Arc<Self>, seat: Seat, wake: &mut Vec<Waker>) {
        self.change(|state, common| {
            state.audience.leave_follower(seat);
            state.after_leaving(common, wake);
        });
    }

    /// What a task that has everything up to `after` gets next; if it is nothing, the task waits.
    pub(super) fn take(self: &Arc<Self>, seat: Seat, after: Tick, waker: &Waker, wake: &mut Vec<Waker>) -> Taken {
        self.change(|state, common| {
            if state.ring.lost() > after {
                state.audience.shift_task(seat, Presence::Late);
                state.end_round_if_over(common, wake);
                return Taken::Behind;
            }
            if let Some(run) = state.ring.batch_after(after) {
                return Taken::Run(run);
            }
            if state.audience.task(seat) != Some(Presence::Waiting) {
                state.audience.shift_task(seat, Presence::Late);
                if state.end_round_if_over(common, wake) {
                    // The others have been woken for the next round, and this one is up already.
                    state.audience.shift_task(seat, Presence::Due);
                    if let Some(run) = state.ring.batch_after(after) {
                        return Taken::Run(run);
                    }
                }
                state.audience.shift_task(seat, Presence::Waiting);
                state.clear_if_taken();
            }
            state.audience.set_waker(seat, waker);
            Taken::Nothing
        })
    }

    /// What there is for a follower that has everything up to `after`.
    pub(super) fn look(&self, after: Tick) -> Found {
        let state = self.lock();
        if state.ring.lost() > after {
            return Found::Behind;
        }
        state.ring.sealed().filter(|sealed| *sealed > after).map_or(Found::NothingSealed, Found::SealedUpTo)
    }

    /// The first frame after `after`, sealed or not.
    pub(super) fn first_after(&self, after: Tick) -> Option<Tick> {
        self.lock().ring.first_after(after)
    }

    /// The sealed frames after `after`, as far as they are in one batch.
    pub(super) fn batch_after(&self, after: Tick) -> Option<Run> {
        let state = self.lock();
        if state.ring.lost() > after { None } else { state.ring.batch_after(after) }
    }

    /// Copies frames after `after`, up to and including `until`, sealed or not; answers also which frame comes next.
    pub(super) fn copy(
        &self,
        after: Tick,
        until: Tick,
        bytes_max: usize,
        out: &mut ChunkBuffer,
    ) -> Option<(Copied, Option<Tick>)> {
        let state = self.lock();
        if state.ring.lost() > after {
            return None;
        }
        let copied = state.ring.copy(after, until, bytes_max, out)?;
        Some((copied, state.ring.first_after(copied.tick)))
    }

    /// Whether there is anything after `after`, or was.
    pub(super) fn has_after(&self, after: Tick) -> bool {
        self.lock().ring.appended() > after
    }

    /// Lets a follower rest that has everything up to `after`.
    pub(super) fn rest(self: &Arc<Self>, seat: Seat, after: Tick, wake: &mut Vec<Waker>) -> Rest {
        self.change(|state, common| {
            if state.ring.lost() > after {
                state.audience.shift_follower(seat, Presence::Late);
                state.end_round_if_over(common, wake);
                return Rest::More;
            }
            if state.has_sealed_after(after) {
                return Rest::More;
            }
            if state.audience.follower(seat) != Some(Presence::Waiting) {
                state.audience.shift_follower(seat, Presence::Late);
                if state.end_round_if_over(common, wake) {
                    state.audience.shift_follower(seat, Presence::Due);
                    if state.has_sealed_after(after) {
                        return Rest::More;
                    }
                }
            }
            if state.ring.appended() > after {
                state.audience.shift_follower(seat, Presence::Waiting);
                state.clear_if_taken();
                return Rest::Waiting;
            }
            if state.retired {
                state.audience.leave_follower(seat);
                state.after_leaving(common, wake);
                return Rest::Retired;
            }
            state.audience.shift_follower(seat, Presence::Resting);
            state.clear_if_taken();
            Rest::Resting
        })
    }

    /// Nothing will be appended any more: followers may leave once they have read everything.
    pub(super) fn retire(self: &Arc<Self>, wake: &mut Vec<Waker>) {
        self.change(|state, _| {
            state.retired = true;
            state.audience.rouse(|inbox, seat| inbox.tell(Arc::clone(self), seat));
            state.audience.release(wake);
        });
    }

    /// Forgets everything. Whoever has not got as far as `lost` is behind.
    pub(super) fn reset(self: &Arc<Self>, lost: Tick, wake: &mut Vec<Waker>) {
        self.change(|state, _| {
            state.ring.reset(lost);
            state.seals += 1;
            (state.held, state.rest) = (false, None);
            state.audience.rouse(|inbox, seat| inbox.tell(Arc::clone(self), seat));
            state.audience.release(wake);
        });
    }

    /// The last frame that is kept sealed.
    pub(super) fn sealed(&self) -> Option<Tick> {
        self.lock().ring.sealed()
    }

    /// Forgets what is sealed, taken or not.
    pub(super) fn shed(self: &Arc<Self>) {
        self.change(|state, _| state.ring.evict(0));
    }

    /// Changes the state, and books what it keeps. Has the pacer end a rest that began.
    fn change<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, &Common) -> R) -> R {
        let mut state = self.lock();
        let (before, rested) = (state.ring.kept_bytes(), state.rest.is_some());
        let result = change(&mut state, &self.common);
        self.common.counters.kept(before, state.ring.kept_bytes());
        if let Some(within) = state.rest.filter(|_| !rested)
            && let Some(jobs) = self.common.jobs.upgrade()
        {
            // Fails when the pacer was dropped.
            let _ = jobs.send(Job::Hold { log: Arc::clone(self), seals: state.seals, within });
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl fmt::Debug for TopicLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicLog").field("name", &self.name).field("format", &self.format).finish_non_exhaustive()
    }
}

impl State {
    /// Seals what is pending and wakes all that wait: a round begins.
    fn seal(&mut self, common: &Common, wake: &mut Vec<Waker>) {
        let keep_bytes_max = if common.is_over_budget() { 0 } else { common.options.ring_bytes_max };
        let sealed = self.ring.seal(keep_bytes_max);
        common.counters.sealed(sealed.batches, sealed.frames);
        self.seals += 1;
        self.held = false;
        self.begun = Some(Instant::now());
        self.rest = None;
        self.audience.release(wake);
        self.clear_if_taken();
    }

    /// How long to wait for more now that a round is over, if it is worth it.
    fn rest_after_round(&self, options: &BrokerOptions) -> Option<Duration> {
        let rest = self.begun?.elapsed() * options.rest_per_round;
        let is_worth_it =
            self.ring.pending_frames() >= REST_FRAMES_MIN && (REST_MIN..=options.round_max).contains(&rest);
        is_worth_it.then_some(rest)
    }

    /// Ends the round although some have not come back.
    fn cut_round(&mut self, common: &Common, wake: &mut Vec<Waker>) {
        if self.audience.has_due() {
            common.counters.cut_round();
        }
        self.audience.dismiss();
        self.seal(common, wake);
    }

    /// Begins the next round, if nobody is due and there is something to take; or a rest before it.
    fn end_round_if_over(&mut self, common: &Common, wake: &mut Vec<Waker>) -> bool {
        if !self.ring.has_pending() || self.audience.has_due() || self.rest.is_some() {
            return false;
        }
        self.rest = self.rest_after_round(&common.options);
        if self.rest.is_none() {
            self.seal(common, wake);
        }
        self.rest.is_none()
    }

    fn has_sealed_after(&self, after: Tick) -> bool {
        self.ring.sealed().is_some_and(|sealed| sealed > after)
    }

    fn after_leaving(&mut self, common: &Common, wake: &mut Vec<Waker>) {
        if self.audience.is_empty() {
            self.ring.reset(self.ring.appended());
            return;
        }
        if self.audience.has_waiting() {
            self.end_round_if_over(common, wake);
        }
        self.clear_if_taken();
    }

    fn clear_if_taken(&mut self) {
        if self.audience.has_taken_all() {
            self.ring.clear();
        }
    }
}

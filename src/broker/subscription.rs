//! The way out.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use super::Hub;
use super::audience::Seat;
use super::batch::{Run, Tick};
use super::chunk::Chunk;
use super::frame::Format;
use super::merge::Merge;
use super::registry::Start;
use super::topic_log::{Taken, TopicLog};
use crate::domain::{Position, Selection};

/// What a subscription is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Whole frames, ready to be written. Subscribers of one topic are given the same bytes.
    Frames {
        /// One batch. If more are waiting, the next call returns the next one at once.
        chunk: Chunk,
        /// Of the last frame: who has these frames resumes after it.
        position: Position,
    },
    /// Some frames after the last delivery are no longer kept here. They are history now: read it from the position
    /// reached so far up to what [`Subscription::resubscribe`] answers. Until then every call returns this.
    Behind,
}

/// A cursor into the logs of the selected topics. An idle one of a single topic costs 80 bytes, another one about 600 and
/// 50 for each topic; no more however much is published.
pub struct Subscription {
    hub: Arc<Hub>,
    source: Source,
    /// Everything up to here has been delivered, or was history.
    tick: Tick,
    position: Position,
    from: Position,
    behind: bool,
}

enum Source {
    /// One topic: batches leave as they are.
    Topic { log: Arc<TopicLog>, seat: Seat },
    /// Anything else.
    Merge(Box<Merge>),
}

impl Subscription {
    pub(super) fn new(hub: Arc<Hub>, mut selection: Selection, format: Format) -> Self {
        let single = if selection.topics.len() == 1 && selection.patterns.is_empty() {
            selection.topics.pop_first()
        } else {
            None
        };
        let (Start { tick, position }, source) = match single {
            Some(topic) => {
                let (start, log, seat) = hub.registry.join_task(&topic, format);
                (start, Source::Topic { log, seat })
            }
            None => {
                let (start, merge) = Merge::new(&hub.registry, selection, format);
                (start, Source::Merge(Box::new(merge)))
            }
        };
        hub.common.counters.subscriptions.fetch_add(1, Ordering::Relaxed);
        Self { hub, source, tick, position, from: position, behind: false }
    }

    /// What comes after this position is delivered; everything up to it is history.
    #[must_use]
    pub fn from(&self) -> Position {
        self.from
    }

    /// The next frames. Cancel-safe: what a dropped call would have returned, the next one returns.
    pub async fn next(&mut self) -> Delivery {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Self::next`], for callers that poll.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Delivery> {
        if self.behind {
            return Poll::Ready(Delivery::Behind);
        }
        let mut wake = Vec::new();
        let taken = match &mut self.source {
            Source::Topic { log, seat } => log.take(*seat, self.tick, context.waker(), &mut wake),
            Source::Merge(merge) => merge.take(self.tick, context.waker(), &mut wake),
        };
        wake.into_iter().for_each(Waker::wake);
        match taken {
            Taken::Nothing => Poll::Pending,
            Taken::Behind => {
                self.behind = true;
                self.hub.common.counters.fell_behind();
                Poll::Ready(Delivery::Behind)
            }
            Taken::Run(Run { chunk, frames, since, tick, position }) => {
                self.tick = tick;
                self.position = position;
                self.hub.common.counters.delivered(frames, chunk.as_ref().len(), since);
                Poll::Ready(Delivery::Frames { chunk, position })
            }
        }
    }

    /// A position up to which nothing is waiting for this subscription: it may resume from there. `None` while something
    /// waits.
    pub fn quiet_position(&mut self) -> Option<Position> {
        // Read first: whatever arrives later only makes the answer older than it could be.
        let arrived = self.hub.common.position();
        let waits = match &mut self.source {
            Source::Topic { log, .. } => log.has_after(self.tick),
            Source::Merge(merge) => merge.has_after(self.tick),
        };
        (!self.behind && !waits).then(|| arrived.max(self.position))
    }

    /// After [`Delivery::Behind`]: goes on after the answered position, up to which everything is history now.
    pub fn resubscribe(&mut self) -> Position {
        let Start { tick, position } = self.hub.registry.now();
        (self.tick, self.position, self.from, self.behind) = (tick, position, position, false);
        position
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut wake = Vec::new();
        match &mut self.source {
            Source::Topic { log, seat } => self.hub.registry.leave_task(log, *seat, &mut wake),
            Source::Merge(merge) => merge.leave(&self.hub.registry, &mut wake),
        }
        wake.into_iter().for_each(Waker::wake);
        self.hub.common.counters.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics = match &self.source {
            Source::Topic { .. } => 1,
            Source::Merge(merge) => merge.followed(),
        };
        f.debug_struct("Subscription")
            .field("topics", &topics)
            .field("from", &self.from)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

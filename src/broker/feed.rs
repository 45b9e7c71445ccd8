//! The way in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use tokio::sync::mpsc::error::SendError;

use super::Hub;
use super::batch::Place;
use super::frame::{self, Control, Format};
use super::pacer::Job;
use super::registry::{Announced, Reset, Target};
use super::topic_log::Flushed;
use crate::domain::{Cursor, Epoch, Position};
use crate::state::Event;

/// Feeds a broker. There is one for each broker, and it can't be shared: the order of calls is the order of the cluster.
pub struct Feed {
    hub: Arc<Hub>,
    /// The frame that is being encoded.
    frame: String,
}

impl Feed {
    /// To wake this many tasks takes a few µs; more are left to the pacer, off the path of a publish.
    const WAKE_INLINE_MAX: usize = 32;

    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, frame: String::new() }
    }

    /// Delivers the events of a group of entries that was applied together, in log order. Call it when the state shows
    /// them: what a subscriber is not sent because it came a moment later, it looks for in history.
    ///
    /// Costs a look-up for an event that nobody here reads; otherwise an encoding for each format in use. Never waits for a
    /// subscriber.
    pub fn deliver(&mut self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let Announced { targets, retired, position } = self.hub.registry.announce(events);
        for target in &targets {
            self.append(target);
        }
        self.arrive(position);
        let mut wake = Vec::new();
        for Target { log, .. } in targets {
            // A log with several events of the group is flushed at the first of them; for the others nothing is pending.
            if let Flushed::Held(seals) = log.flush(&mut wake) {
                self.order(Job::Hold { log, seals, within: self.hub.common.options.round_max });
            }
        }
        for log in retired {
            log.retire(&mut wake);
        }
        if self.hub.common.is_over_budget() {
            self.order(Job::Trim);
        }
        self.wake(wake);
    }

    /// Jumps to a position: after recovery, or when a snapshot has replaced the state. Every subscription becomes
    /// [`super::Delivery::Behind`], and reads what the new state holds.
    pub fn reset(&mut self, position: Position) {
        let mut wake = Vec::new();
        let Reset { lost, logs, retired } = self.hub.registry.reset(position, &mut wake);
        for log in logs {
            log.reset(lost, &mut wake);
        }
        self.arrive(position);
        for log in retired {
            log.retire(&mut wake);
        }
        self.wake(wake);
    }

    fn append(&mut self, target: &Target<'_>) {
        let epoch = self.hub.common.epoch;
        self.frame.clear();
        encode(target.event, epoch, target.log.format(), &mut self.frame);
        let published = match target.event {
            Event::Published(message) => Some(message.created_at),
            _ => None,
        };
        let at = Place { tick: target.tick, position: target.position, published };
        target.log.append(at, self.frame.as_bytes());
    }

    /// All logs hold what leads up to here. Said no sooner, or a subscription would be quiet at a position whose messages
    /// it has not seen.
    fn arrive(&self, position: Position) {
        self.hub.common.position.store(position.get(), Ordering::Release);
    }

    fn wake(&self, wake: Vec<Waker>) {
        if wake.len() <= Self::WAKE_INLINE_MAX {
            wake.into_iter().for_each(Waker::wake);
        } else {
            self.order(Job::Wake(wake));
        }
    }

    fn order(&self, job: Job) {
        if let Err(SendError(Job::Wake(wake))) = self.hub.jobs.send(job) {
            wake.into_iter().for_each(Waker::wake);
        }
    }
}

fn encode(event: &Event, epoch: Epoch, format: Format, out: &mut String) {
    match event {
        // Has no frame; it only lets patterns find the topic.
        Event::TopicCreated { .. } => {}
        Event::Published(message) => frame::message(message, epoch, format, out),
        Event::TopicDeleted { name, position } => {
            frame::control(&Control::Topic { topic: name, deleted: true }, Cursor { epoch, position: *position }, out);
        }
        Event::Presence { topic, position, version, change } => {
            frame::control(&Control::presence(topic, *version, change), Cursor { epoch, position: *position }, out);
        }
        Event::Status { user, position, version, since } => {
            frame::control(&Control::status(user, *version, *since), Cursor { epoch, position: *position }, out);
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("position", &self.hub.common.position()).finish_non_exhaustive()
    }
}

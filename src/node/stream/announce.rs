//! What a stream tells besides messages: what is missing, who is there, that it lives, that it ends, where to go on.

use tokio::time::Instant;

use super::{Phase, Stream, has_news};
use crate::broker::frame::{self, AuthReason, Control, GapReason};
use crate::domain::{Cursor, Position, TopicName};
use crate::state::{Hole, Missed};

/// Topics that a gap names. It says so if there are more.
const GAP_TOPICS_MAX: usize = 100;

impl Stream {
    /// Says what is missing after [`Self::position`], once.
    pub(super) fn announce_holes(&mut self, missed: GapReason) {
        let (holes, forgotten) = self.holes();
        let (mut evicted, mut recreated, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
        for (topic, hole) in holes {
            let told = self.announced.insert(topic.clone(), hole).unwrap_or_default();
            match hole.missed.filter(|_| hole.missed != told.missed) {
                Some(Missed::Evicted { .. }) => evicted.push(topic.clone()),
                Some(Missed::Deleted { .. }) => recreated.push(topic.clone()),
                None => {}
            }
            if hole.deleted && !told.deleted {
                deleted.push(topic);
            }
        }
        let requested = self.cursor();
        if !evicted.is_empty() {
            self.announce_gap(requested, missed, &evicted);
        }
        if !recreated.is_empty() || (forgotten && !self.forgotten_announced) {
            self.forgotten_announced |= forgotten;
            self.announce_gap(requested, GapReason::Recreated, &recreated);
        }
        for topic in deleted {
            self.push_control(&Control::Topic { topic: &topic, deleted: true });
        }
    }

    /// What is missing after [`Self::position`], and whether topics may be missing whose names nobody remembers.
    pub(super) fn holes(&self) -> (Vec<(TopicName, Hole)>, bool) {
        self.node.inner.consensus.replica().read(|machine| match &self.tails {
            None => {
                let holes = machine.holes(&self.selection, self.position);
                let forgotten = !self.selection.patterns.is_empty() && machine.forgot_deletions_after(self.position);
                (holes.map(|(name, hole)| (name.clone(), hole)).collect(), forgotten)
            }
            Some(tails) => {
                let hole = |(name, from): (&TopicName, &Position)| {
                    Some((name.clone(), machine.hole(name, self.position.max(*from))?))
                };
                (tails.iter().filter_map(hole).collect(), false)
            }
        })
    }

    /// Says who is there, of whom the subscriber watches. It may be told again of changes that are contained, and knows
    /// them by their versions.
    pub(super) fn announce_presence(&mut self) {
        let Some(watched) = self.watched.take() else { return };
        for topic in &watched.topics {
            let roster = self.node.roster(topic, None, usize::MAX).unwrap_or_default();
            self.push_control(&Control::roster(topic, &roster));
        }
        for user in &watched.users {
            let (since, version) = self.node.online_since(user);
            self.push_control(&Control::status(user, version, since));
        }
        self.watched = Some(watched);
    }

    pub(super) fn announce_gap(&mut self, requested: Cursor, reason: GapReason, topics: &[TopicName]) {
        let first = self.node.inner.consensus.replica().read(|machine| {
            let first = machine.first(&self.selection, self.position, machine.position());
            first.unwrap_or(machine.position().next())
        });
        let first_available = Cursor { epoch: self.node.epoch(), position: first };
        let topics = topics.get(..GAP_TOPICS_MAX).unwrap_or(topics);
        self.resumes = self.resumes.map(|_| true);
        self.push_control(&Control::Gap { requested, first_available, reason, topics });
    }

    pub(super) fn push_control(&mut self, control: &Control<'_>) {
        let mut block = String::new();
        frame::control(control, self.cursor(), &mut block);
        self.pending.push_back(block.as_bytes().into());
    }

    /// A sign of life after silence. If positions moved on in other topics, it is one that moves the client's cursor.
    pub(super) fn keep_alive(&mut self) {
        let keep_alive = self.node.inner.settings.keep_alive;
        if self.spoken.elapsed() >= keep_alive {
            let quiet = match self.phase {
                Phase::Live => self.subscription.quiet_position().filter(|quiet| *quiet > self.position),
                Phase::Waiting { .. } | Phase::History { .. } => None,
            };
            match quiet {
                Some(quiet) => {
                    self.position = quiet;
                    self.push_control(&Control::Cursor { cursor: self.cursor() });
                }
                None => self.pending.push_back(frame::COMMENT.as_bytes().into()),
            }
            self.spoken = Instant::now();
        }
        self.rest();
    }

    /// Says that the lease is over, if it is.
    pub(super) fn announce_end(&mut self) -> bool {
        let Some(held) = &mut self.lease else { return false };
        let now = Instant::now();
        let mut reason = (held.expires <= now).then_some(AuthReason::Expired);
        if reason.is_none() && has_news(Some(held)) {
            // First: what comes while it is looked at is news again.
            held.revocations.borrow_and_update();
            reason = self.node.is_revoked(&held.bearer).then_some(AuthReason::Revoked);
        }
        let Some(reason) = reason else { return false };
        self.push_control(&Control::Auth { reason });
        self.end = Some(now);
        self.lease = None;
        true
    }

    /// Says where to go, if the node sends this stream elsewhere.
    pub(super) fn announce_move(&mut self) -> bool {
        let Some(departure) = self.passenger.departure(&self.node.inner.departures) else { return false };
        let within_ms = u64::try_from(departure.window().as_millis()).unwrap_or(u64::MAX);
        self.push_control(&Control::Move { nodes: &departure.nodes(), within_ms });
        self.end = Some(departure.end());
        self.rest();
        true
    }
}

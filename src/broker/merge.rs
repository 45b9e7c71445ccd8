//! Several logs read as one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::task::Waker;

use super::audience::Seat;
use super::batch::{Run, Tick};
use super::chunk::ChunkBuffer;
use super::frame::Format;
use super::inbox::{Followed, Inbox};
use super::readership::PatternsId;
use super::registry::{Registry, Start};
use super::topic_log::{Found, Rest, Taken, TopicLog};
use crate::domain::Selection;

/// What a merge copies at most into bytes of its own. A connection that stalls holds on to them, so they are fewer than
/// in a shared batch; 16 KiB are some 50 frames, which brings a write's share down to 0.1 µs each.
const MERGED_BYTES_MAX: usize = 16 * 1024;

/// Reads all logs of a selection in order of their ticks. Being woken costs as much as there are logs that changed,
/// however many it follows.
///
/// A seal wakes it. Then it reads up to the last sealed frame of any of its logs. Frames before that one may still be
/// pending in other logs; those it reads there, for their turn has come. Frames behind it are left, whether pending or
/// not, or a busy log would be read one frame at a time.
#[derive(Debug)]
pub(super) struct Merge {
    format: Format,
    inbox: Arc<Inbox>,
    followed: Vec<Followed>,
    patterns: Option<PatternsId>,
    /// The logs in which it is not at rest.
    changed: Vec<(Arc<TopicLog>, Seat)>,
}

impl Merge {
    /// How many changed logs an idle merge has room for.
    const CHANGED_KEPT: usize = 8;

    pub(super) fn new(registry: &Registry, selection: Selection, format: Format) -> (Start, Self) {
        let inbox = Arc::default();
        let (start, followed, patterns) = registry.join_follower(selection, format, &inbox);
        let changed = followed.iter().map(|followed| (Arc::clone(&followed.log), followed.seat)).collect();
        (start, Self { format, inbox, followed, patterns, changed })
    }

    pub(super) fn leave(&mut self, registry: &Registry, wake: &mut Vec<Waker>) {
        registry.leave_follower(&mut self.followed, self.format, self.patterns, &self.inbox, wake);
    }

    /// What comes after `after`; if it is nothing, the merge waits.
    pub(super) fn take(&mut self, after: Tick, waker: &Waker, wake: &mut Vec<Waker>) -> Taken {
        loop {
            if self.collect() > after {
                return Taken::Behind;
            }
            let mut until = None;
            for (log, _) in &self.changed {
                match log.look(after) {
                    Found::Behind => return Taken::Behind,
                    Found::SealedUpTo(sealed) => until = until.max(Some(sealed)),
                    Found::NothingSealed => {}
                }
            }
            if let Some(until) = until {
                return self.read(after, until);
            }
            // The waker stands before the logs are left, so that a seal in between is not missed.
            if self.inbox.wait(waker, after) && self.rest(after, wake) {
                return Taken::Nothing;
            }
        }
    }

    /// How many logs it follows.
    pub(super) fn followed(&self) -> usize {
        self.followed.len()
    }

    /// Whether there is anything after `after`.
    pub(super) fn has_after(&mut self, after: Tick) -> bool {
        self.collect() > after || self.changed.iter().any(|(log, _)| log.has_after(after))
    }

    /// Reads frames after `after`, up to `until`, which has been sealed.
    fn read(&mut self, after: Tick, until: Tick) -> Taken {
        // Whoever sees a frame finds every frame before it: by now, all logs with one up to `until` have left word.
        self.collect();
        let head = |at: usize, tick: Option<Tick>| tick.filter(|tick| *tick <= until).map(|tick| Reverse((tick, at)));
        let mut heads: BinaryHeap<_> =
            self.changed.iter().enumerate().filter_map(|(at, (log, _))| head(at, log.first_after(after))).collect();

        if heads.len() == 1
            && let Some((log, _)) = heads.peek().and_then(|Reverse((_, at))| self.changed.get(*at))
            && let Some(run) = log.batch_after(after).filter(|run| run.tick <= until)
        {
            return Taken::Run(run);
        }

        let (mut merged, mut frames, mut since, mut last) = (ChunkBuffer::default(), 0, None, None);
        while let Some(Reverse((_, at))) = heads.pop() {
            let tick = last.map_or(after, |(tick, _)| tick);
            let stop = heads.peek().map_or(until, |Reverse((next, _))| next.previous());
            let Some((log, _)) = self.changed.get(at) else { break };
            // Nothing: the buffer is full, or the log has dropped frames meanwhile. What has been read so far is complete.
            let Some((copied, next)) = log.copy(tick, stop, MERGED_BYTES_MAX, &mut merged) else { break };
            frames += copied.frames;
            since = since.into_iter().chain(copied.since).min();
            last = Some((copied.tick, copied.position));
            heads.extend(head(at, next));
        }
        match last {
            Some((tick, position)) => Taken::Run(Run { chunk: merged.freeze(), frames, since, tick, position }),
            None => Taken::Behind,
        }
    }

    /// Comes to rest in all logs, if there is nothing new in any.
    fn rest(&mut self, after: Tick, wake: &mut Vec<Waker>) -> bool {
        let mut rests = true;
        let Self { changed, followed, .. } = self;
        changed.retain(|(log, seat)| match log.rest(*seat, after, wake) {
            Rest::Resting => false,
            Rest::Waiting => true,
            Rest::More => {
                rests = false;
                true
            }
            Rest::Retired => {
                followed.retain(|followed| !Arc::ptr_eq(&followed.log, log));
                false
            }
        });
        // Room for every log is needed once, at the start.
        changed.shrink_to(Self::CHANGED_KEPT);
        rests
    }

    /// Takes in what logs have told; answers up to where all is lost.
    fn collect(&mut self) -> Tick {
        self.inbox.collect(&mut self.changed, &mut self.followed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::BrokerOptions;
    use super::super::tests::{World, select, without_rests};
    use super::*;

    #[test]
    fn a_log_that_leaves_word_after_the_others_were_looked_at_still_gets_its_turn() {
        // Rounds are cut at once, so that `a` seals although nobody waits there.
        let mut world = World::with(BrokerOptions { ring_bytes_max: 1, ..without_rests() });
        let (Start { tick, .. }, mut merge) = Merge::new(&world.broker.hub.registry, select("a x:*"), Format::Full);
        merge.collect();
        world.publish(&["x:1", "a"]);
        let [(a, _)] = merge.changed.as_slice() else { panic!("only `a` has been told of") };
        let Found::SealedUpTo(until) = a.look(tick) else { panic!("`a` has been sealed") };
        let Taken::Run(run) = merge.read(tick, until) else { panic!("frames") };
        assert_eq!((run.frames, run.tick), (2, until));
    }
}

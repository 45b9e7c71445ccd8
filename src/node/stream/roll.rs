//! The open streams one by one, for whoever wants to know why somebody hears nothing.
//!
//! Each stream keeps a record of its own, which nobody else writes to: what it notes on its way is a plain store, and
//! whoever looks reads what it noted last. So looking asks nothing of streams, least of all of those that are stuck.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Position, Selection, Timestamp, UserId};
use crate::node::Node;

/// A stream whose client takes nothing for so long is slow. One that is written to without a wait is done in microseconds.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// Records that are looked up at a time: streams that come and go wait no longer than for these.
const LOOKED_UP_MAX: usize = 1_000;

/// Every open stream of a node, under a number that rises.
#[derive(Debug, Default)]
pub(in crate::node) struct Roll(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    newest: u64,
    records: BTreeMap<u64, Arc<Record>>,
}

/// What is known of a stream while it is open.
#[derive(Debug)]
struct Record {
    profile: Profile,
    since: Timestamp,
    opened: Instant,
    phase: AtomicU8,
    position: AtomicU64,
    bytes: AtomicU64,
    /// When the client was given what it has not taken yet, in milliseconds from `opened` and one more. 0: it has all that
    /// it was given.
    given_ms: AtomicU64,
}

/// Whose a stream is, and what for. It stays as it is.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Where the client connects from, if it came by a connection.
    pub address: Option<SocketAddr>,
    /// Who reads it, if that is known.
    pub user: Option<UserId>,
    /// The topics that it reads.
    pub selection: Arc<Selection>,
    /// Topics and users whose presence it tells.
    pub watched: usize,
}

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamPhase {
    /// Its client has seen more elsewhere than this node has.
    Waiting,
    /// It reads what was kept when it came.
    History,
    /// It reads what was kept, since it was too slow for what is in memory.
    CatchingUp,
    /// It is handed what is published.
    Live,
}

/// An open stream, at this moment.
#[derive(Clone, Debug)]
pub struct StreamView {
    /// Its number on this node. Later streams have higher ones.
    pub id: u64,
    /// Whose, and what for.
    pub profile: Profile,
    /// When it was opened.
    pub since: Timestamp,
    /// What it is doing.
    pub phase: StreamPhase,
    /// Bytes of events that it was given.
    pub bytes: u64,
    /// Messages of the cluster behind the last one that it was given, unless it has all of its own.
    pub behind: u64,
    /// For how long its client has not taken what it was given.
    pub blocked: Duration,
}

impl StreamView {
    /// Whether its client takes less than there is for it.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.phase == StreamPhase::CatchingUp || self.blocked >= SLOW_AFTER
    }
}

impl Node {
    /// The open streams of this node after the one of this number, in the order in which they came.
    #[must_use]
    pub fn streams(&self, mut after: u64, limit: usize, slow_only: bool) -> Vec<StreamView> {
        let (now, position) = (Instant::now(), self.inner.broker.position());
        let mut found = Vec::new();
        while found.len() < limit {
            let page = self.inner.roll.after(after);
            let Some((last, _)) = page.last() else { break };
            after = *last;
            let views = page.iter().map(|(id, record)| record.view(*id, position, now));
            found.extend(views.filter(|view| !slow_only || view.is_slow()));
        }
        found.truncate(limit);
        found
    }
}

impl Roll {
    /// A stream that is open for as long as what this returns is kept.
    pub(super) fn enter(self: &Arc<Self>, profile: Profile, position: Position) -> Enrolled {
        let record = Arc::new(Record {
            profile,
            since: Timestamp::now(),
            opened: Instant::now(),
            phase: AtomicU8::new(StreamPhase::Live as u8),
            position: AtomicU64::new(position.get()),
            bytes: AtomicU64::default(),
            given_ms: AtomicU64::default(),
        });
        let mut entries = self.lock();
        entries.newest += 1;
        let id = entries.newest;
        entries.records.insert(id, Arc::clone(&record));
        drop(entries);
        Enrolled { roll: Arc::clone(self), id, record }
    }

    fn after(&self, id: u64) -> Vec<(u64, Arc<Record>)> {
        let entries = self.lock();
        let later = entries.records.range((Bound::Excluded(id), Bound::Unbounded)).take(LOOKED_UP_MAX);
        later.map(|(id, record)| (*id, Arc::clone(record))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn view(&self, id: u64, newest: Position, now: Instant) -> StreamView {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let phase = StreamPhase::from_code(self.phase.load(Ordering::Relaxed));
        let given = read(&self.given_ms).checked_sub(1).map(|ms| self.opened + Duration::from_millis(ms));
        let has_all = phase == StreamPhase::Waiting || phase == StreamPhase::Live && given.is_none();
        StreamView {
            id,
            profile: self.profile.clone(),
            since: self.since,
            phase,
            bytes: read(&self.bytes),
            behind: if has_all { 0 } else { newest.get().saturating_sub(read(&self.position)) },
            blocked: given.map(|given| now.saturating_duration_since(given)).unwrap_or_default(),
        }
    }
}

impl StreamPhase {
    fn from_code(code: u8) -> Self {
        let known = [Self::Waiting, Self::History, Self::CatchingUp];
        known.into_iter().find(|phase| *phase as u8 == code).unwrap_or(Self::Live)
    }
}

/// One stream, which notes here what others may see of it.
#[derive(Debug)]
pub(super) struct Enrolled {
    roll: Arc<Roll>,
    id: u64,
    record: Arc<Record>,
}

impl Enrolled {
    /// What it was given has been taken, and it looks for more.
    pub(super) fn looks(&self, phase: StreamPhase) {
        self.record.phase.store(phase as u8, Ordering::Relaxed);
        self.record.given_ms.store(0, Ordering::Relaxed);
    }

    /// It is given so much, up to a position.
    pub(super) fn given(&self, bytes: usize, position: Position, now: Instant) {
        let Record { opened, position: reached, bytes: sum, given_ms, .. } = &*self.record;
        reached.store(position.get(), Ordering::Relaxed);
        // Nobody else adds to it.
        sum.store(sum.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
        let ms = u64::try_from(now.duration_since(*opened).as_millis()).unwrap_or(u64::MAX);
        given_ms.store(ms.saturating_add(1), Ordering::Relaxed);
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.roll.lock().records.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SOON: Duration = Duration::from_millis(999);

    fn enter(roll: &Arc<Roll>) -> Enrolled {
        let profile = Profile { address: None, user: None, selection: Arc::default(), watched: 0 };
        roll.enter(profile, Position::new(3))
    }

    /// Whether the only stream is slow, and how far it is behind, with the cluster at 10.
    fn seen(roll: &Roll) -> (bool, u64) {
        let [(id, record)] = &*roll.after(0) else { panic!("one stream") };
        let view = record.view(*id, Position::new(10), Instant::now());
        (view.is_slow(), view.behind)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_slow_while_its_client_takes_nothing_or_it_catches_up() {
        let roll = Arc::<Roll>::default();
        let stream = enter(&roll);
        advance(SOON * 2).await;
        assert_eq!(seen(&roll), (false, 0), "nothing was there for it");

        stream.given(5, Position::new(4), Instant::now());
        advance(SOON).await;
        assert_eq!(seen(&roll), (false, 6));
        advance(SLOW_AFTER - SOON).await;
        assert_eq!(seen(&roll), (true, 6));
        for (phase, expected) in [
            (StreamPhase::CatchingUp, (true, 6)),
            (StreamPhase::History, (false, 6)),
            (StreamPhase::Live, (false, 0)),
            (StreamPhase::Waiting, (false, 0)),
        ] {
            stream.looks(phase);
            assert_eq!(seen(&roll), expected, "{phase:?}");
        }
    }

    #[tokio::test]
    async fn a_stream_is_on_the_roll_while_it_is_open_and_no_number_comes_twice() {
        let roll = Arc::<Roll>::default();
        let numbers = |after| roll.after(after).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        let [one, two] = [enter(&roll), enter(&roll)];
        assert_eq!((numbers(0), numbers(1), numbers(2)), (vec![1, 2], vec![2], vec![]));
        drop((one, two));
        let _three = enter(&roll);
        assert_eq!(numbers(0), [3]);
    }
}

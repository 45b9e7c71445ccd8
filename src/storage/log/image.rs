//! What a stream of records amounts to.

use std::collections::VecDeque;

use bytes::Bytes;

use super::record::Record;
use crate::domain::LogIndex;

/// Where a log stands, beside its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// The index of the oldest entry; equal to `next` when there is none.
    pub first: LogIndex,
    /// The index that the next entry will have.
    pub next: LogIndex,
    /// Up to where entries have been purged, and the mark that [`Log::purge`](super::Log::purge) was given with it.
    pub purged: Option<(LogIndex, Bytes)>,
    /// The last vote.
    pub vote: Option<Bytes>,
    /// The last committed log id.
    pub committed: Option<Bytes>,
}

impl LogState {
    /// Whether nothing was ever written to the log.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        *self == Self::default()
    }

    /// The index of the newest entry.
    #[must_use]
    pub fn last(&self) -> Option<LogIndex> {
        (self.first < self.next).then(|| LogIndex::new(self.next.get() - 1))
    }

    /// Why `record` can't be the next one. An empty log that was never purged may begin at any index; after that
    /// there is never a hole.
    pub(super) fn refusal(&self, record: &Record) -> Option<&'static str> {
        match record {
            Record::Entry { index, .. } => {
                let begins = self.first == self.next && self.purged.is_none();
                (*index != self.next && !begins).then_some("an entry that does not follow the one before it")
            }
            Record::Truncate { from } => {
                let purged = self.purged.as_ref().is_some_and(|(upto, _)| from <= upto);
                purged.then_some("a truncation of entries that are purged")
            }
            Record::Vote(_) | Record::Committed(_) | Record::Purge { .. } => None,
        }
    }

    /// The records that lead from nothing to this state, but for the entries.
    pub(super) fn restate(&self) -> Vec<Record> {
        let purge = self.purged.clone().map(|(upto, mark)| Record::Purge { upto, mark });
        let vote = self.vote.clone().map(Record::Vote);
        let committed = self.committed.clone().map(Record::Committed);
        [purge, vote, committed].into_iter().flatten().collect()
    }
}

/// A state, and something (`E`) for each of the newest entries. The log keeps two of them: one of all that was
/// *queued*, with the payloads of its tail, and one of all that was *written*, with the places of its entries. Recovery
/// builds both from the segments, by the same rules.
#[derive(Debug)]
pub(super) struct Image<E> {
    pub(super) state: LogState,
    /// For the indexes up to `state.next`; may begin later than `state.first`.
    pub(super) entries: VecDeque<E>,
}

impl<E> Image<E> {
    /// Knows no entry yet.
    pub(super) fn new(state: LogState) -> Self {
        Self { state, entries: VecDeque::new() }
    }

    /// The index of the first entry that something is known about; `state.next` if nothing is.
    pub(super) fn known_from(&self) -> LogIndex {
        LogIndex::new(self.state.next.get() - self.entries.len() as u64)
    }

    /// What is known about an entry.
    pub(super) fn get(&self, index: LogIndex) -> Option<&E> {
        let place = index.get().checked_sub(self.known_from().get())?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// Takes in the next record, which must not be [refused](LogState::refusal); `about` tells what to keep of an entry.
    pub(super) fn apply(&mut self, record: &Record, about: impl FnOnce(&Bytes) -> E) {
        match record {
            Record::Entry { index, payload } => {
                if self.state.first == self.state.next {
                    self.state.first = *index;
                }
                self.state.next = index.next();
                self.entries.push_back(about(payload));
            }
            Record::Vote(vote) => self.state.vote = Some(vote.clone()),
            Record::Committed(id) => self.state.committed = Some(id.clone()),
            Record::Truncate { from } => self.truncate(*from),
            Record::Purge { upto, mark } => self.purge(*upto, mark),
        }
    }

    fn truncate(&mut self, from: LogIndex) {
        let from = from.max(self.state.first);
        if from < self.state.next {
            let kept = from.get().saturating_sub(self.known_from().get());
            self.entries.truncate(usize::try_from(kept).expect("no more than there are entries"));
            self.state.next = from;
        }
    }

    fn purge(&mut self, upto: LogIndex, mark: &Bytes) {
        if self.state.purged.as_ref().is_some_and(|(purged, _)| upto <= *purged) {
            return;
        }
        self.state.purged = Some((upto, mark.clone()));
        self.state.first = self.state.first.max(upto.next());
        // A snapshot may reach further than the log: then the log continues behind it.
        if self.state.next < self.state.first {
            self.state.next = self.state.first;
            self.entries.clear();
        }
        while self.known_from() < self.state.first {
            self.entries.pop_front();
        }
    }
}

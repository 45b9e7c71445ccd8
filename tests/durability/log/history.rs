//! Random histories of a log, and a model that says what they amount to: lists, and no idea of files.

use bytes::Bytes;
use fastrand::Rng;
use repl::domain::LogIndex;
use repl::storage::{Log, LogState};

/// One call to a log.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Append(Vec<(LogIndex, Bytes)>),
    Truncate(LogIndex),
    Purge(LogIndex, Bytes),
    Vote(Bytes),
    Committed(Bytes),
}

impl Step {
    /// Does it. `done` is called once it is durable; never for a committed id, which nobody waits for.
    pub(crate) fn queue(self, log: &Log, done: impl FnOnce(std::io::Result<()>) + Send + 'static) {
        match self {
            Self::Append(entries) => log.append(entries, done),
            Self::Truncate(from) => log.truncate_from(from, done),
            Self::Purge(upto, mark) => log.purge(upto, mark, done),
            Self::Vote(vote) => log.save_vote(vote, done),
            Self::Committed(id) => log.save_committed(id),
        }
    }

    /// The parts that a crash may tear asunder.
    pub(crate) fn parts(self) -> Vec<Self> {
        match self {
            Self::Append(entries) => entries.into_iter().map(|entry| Self::Append(vec![entry])).collect(),
            whole @ (Self::Truncate(_) | Self::Purge(..) | Self::Vote(_) | Self::Committed(_)) => vec![whole],
        }
    }
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    state: LogState,
    entries: Vec<(LogIndex, Bytes)>,
}

impl Model {
    /// Purged down to, about. Few enough to compare often.
    const ENTRIES_MAX: u64 = 200;

    /// What a log says that it holds.
    pub(crate) fn of(log: &Log) -> Self {
        let state = log.state();
        let entries = log.read(state.first, state.next, None).expect("readable");
        Self { state, entries }
    }

    /// A call that makes sense now.
    pub(crate) fn random_step(&self, rng: &mut Rng) -> Step {
        let (first, next) = (self.state.first.get(), self.state.next.get());
        let word = |rng: &mut Rng| Bytes::from(format!("word {}", rng.u32(..)));
        match rng.u32(..20) {
            0..=11 => {
                let count = if rng.u32(..4) == 0 { rng.u64(2..=16) } else { 1 };
                let entry = |index| {
                    let mut payload = vec![0; rng.usize(..700)];
                    rng.fill(&mut payload);
                    (LogIndex::new(index), payload.into())
                };
                Step::Append((next..next + count).map(entry).collect())
            }
            12 | 13 => Step::Truncate(LogIndex::new(rng.u64(first.max(next.saturating_sub(20))..=next))),
            14 | 15 => {
                let oldest = first.max(next.saturating_sub(Self::ENTRIES_MAX));
                // Now and then beyond the end, as a snapshot does.
                let newest = if rng.u32(..20) == 0 { next + 10 } else { next.max(oldest + 1) - 1 };
                Step::Purge(LogIndex::new(rng.u64(oldest..=newest)), word(rng))
            }
            16 | 17 => Step::Vote(word(rng)),
            _ => Step::Committed(word(rng)),
        }
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Append(entries) => self.entries.extend_from_slice(entries),
            Step::Truncate(from) => self.entries.retain(|(index, _)| index < from),
            Step::Purge(upto, mark) => {
                if self.state.purged.as_ref().is_none_or(|(purged, _)| upto > purged) {
                    self.state.purged = Some((*upto, mark.clone()));
                    self.entries.retain(|(index, _)| index > upto);
                }
            }
            Step::Vote(vote) => self.state.vote = Some(vote.clone()),
            Step::Committed(id) => self.state.committed = Some(id.clone()),
        }
        // These histories begin at 0, so without a purge and without entries that is where the log stands.
        let purged_next = self.state.purged.as_ref().map_or(LogIndex::new(0), |(upto, _)| upto.next());
        self.state.first = purged_next;
        self.state.next = self.entries.last().map_or(purged_next, |(index, _)| index.next());
    }
}

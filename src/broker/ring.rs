//! The frames of a topic that somebody may still need: sealed batches, and behind them what waits to be sealed.

use std::collections::VecDeque;

use super::batch::{Batch, Copied, Draft, Place, Run, Tick};
use super::chunk::ChunkBuffer;

/// Frames in order of their ticks, the older ones in sealed batches.
#[derive(Debug, Default)]
pub(super) struct Ring {
    sealed: VecDeque<Batch>,
    kept_bytes: usize,
    pending: Vec<Draft>,
    pending_bytes: usize,
    appended: Tick,
    lost: Tick,
}

/// What one sealing made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) batches: usize,
    pub(super) frames: usize,
}

impl Ring {
    /// Adds a frame to what waits to be sealed, as one of those that become batches of at most `batch_bytes_max`; a
    /// larger frame becomes a batch of its own.
    pub(super) fn push(&mut self, at: Place, frame: &[u8], batch_bytes_max: usize) {
        match self.pending.last_mut().filter(|draft| draft.len_bytes() + frame.len() <= batch_bytes_max) {
            Some(draft) => draft.push(at, frame),
            None => {
                let mut draft = Draft::default();
                draft.push(at, frame);
                self.pending.push(draft);
            }
        }
        self.pending_bytes += frame.len();
        self.appended = at.tick;
    }

    /// Seals what is pending. Of the batches sealed earlier, at most `keep_bytes_max` stay; the new ones stay whatever
    /// they cost, for those that wait for them are about to take them.
    pub(super) fn seal(&mut self, keep_bytes_max: usize) -> Sealed {
        self.evict(keep_bytes_max);
        let sealed = Sealed { batches: self.pending.len(), frames: self.pending_frames() };
        for draft in std::mem::take(&mut self.pending) {
            let batch = draft.seal();
            self.kept_bytes += batch.cost();
            self.sealed.push_back(batch);
        }
        self.pending_bytes = 0;
        sealed
    }

    /// Drops the oldest batches until at most `keep_bytes_max` are kept. Whoever has not taken them has lost them.
    pub(super) fn evict(&mut self, keep_bytes_max: usize) {
        while self.kept_bytes > keep_bytes_max {
            let Some(batch) = self.sealed.pop_front() else { break };
            self.kept_bytes -= batch.cost();
            self.lost = batch.last();
        }
    }

    /// Drops every batch: everyone has taken them.
    pub(super) fn clear(&mut self) {
        self.sealed = VecDeque::new();
        self.kept_bytes = 0;
    }

    /// Drops everything. Whoever has not got as far as `lost` has lost it.
    pub(super) fn reset(&mut self, lost: Tick) {
        *self = Self { appended: lost, lost, ..Self::default() };
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    pub(super) fn pending_frames(&self) -> usize {
        self.pending.iter().map(Draft::len).sum()
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The last frame.
    pub(super) fn appended(&self) -> Tick {
        self.appended
    }

    /// The last frame that was dropped before all had taken it.
    pub(super) fn lost(&self) -> Tick {
        self.lost
    }

    /// The last sealed frame.
    pub(super) fn sealed(&self) -> Option<Tick> {
        self.sealed.back().map(Batch::last)
    }

    /// The first frame after `after`, sealed or not.
    pub(super) fn first_after(&self, after: Tick) -> Option<Tick> {
        match self.sealed.get(self.batches_until(after)) {
            Some(batch) => batch.first_after(after),
            None => self.pending.iter().find_map(|draft| draft.first_after(after)),
        }
    }

    /// The sealed frames after `after`, as far as they are in one batch.
    pub(super) fn batch_after(&self, after: Tick) -> Option<Run> {
        self.sealed.get(self.batches_until(after))?.after(after)
    }

    /// Copies frames after `after`, up to and including `until`, sealed or not, as far as they are in one batch; see
    /// [`super::batch::Frames::copy`].
    pub(super) fn copy(&self, after: Tick, until: Tick, bytes_max: usize, out: &mut ChunkBuffer) -> Option<Copied> {
        match self.sealed.get(self.batches_until(after)) {
            Some(batch) => batch.copy(after, until, bytes_max, out),
            None => {
                let draft = self.pending.iter().find(|draft| draft.last() > after)?;
                draft.copy(after, until, bytes_max, out)
            }
        }
    }

    fn batches_until(&self, tick: Tick) -> usize {
        self.sealed.partition_point(|batch| batch.last() <= tick)
    }
}

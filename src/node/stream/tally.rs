//! How streams fare: those that come back, and those that are slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the node started, and a level of this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Streams that went on from a cursor and were brought up to date with nothing missing.
    pub resumed_whole: u64,
    /// The same, but something was missing, which they were told.
    pub resumed_with_gap: u64,
    /// Streams that were too slow for what is in memory and are catching up from history, now.
    pub slow: u64,
}

/// The counts behind [`StreamStats`]. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::node) struct Tally(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    resumed_whole: AtomicU64,
    resumed_with_gap: AtomicU64,
    slow: AtomicU64,
}

/// A stream that counts as slow until this is dropped.
#[derive(Debug)]
pub(super) struct Slow(Tally);

impl Tally {
    pub(super) fn resumed(&self, with_gap: bool) {
        let Counters { resumed_whole, resumed_with_gap, .. } = &*self.0;
        let count = if with_gap { resumed_with_gap } else { resumed_whole };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn slow(&self) -> Slow {
        self.0.slow.fetch_add(1, Ordering::Relaxed);
        Slow(self.clone())
    }

    pub(in crate::node) fn stats(&self) -> StreamStats {
        let Counters { resumed_whole, resumed_with_gap, slow } = &*self.0;
        let [resumed_whole, resumed_with_gap, slow] =
            [resumed_whole, resumed_with_gap, slow].map(|count| count.load(Ordering::Relaxed));
        StreamStats { resumed_whole, resumed_with_gap, slow }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let Self(Tally(counters)) = self;
        counters.slow.fetch_sub(1, Ordering::Relaxed);
    }
}

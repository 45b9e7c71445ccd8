//! What the broker counts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::domain::Timestamp;
use crate::durations::Durations;

/// Counts since the broker was made, and some levels of this moment. For metrics: numbers that move together may be
/// read a moment apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerStats {
    /// Subscriptions, now.
    pub subscriptions: u64,
    /// Logs, now: one for each topic and format that is read.
    pub logs: u64,
    /// Bytes of sealed batches and their indexes that are kept for subscriptions that have not taken them, now.
    pub kept_bytes: u64,
    /// Batches sealed.
    pub batches: u64,
    /// Frames sealed, each once for each format in use, however many subscriptions take it. Divided by `batches`:
    /// frames per batch.
    pub frames: u64,
    /// Rounds that were ended before all that were due had come back.
    pub rounds_cut: u64,
    /// Frames handed to subscriptions.
    pub delivered_frames: u64,
    /// Bytes handed to subscriptions.
    pub delivered_bytes: u64,
    /// Times that a subscription fell behind what is kept.
    pub behind: u64,
}

/// The counts behind [`BrokerStats`]. None of them orders anything, so all are relaxed.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) subscriptions: AtomicU64,
    kept_bytes: AtomicUsize,
    batches: AtomicU64,
    frames: AtomicU64,
    rounds_cut: AtomicU64,
    delivered_frames: AtomicU64,
    delivered_bytes: AtomicU64,
    behind: AtomicU64,
    pub(super) deliveries: Durations,
}

impl Counters {
    pub(super) fn kept(&self, before: usize, after: usize) {
        if after >= before {
            self.kept_bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.kept_bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn sealed(&self, batches: usize, frames: usize) {
        self.batches.fetch_add(batches as u64, Ordering::Relaxed);
        self.frames.fetch_add(frames as u64, Ordering::Relaxed);
    }

    pub(super) fn cut_round(&self) {
        self.rounds_cut.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn delivered(&self, frames: usize, bytes: usize, since: Option<Timestamp>) {
        if let Some(since) = since {
            self.deliveries.record(Timestamp::now().since(since));
        }
        self.delivered_frames.fetch_add(frames as u64, Ordering::Relaxed);
        self.delivered_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn fell_behind(&self) {
        self.behind.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, logs: usize) -> BrokerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BrokerStats {
            subscriptions: read(&self.subscriptions),
            logs: logs as u64,
            kept_bytes: self.kept_bytes() as u64,
            batches: read(&self.batches),
            frames: read(&self.frames),
            rounds_cut: read(&self.rounds_cut),
            delivered_frames: read(&self.delivered_frames),
            delivered_bytes: read(&self.delivered_bytes),
            behind: read(&self.behind),
        }
    }
}

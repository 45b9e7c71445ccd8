//! How long something took, for readers within this process: the histograms of `/metrics` can only be printed, and their
//! buckets are too wide to tell a median by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets for each doubling of time, so that a quantile is told to within a fourth.
const PER_DOUBLING: u32 = 4;

/// From a microsecond to an hour; what takes longer is counted in the last.
const BUCKETS: usize = 4 * 32;

/// Counts by time. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Durations(Arc<[AtomicU64; BUCKETS]>);

impl Default for Durations {
    fn default() -> Self {
        Self(Arc::new([const { AtomicU64::new(0) }; BUCKETS]))
    }
}

impl Durations {
    pub(super) fn record(&self, took: Duration) {
        let bucket = bucket(took).min(BUCKETS - 1);
        self.0.get(bucket).expect("a bucket, by the line above").fetch_add(1, Ordering::Relaxed);
    }

    /// Of each bucket that holds something: the microseconds that it ends before, and how many it holds.
    pub(super) fn counts(&self) -> Vec<(u64, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        (0..).map(end).zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

/// The doublings up to a time, and the fourth of the next one that it lies in.
fn bucket(took: Duration) -> usize {
    let micros = took.as_micros().max(1);
    let doublings = micros.ilog2();
    let fourth = ((micros * u128::from(PER_DOUBLING)) >> doublings) - u128::from(PER_DOUBLING);
    (doublings * PER_DOUBLING) as usize + usize::try_from(fourth).unwrap_or(0)
}

/// What a bucket ends before, in microseconds.
fn end(bucket: u32) -> u64 {
    let (doublings, fourth) = (bucket / PER_DOUBLING, bucket % PER_DOUBLING);
    (u64::from(PER_DOUBLING + fourth + 1) << doublings).div_ceil(u64::from(PER_DOUBLING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_just_below_the_end_of_its_bucket() {
        for micros in [1, 2, 3, 5, 8, 9, 1_000, 1_234, 999_999, 60_000_000] {
            let durations = Durations::default();
            durations.record(Duration::from_micros(micros));
            let (end, count) = *durations.counts().first().expect("a bucket");
            assert_eq!(count, 1);
            assert!(micros < end && end <= micros + micros / 4 + 1, "{micros} {end}");
        }
    }

    #[test]
    fn no_time_is_too_short_or_too_long() {
        let durations = Durations::default();
        durations.record(Duration::ZERO);
        durations.record(Duration::MAX);
        assert_eq!(durations.counts().iter().map(|(_, count)| count).sum::<u64>(), 2);
    }
}

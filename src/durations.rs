//! How long something took, each time it was done: counted where it is done, and read by whoever shows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets for each doubling of time, so that a quantile is told to within a fourth.
const PER_DOUBLING: u32 = 4;

/// From a microsecond to an hour; what takes longer is counted in the last.
const BUCKETS: usize = 4 * 32;

/// Counts by time. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Durations(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    buckets: [AtomicU64; BUCKETS],
    total_micros: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], total_micros: AtomicU64::new(0) }
    }
}

impl Durations {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        let bucket = bucket(took).min(BUCKETS - 1);
        self.0.buckets.get(bucket).expect("a bucket, by the line above").fetch_add(1, Ordering::Relaxed);
        self.0.total_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Of each bucket that holds something: the microseconds that it ends before, and how many it holds.
    #[must_use]
    pub fn counts(&self) -> Vec<(u64, u64)> {
        let counts = self.0.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        (0..).map(end).zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts().iter().map(|(_, count)| count).sum()
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_micros(self.0.total_micros.load(Ordering::Relaxed))
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
            assert_eq!((count, durations.count()), (1, 1));
            assert_eq!(durations.total(), Duration::from_micros(micros));
            assert!(micros < end && end <= micros + micros / 4 + 1, "{micros} {end}");
        }
    }

    #[test]
    fn no_time_is_too_short_or_too_long() {
        let durations = Durations::default();
        durations.record(Duration::ZERO);
        durations.record(Duration::MAX);
        assert_eq!(durations.count(), 2);
    }
}

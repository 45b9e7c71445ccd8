//! What the log counts.

use std::time::Duration;

/// Counted since the log was opened, but for the sizes at the end, which are those of the moment. Entries divided by
/// fsyncs tells how well group commit works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogMetrics {
    /// Entries written.
    pub entries: u64,
    /// Bytes written, with all that is written beside the entries' payloads.
    pub bytes: u64,
    /// Fsyncs of segments.
    pub fsyncs: u64,
    /// Time spent in them.
    pub fsync_time: Duration,
    /// How many of them took at most as long as the [bound](Self::FSYNC_BOUNDS) at the same place, and longer than the
    /// one before; the last counts those above all bounds.
    pub fsync_buckets: [u64; Self::FSYNC_BOUNDS.len() + 1],
    /// Segments on disk.
    pub segments: u64,
    /// Their length.
    pub disk_bytes: u64,
    /// Bytes of the entries held in memory.
    pub cached_bytes: u64,
    /// Records that wait for the writer.
    pub queued_records: u64,
}

impl LogMetrics {
    /// The upper bounds of the buckets: from a fast local disk to one that makes leaders lose their lead.
    pub const FSYNC_BOUNDS: [Duration; 11] = [
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2_500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_secs(1),
    ];

    pub(super) fn record_fsync(&mut self, took: Duration) {
        self.fsyncs += 1;
        self.fsync_time += took;
        let bucket = Self::FSYNC_BOUNDS.partition_point(|bound| *bound < took);
        *self.fsync_buckets.get_mut(bucket).expect("one bucket more than bounds") += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_fsync_is_counted_in_the_first_bucket_that_holds_it() {
        let mut metrics = LogMetrics::default();
        for micros in [0, 100, 101, 999, 1_000, 2_000_000] {
            metrics.record_fsync(Duration::from_micros(micros));
        }
        assert_eq!(metrics.fsync_buckets, [2, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((metrics.fsyncs, metrics.fsync_time), (6, Duration::from_micros(2_002_200)));
    }
}

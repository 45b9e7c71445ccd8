//! What the log counts.

use crate::durations::Durations;

/// Counted since the log was opened, but for the sizes at the end, which are those of the moment. Entries divided by
/// fsyncs tells how well group commit works.
#[derive(Clone, Debug, Default)]
pub struct LogMetrics {
    /// Entries written.
    pub entries: u64,
    /// Bytes written, with all that is written beside the entries' payloads.
    pub bytes: u64,
    /// Fsyncs of segments.
    pub fsyncs: Durations,
    /// Segments on disk.
    pub segments: u64,
    /// Their length.
    pub disk_bytes: u64,
    /// Bytes of the entries held in memory.
    pub cached_bytes: u64,
    /// Records that wait for the writer.
    pub queued_records: u64,
}

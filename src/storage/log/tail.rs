//! The newest entries, in memory.

use bytes::Bytes;

use super::image::Image;
use super::record::Record;

/// An entry in memory.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) payload: Bytes,
    /// The number of its record, in the order of queueing. An index may be truncated and given out again, this number
    /// is not, so it says whether *this* entry is durable.
    ticket: u64,
    /// Bytes of the payloads up to and with this one. The difference of two of them is what lies between.
    total_bytes: u64,
}

/// The log with everything queued, as callers see it.
pub(super) type Tail = Image<Cached>;

impl Tail {
    pub(super) fn remember(&mut self, record: &Record, ticket: u64) {
        let before = self.entries.back().map_or(0, |entry| entry.total_bytes);
        self.apply(record, |payload| Cached {
            payload: payload.clone(),
            ticket,
            total_bytes: before + payload.len() as u64,
        });
    }

    /// Bytes of the payloads in memory.
    pub(super) fn cached_bytes(&self) -> u64 {
        match (self.entries.front(), self.entries.back()) {
            (Some(front), Some(back)) => back.total_bytes - front.total_bytes + front.payload.len() as u64,
            _ => 0,
        }
    }

    /// Forgets the oldest payloads until no more than `limit_bytes` are left. Those whose record is not yet durable, so
    /// behind the ticket `durable`, stay.
    pub(super) fn evict(&mut self, durable: u64, limit_bytes: u64) {
        while self.cached_bytes() > limit_bytes && self.entries.front().is_some_and(|oldest| oldest.ticket <= durable) {
            self.entries.pop_front();
        }
    }
}

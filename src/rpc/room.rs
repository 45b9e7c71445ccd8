//! How much may be in flight on one connection.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of requests in flight on one connection: sent, and not answered. Enough for four of the largest.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a small request counts as, in bytes, so that at most 1,024 are in flight.
pub const IN_FLIGHT_BYTES_MIN: usize = 64 * 1024;

/// Room for what is in flight. Both sides keep the same account: the caller sends no more than there is room for, so
/// the called node never has to refuse, nor to leave a well-behaved caller's pulses unread; one that sends more is
/// simply not read for a while.
pub(super) struct Room(Arc<Semaphore>);

/// A request's share of the room, given back when it is dropped.
pub(super) type Share = OwnedSemaphorePermit;

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(IN_FLIGHT_BYTES_MAX)))
    }

    /// Waits for room, first come, first served.
    pub(super) async fn take(&self, payload_bytes: usize) -> Share {
        let share = u32::try_from(payload_bytes.clamp(IN_FLIGHT_BYTES_MIN, IN_FLIGHT_BYTES_MAX)).expect("64 MiB fit");
        Arc::clone(&self.0).acquire_many_owned(share).await.expect("the semaphore is never closed")
    }
}

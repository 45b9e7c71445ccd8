//! How many messages are under way.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{AcquireError, Semaphore};

/// Bounds the messages that were sent and have not arrived. A message has arrived when as many deliveries have been made
/// as there are subscribers to it and all before it: on the average over subscribers, then, which costs one addition for
/// each read from a socket, however many subscribers there are.
#[derive(Debug)]
pub(crate) struct Window {
    free: Semaphore,
    subscribers: u64,
    delivered: AtomicU64,
}

impl Window {
    /// A window for so many messages, each of which goes to so many subscribers.
    pub(crate) fn new(messages: usize, subscribers: u64) -> Self {
        Self { free: Semaphore::new(messages), subscribers, delivered: AtomicU64::new(0) }
    }

    /// A window that lets in everything, and counts.
    pub(crate) fn unbounded(subscribers: u64) -> Self {
        Self::new(Semaphore::MAX_PERMITS / 2, subscribers)
    }

    /// Waits until so many more may be sent.
    ///
    /// # Errors
    /// The window was closed.
    pub(crate) async fn enter(&self, messages: usize) -> Result<(), AcquireError> {
        let permits = u32::try_from(messages).unwrap_or(u32::MAX);
        self.free.acquire_many(permits).await.map(|permits| permits.forget())
    }

    /// Some subscriber has taken so many messages.
    pub(crate) fn delivered(&self, messages: u64) {
        let before = self.delivered.fetch_add(messages, Ordering::Relaxed);
        let arrived = (before + messages) / self.subscribers - before / self.subscribers;
        if arrived > 0 {
            self.free.add_permits(usize::try_from(arrived).unwrap_or(usize::MAX));
        }
    }

    /// So many that were let in were not sent after all.
    pub(crate) fn take_back(&self, messages: usize) {
        self.free.add_permits(messages);
    }

    /// Messages handed to subscribers so far.
    pub(crate) fn deliveries(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.free.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_leaves_the_window_when_every_subscriber_can_have_taken_it() {
        let window = Window::new(2, 3);
        window.enter(2).await.expect("open");
        window.delivered(2);
        assert_eq!(window.free.available_permits(), 0);
        window.delivered(1);
        assert_eq!(window.free.available_permits(), 1);
        window.delivered(3);
        assert_eq!((window.free.available_permits(), window.deliveries()), (2, 6));
        window.close();
        assert!(window.enter(1).await.is_err());
    }
}

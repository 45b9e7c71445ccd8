//! Callers that have not proven yet that they are nodes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// At once. To prove it takes a node some milliseconds.
const STRANGERS_MAX: usize = 64;

/// Those that are there, the oldest first. A further one takes the place of the oldest: so those that connect and say
/// nothing crowd out each other, and hardly ever a node.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<VecDeque<CancellationToken>>);

/// A caller that counts as one of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    strangers: Arc<Strangers>,
    displaced: CancellationToken,
}

impl Strangers {
    pub(super) fn admit(self: &Arc<Self>) -> Stranger {
        let displaced = CancellationToken::new();
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if present.len() >= STRANGERS_MAX
            && let Some(oldest) = present.pop_front()
        {
            oldest.cancel();
        }
        present.push_back(displaced.clone());
        Stranger { strangers: Arc::clone(self), displaced }
    }
}

impl Stranger {
    /// What comes of a handshake. `None`: another caller has taken the place.
    pub(super) async fn prove<T>(self, handshake: impl Future<Output = T>) -> Option<T> {
        self.displaced.run_until_cancelled(handshake).await
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // Who was displaced has left already.
        if !self.displaced.is_cancelled() {
            let mut present = self.strangers.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.displaced.cancel();
            present.retain(|other| !other.is_cancelled());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_further_one_takes_the_place_of_the_oldest() {
        let strangers = Arc::new(Strangers::default());
        let mut present: VecDeque<_> = (0..STRANGERS_MAX).map(|_| strangers.admit()).collect();
        let (oldest, second) = (present.pop_front().expect("one"), present.pop_front().expect("one"));
        assert_eq!(second.prove(ready(2)).await, Some(2));
        present.push_back(strangers.admit());
        assert!(!oldest.displaced.is_cancelled(), "the second one had left");
        present.push_back(strangers.admit());
        assert_eq!(oldest.prove(pending::<()>()).await, None);
        assert_eq!(strangers.0.lock().expect("no panic").len(), STRANGERS_MAX);
        assert!(present.iter().all(|other| !other.displaced.is_cancelled()), "nobody else left");
        drop(present);
        assert!(strangers.0.lock().expect("no panic").is_empty());
    }
}

//! Tokens that were verified lately.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::Principal;

/// Tokens that are remembered, some hundred bytes each. Who has been forgotten is verified again.
const TOKENS_MAX: usize = 10_000;

/// A token as it is remembered: a signature is verified once, and the memory holds no token that could be stolen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// Whom each token speaks for. The oldest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    principals: HashMap<Fingerprint, Arc<Principal>>,
    order: VecDeque<Fingerprint>,
}

impl Cache {
    pub(super) fn get(&self, token: Fingerprint) -> Option<Arc<Principal>> {
        self.with(|known| known.principals.get(&token).cloned())
    }

    pub(super) fn insert(&self, token: Fingerprint, principal: &Arc<Principal>) {
        self.with(|known| {
            if known.principals.insert(token, Arc::clone(principal)).is_none() {
                known.order.push_back(token);
            }
            if known.order.len() > TOKENS_MAX
                && let Some(oldest) = known.order.pop_front()
            {
                known.principals.remove(&oldest);
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        // Nothing between lock and unlock panics.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Rights;

    #[test]
    fn no_more_tokens_are_remembered_than_there_is_room_for() {
        let cache = Cache::default();
        let principal = Arc::new(Principal::anonymous(Rights::default()));
        let token = |number: usize| Fingerprint::of(&number.to_string());
        for number in 0..=TOKENS_MAX {
            cache.insert(token(number), &principal);
            cache.insert(token(number), &principal);
        }
        assert!(cache.get(token(0)).is_none());
        assert!(cache.get(token(1)).is_some() && cache.get(token(TOKENS_MAX)).is_some());
        assert_eq!(cache.with(|known| (known.principals.len(), known.order.len())), (TOKENS_MAX, TOKENS_MAX));
    }
}

//! How many of something one may have at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Places, so many for each key. Only keys that have some are kept.
#[derive(Debug)]
pub(super) struct Places<K> {
    max: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<K: Eq + Hash> {
    places: Arc<Places<K>>,
    key: K,
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// With so many for each key.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: Mutex::default() })
    }

    /// Takes a place, if there is one left.
    pub(super) fn take(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key.clone()).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), key })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_and_what_is_given_back_is_forgotten() {
        let places = Places::new(2);
        let [one, two] = [places.take("a"), places.take("a")];
        assert!(one.is_some() && two.is_some() && places.take("a").is_none());
        assert!(places.take("b").is_some(), "others have theirs");
        drop(one);
        let again = places.take("a");
        assert!(again.is_some() && places.take("a").is_none());
        drop((two, again));
        assert!(places.taken.lock().expect("no panic").is_empty());
    }
}

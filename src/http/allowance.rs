//! How often something may be done: token buckets, one for each who does it.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Buckets kept. One that is full tells nothing, and is dropped when there is no more room.
const BUCKETS_MAX: usize = 65_536;

/// A token bucket for each key: so many a second, and some at once.
pub(super) struct Allowances<K> {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Eq + Hash> Allowances<K> {
    /// With buckets that hold `burst`.
    pub(super) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, buckets: Mutex::default() }
    }

    /// Takes `amount`, if it is there. What is more than a full bucket holds takes a full one.
    pub(super) fn take(&self, key: K, amount: usize) -> bool {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < self.burst);
            // So many at once are no clients. None is refused because of the others.
            if buckets.len() >= BUCKETS_MAX {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { left: self.burst, at: now });
        let left = self.filled(*bucket, now);
        let amount = f64::from(u32::try_from(amount).unwrap_or(u32::MAX)).min(self.burst);
        let is_there = amount <= left;
        *bucket = Bucket { left: if is_there { left - amount } else { left }, at: now };
        is_there
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> f64 {
        (bucket.left + now.duration_since(bucket.at).as_secs_f64() * self.per_second).min(self.burst)
    }
}

impl<K> fmt::Debug for Allowances<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allowances").field("per_second", &self.per_second).field("burst", &self.burst).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_is_full_at_first_and_fills_again_each_for_itself() {
        let allowances = Allowances::new(2.0, 10.0);
        assert!((0..10).all(|_| allowances.take("a", 1)));
        assert!(!allowances.take("a", 1) && allowances.take("b", 10));
        advance(Duration::from_secs(1)).await;
        assert!(!allowances.take("a", 3), "what is refused takes nothing");
        assert!(allowances.take("a", 2) && !allowances.take("a", 1));
        advance(Duration::from_secs(100)).await;
        assert!(allowances.take("a", 1_000), "as much as a bucket holds");
        assert!(!allowances.take("a", 1));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_no_more_of_them_than_there_is_room() {
        let allowances = Allowances::new(1.0, 1.0);
        for key in 0..3 * BUCKETS_MAX {
            assert!(allowances.take(key, 1));
        }
        assert!(allowances.buckets.lock().expect("no panic").len() <= BUCKETS_MAX);
    }
}

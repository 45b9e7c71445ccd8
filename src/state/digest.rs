//! Digests: whether two nodes hold the same, in eight bytes.
//!
//! A digest is a sum over *what is there now*, one term a thing: a message that comes is added, one that is evicted is
//! subtracted, and the order doesn't matter. A chain over the log's entries would be as cheap, but would only tell that two
//! nodes have had the same history; this one tells that they *hold* the same, whichever way they came to it (the log, a
//! checkpoint, another node's snapshot), and it can be computed again from what is stored. Each topic has sums of its own,
//! so two nodes that differ find out where.
//!
//! It finds damage and bugs, not forgery: of a message's payload it sees the CRC-32C and the length.

use serde::{Deserialize, Serialize};

use crate::domain::{EventType, Message};

/// A digest of one thing, or the sum of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(u64);

impl Digest {
    /// Odd, and without a pattern: 2^64 divided by the golden ratio.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    /// Of one thing that is told by numbers.
    pub(super) fn of(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mix = |sum: u64, number: u64| {
            let product = (sum ^ number).wrapping_mul(Self::FACTOR);
            product ^ (product >> 32)
        };
        Self(numbers.into_iter().fold(Self::FACTOR, mix))
    }

    /// Of one row.
    pub(super) fn of_row(key: &[u8], value: &[u8]) -> Self {
        let lengths = [key.len() as u64, value.len() as u64];
        let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self::of(lengths.into_iter().chain(key.chunks(8).chain(value.chunks(8)).map(word)))
    }

    /// It has come.
    pub(super) fn add(&mut self, one: Self) {
        self.0 = self.0.wrapping_add(one.0);
    }

    /// It has gone.
    pub(super) fn remove(&mut self, one: Self) {
        self.0 = self.0.wrapping_sub(one.0);
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Of what a publisher has sent. Nothing stands between the parts: no damage moves a byte from one to the next.
pub(super) fn checksum(message: &Message) -> u32 {
    let Message { value, headers, kind, .. } = message;
    let kind = kind.as_ref().map_or("", EventType::as_str);
    let parts = [kind, headers.as_str(), value.as_str()];
    parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_forgets_what_has_gone_and_doesn_t_know_the_order() {
        let [a, b, c] = [1, 2, 3].map(|number| Digest::of([number, 0]));
        let mut sum = Digest::default();
        for one in [c, a, b] {
            sum.add(one);
        }
        sum.remove(b);
        let mut other = a;
        other.add(c);
        assert_eq!(sum, other);
        assert_ne!(sum, b);
    }

    #[test]
    fn every_bit_and_every_place_counts() {
        let numbers = [7, 0, u64::MAX];
        let digest = Digest::of(numbers);
        for place in 0..numbers.len() {
            for bit in 0..64 {
                let mut other = numbers;
                other[place] ^= 1 << bit;
                assert_ne!(Digest::of(other), digest, "bit {bit} of number {place}");
            }
        }
        assert_ne!(Digest::of([0, 7]), Digest::of([7, 0]));
        assert_ne!(Digest::of_row(b"ab", b"c"), Digest::of_row(b"a", b"bc"));
    }
}

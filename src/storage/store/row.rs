//! How one row of the store becomes rows of sled, and a checksum over them all.
//!
//! ```text
//! HEAD key            → crc32c u32 · value length u32 · the first 4 KiB of the value
//! PART key part u32   → the following 4 KiB, for part 1, 2, …
//! ```
//!
//! The heads alone are in key order, so a range is one seek in either direction. Two keys never share a part: the
//! number has a fixed width, so equal bytes mean equal keys. The checksum covers the key and the whole value, so parts
//! of different versions of a row are noticed.

use std::ops::Range;

use super::error::StoreError;

/// In bytes. sled writes a tree node whole, and nodes above 128 KiB go to separate files that it never syncs. A leaf
/// holds up to 20 rows for a moment (split above 16, merged below 4): values of 7,000 bytes were seen in such files,
/// values of 6,000 never.
const PART_BYTES: usize = 4096;

/// The longest key, in bytes. Keeps an index node, of up to 256 keys, below the same 128 KiB.
pub const KEY_BYTES_MAX: usize = 400;

/// The longest value, in bytes. Bounds what one row costs in memory wherever rows are read or moved.
pub const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// First byte of a row about the store itself.
const META: u8 = 0;
const HEAD: u8 = 1;
const PART: u8 = 2;

/// What the head of a row says about the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    crc: u32,
    value_len: u32,
}

impl Head {
    const BYTES: usize = 8;

    /// The head of a row that is to be written.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub(super) fn new(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        check("key", key, KEY_BYTES_MAX)?;
        let value_len = check("value", value, VALUE_BYTES_MAX)?;
        Ok(Self { crc: crc(key, value), value_len })
    }

    /// Takes a stored head row apart.
    pub(super) fn decode(stored: &[u8]) -> Option<(Self, &[u8])> {
        let (crc, rest) = stored.split_first_chunk::<4>()?;
        let (value_len, first) = rest.split_first_chunk::<4>()?;
        let head = Self { crc: u32::from_le_bytes(*crc), value_len: u32::from_le_bytes(*value_len) };
        Some((head, first))
    }

    /// The rows of sled that hold `value`: the head itself, then its parts.
    pub(super) fn encode<'a>(self, key: &'a [u8], value: &'a [u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a {
        let (first, rest) = value.split_at(value.len().min(PART_BYTES));
        let mut stored = Vec::with_capacity(Self::BYTES + first.len());
        stored.extend_from_slice(&self.crc.to_le_bytes());
        stored.extend_from_slice(&self.value_len.to_le_bytes());
        stored.extend_from_slice(first);
        let parts = rest.chunks(PART_BYTES).zip(1..).map(|(part, number)| (part_key(key, number), part.to_vec()));
        std::iter::once((head_key(key), stored)).chain(parts)
    }

    /// The numbers of the parts that follow the head.
    pub(super) fn parts(self) -> Range<u32> {
        let part_bytes = u32::try_from(PART_BYTES).expect("4 KiB");
        1..self.value_len.div_ceil(part_bytes).max(1)
    }

    /// Whether these are the bytes that were committed.
    pub(super) fn verifies(self, key: &[u8], value: &[u8]) -> bool {
        u32::try_from(value.len()) == Ok(self.value_len) && crc(key, value) == self.crc
    }
}

/// The rows of a store counted and summed up, kept along with each commit. sled's recovery skips what it can't read:
/// this is what notices a row that is missing or that has gone back to an earlier value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// How many rows there are.
    pub(super) rows: u64,
    sum: u64,
}

impl Tally {
    pub(super) fn add(&mut self, key: &[u8], head: Head) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(Self::fingerprint(key, head));
    }

    pub(super) fn remove(&mut self, key: &[u8], head: Head) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(Self::fingerprint(key, head));
    }

    pub(super) fn encode(self) -> [u8; 16] {
        (u128::from(self.rows) << 64 | u128::from(self.sum)).to_le_bytes()
    }

    pub(super) fn decode(stored: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(stored);
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).expect("64 bits");
        Self { rows: half(both >> 64), sum: half(both) }
    }

    /// The key in the upper half, so that missing rows change it; key and value in the lower, so that old ones do.
    fn fingerprint(key: &[u8], head: Head) -> u64 {
        u64::from(crc32c::crc32c(key)) << 32 | u64::from(head.crc)
    }
}

/// Where sled keeps a row about the store itself.
pub(super) fn meta_key(name: &str) -> Vec<u8> {
    prefixed(META, name.as_bytes())
}

/// Where sled keeps the head of a row. In the order of the keys.
pub(super) fn head_key(key: &[u8]) -> Vec<u8> {
    prefixed(HEAD, key)
}

/// The key of a head row.
pub(super) fn key_of_head(stored: &[u8]) -> &[u8] {
    stored.get(1..).unwrap_or_default()
}

/// The keys of all heads.
pub(super) fn all_heads() -> Range<Vec<u8>> {
    vec![HEAD]..vec![PART]
}

/// Where sled keeps a part of a value.
pub(super) fn part_key(key: &[u8], number: u32) -> Vec<u8> {
    let mut stored = prefixed(PART, key);
    stored.extend_from_slice(&number.to_be_bytes());
    stored
}

fn prefixed(prefix: u8, key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + key.len());
    stored.push(prefix);
    stored.extend_from_slice(key);
    stored
}

fn check(what: &'static str, bytes: &[u8], max: usize) -> Result<u32, StoreError> {
    let too_large = StoreError::TooLarge { what, len_bytes: bytes.len() };
    if bytes.len() > max {
        return Err(too_large);
    }
    u32::try_from(bytes.len()).map_err(|_| too_large)
}

fn crc(key: &[u8], value: &[u8]) -> u32 {
    // The length first: without it a byte could move from the key to the value unseen.
    let len = u64::try_from(key.len()).expect("a length fits 64 bits").to_le_bytes();
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&len), key), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_where_the_head_is_full() {
        let parts = |len: usize| Head::new(b"key", &vec![7; len]).map(|head| head.parts().count()).ok();
        let cases =
            [(0, 0), (1, 0), (PART_BYTES, 0), (PART_BYTES + 1, 1), (3 * PART_BYTES, 2), (3 * PART_BYTES + 1, 3)];
        for (len, expected) in cases {
            assert_eq!(parts(len), Some(expected), "{len} bytes");
            let value = vec![7; len];
            let head = Head::new(b"key", &value).expect("fits");
            let rows: Vec<_> = head.encode(b"key", &value).collect();
            assert_eq!(rows.len(), 1 + expected, "{len} bytes");
            assert!(rows.iter().all(|(_, stored)| stored.len() <= Head::BYTES + PART_BYTES));
        }
    }

    #[test]
    fn a_byte_that_moves_between_key_and_value_is_noticed() {
        let head = Head::new(b"ab", b"c").expect("fits");
        assert!(head.verifies(b"ab", b"c"));
        assert!(!head.verifies(b"a", b"bc"));
        assert!(!head.verifies(b"ab", b"d"));
    }

    #[test]
    fn a_tally_notices_what_is_missing_and_what_is_old() {
        let row = |value: &[u8]| Head::new(b"key", value).expect("fits");
        let mut tally = Tally::default();
        tally.add(b"key", row(b"old"));
        let before = tally;
        tally.remove(b"key", row(b"old"));
        assert_eq!(tally, Tally::default());
        tally.add(b"key", row(b"new"));
        assert_ne!(tally, before);
        assert_eq!(Tally::decode(tally.encode()), tally);
    }
}

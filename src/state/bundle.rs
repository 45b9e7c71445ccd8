//! Several records in one row: neighbours of one topic that the store gets and loses together.
//!
//! A row costs the store 10 to 20 µs however short it is (measured on sled 0.34 with 200 bytes), which is as much as all
//! the rest of a publish. What a topic has got since the last checkpoint leaves as few rows as possible therefore. A row
//! is never added to. It goes when the last of its records has gone.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{self, CodecError};

/// A row ends before the record that would make it longer, and has one record at least. The store splits longer values.
const ROW_BYTES_MAX: usize = 4096;

/// How many rows so many records of so many topics are at most, if they are so long together.
pub(super) fn rows_max(records: usize, topics: usize, bytes: u64) -> usize {
    // Two neighbouring rows together are longer than one may be.
    let full = usize::try_from(bytes).unwrap_or(usize::MAX) / ROW_BYTES_MAX;
    records.min(full.saturating_mul(2).saturating_add(topics))
}

/// The rows of numbered records, in the order of their numbers, each with the number of its first record. The first record
/// stands there by itself, each other one behind its distance from the one before.
pub(super) fn pack<T: Serialize>(records: impl Iterator<Item = (u64, T)>) -> impl Iterator<Item = (u64, Vec<u8>)> {
    let mut records = records.peekable();
    std::iter::from_fn(move || {
        let (first, record) = records.next()?;
        let (mut row, mut last) = (codec::encode_bare(&record), first);
        while let Some((number, record)) = records.peek() {
            let longer_by = codec::encode_bare(&(number - last, record));
            if row.len() + longer_by.len() > ROW_BYTES_MAX {
                break;
            }
            row.extend_from_slice(&longer_by);
            last = *number;
            records.next();
        }
        Some((first, row))
    })
}

/// The records of a row, with their numbers. Whether these are in order is not looked at.
pub(super) fn unpack<T: DeserializeOwned>(first: u64, row: &[u8]) -> Result<Vec<(u64, T)>, CodecError> {
    let (record, mut rest) = codec::take(row)?;
    let (mut records, mut last) = (vec![(first, record)], first);
    while !rest.is_empty() {
        let ((distance, record), behind): ((u64, T), _) = codec::take(rest)?;
        last = last.saturating_add(distance);
        records.push((last, record));
        rest = behind;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_come_back_from_as_few_rows_as_they_fit_into(
            first in 0..u64::MAX / 2,
            lengths in prop::collection::vec((1_u64..1_000_000, 0_usize..3 * ROW_BYTES_MAX), 0..40),
        ) {
            let mut last = first;
            let records: Vec<_> = lengths
                .into_iter()
                .map(|(distance, length)| {
                    last += distance;
                    (last, "x".repeat(length))
                })
                .collect();
            let rows: Vec<_> = pack(records.iter().cloned()).collect();
            let unpacked = rows.iter().map(|(first, row)| unpack::<String>(*first, row).expect("packed just now"));
            prop_assert_eq!(unpacked.clone().flatten().collect::<Vec<_>>(), records.clone());
            for ((_, row), records) in rows.iter().zip(unpacked) {
                prop_assert!(row.len() <= ROW_BYTES_MAX || records.len() == 1);
            }
            prop_assert!(rows.windows(2).all(|two| two[0].1.len() + two[1].1.len() + 10 > ROW_BYTES_MAX));
            let bytes: usize = rows.iter().map(|(_, row)| row.len() + 10).sum();
            prop_assert!(rows.len() <= rows_max(records.len(), 1, bytes as u64));
        }
    }
}

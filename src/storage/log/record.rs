//! The records that a segment is made of.
//!
//! ```text
//! crc32c u32 │ body length u32 │ confirmed u64 │ kind u8 │ body          (little endian)
//! ```
//!
//! The CRC covers everything after itself and starts from the segment's random salt, so that neither a record of
//! another segment nor bytes inside a message can pass for a record of this one.
//!
//! *Confirmed* is the length up to which the segment was known to be on disk when the record was written. A record
//! that says more than some offset proves that what stands at that offset had been fsynced. This is how recovery tells
//! a torn write, which nobody was told about, from damage.

use bytes::Bytes;

use crate::domain::LogIndex;

/// One thing that happened to the log, in the order in which it happened.
#[derive(Clone, Debug)]
pub(super) enum Record {
    /// An entry was appended.
    Entry { index: LogIndex, payload: Bytes },
    /// The vote changed.
    Vote(Bytes),
    /// The committed log id moved.
    Committed(Bytes),
    /// The entries from here on were taken back.
    Truncate { from: LogIndex },
    /// The entries up to here are not needed any more; `mark` describes the last of them.
    Purge { upto: LogIndex, mark: Bytes },
}

/// Zero is no kind: a stretch of zeros, which a file system may leave after a crash, is no record.
mod kind {
    pub(super) const ENTRY: u8 = 1;
    pub(super) const VOTE: u8 = 2;
    pub(super) const COMMITTED: u8 = 3;
    pub(super) const TRUNCATE: u8 = 4;
    pub(super) const PURGE: u8 = 5;
}

/// What stands before the body.
pub(super) const FRAME_BYTES: usize = 4 + 4 + 8 + 1;

impl Record {
    /// The longest body. Far above any entry that the layers over the log make; a longer one is a bug or garbage.
    pub(super) const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

    /// What an entry costs on disk beside its payload.
    pub(super) const ENTRY_OVERHEAD_BYTES: usize = FRAME_BYTES + 8;

    /// How long the record is on disk.
    pub(super) fn encoded_bytes(&self) -> usize {
        FRAME_BYTES + self.body_bytes()
    }

    pub(super) fn body_bytes(&self) -> usize {
        match self {
            Self::Entry { payload: bytes, .. } | Self::Purge { mark: bytes, .. } => 8 + bytes.len(),
            Self::Vote(bytes) | Self::Committed(bytes) => bytes.len(),
            Self::Truncate { .. } => 8,
        }
    }

    /// Appends the record to `out`.
    pub(super) fn encode(&self, salt: u32, confirmed: u64, out: &mut Vec<u8>) {
        let (kind, index, bytes): (u8, Option<LogIndex>, &[u8]) = match self {
            Self::Entry { index, payload } => (kind::ENTRY, Some(*index), payload),
            Self::Vote(vote) => (kind::VOTE, None, vote),
            Self::Committed(id) => (kind::COMMITTED, None, id),
            Self::Truncate { from } => (kind::TRUNCATE, Some(*from), &[]),
            Self::Purge { upto, mark } => (kind::PURGE, Some(*upto), mark),
        };
        let body_bytes = u32::try_from(self.body_bytes()).expect("bounded by BODY_BYTES_MAX");
        let index = index.map(|index| index.get().to_le_bytes());
        let index = index.as_ref().map_or(&[][..], |index| &index[..]);

        let mut head = [0; FRAME_BYTES - 4];
        let (length, rest) = head.split_at_mut(4);
        length.copy_from_slice(&body_bytes.to_le_bytes());
        let (position, tag) = rest.split_at_mut(8);
        position.copy_from_slice(&confirmed.to_le_bytes());
        tag.fill(kind);

        let crc = [&head[..], index, bytes].into_iter().fold(salt, crc32c::crc32c_append);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(index);
        out.extend_from_slice(bytes);
    }
}

/// A record found in a file: intact, not yet read.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// See the [module](self).
    pub(super) confirmed: u64,
    /// How long the record is on disk.
    pub(super) bytes: usize,
    kind: u8,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The record that `bytes` begins with, if its CRC holds.
    pub(super) fn find(bytes: &'a [u8], salt: u32) -> Option<Self> {
        Self::find_confirming(bytes, salt, 0)
    }

    /// The same, if the record confirms at least `confirmed_min`. Looks at the CRC last: it is what costs.
    pub(super) fn find_confirming(bytes: &'a [u8], salt: u32, confirmed_min: u64) -> Option<Self> {
        let (crc, covered) = bytes.split_first_chunk()?;
        let (length, rest) = covered.split_first_chunk()?;
        let (confirmed, rest) = rest.split_first_chunk()?;
        let (&kind, rest) = rest.split_first()?;
        let confirmed = u64::from_le_bytes(*confirmed);
        if !(kind::ENTRY..=kind::PURGE).contains(&kind) || confirmed < confirmed_min {
            return None;
        }
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let body = rest.get(..length)?;
        let covered = covered.get(..FRAME_BYTES - 4 + length)?;
        (crc32c::crc32c_append(salt, covered) == u32::from_le_bytes(*crc)).then_some(Self {
            confirmed,
            bytes: FRAME_BYTES + length,
            kind,
            body,
        })
    }

    /// Reads the record. None if its kind and its body don't fit together, which no writer of ours makes.
    pub(super) fn read(&self) -> Option<Record> {
        let indexed = || {
            let (index, rest) = self.body.split_first_chunk()?;
            Some((LogIndex::new(u64::from_le_bytes(*index)), Bytes::copy_from_slice(rest)))
        };
        match self.kind {
            kind::ENTRY => indexed().map(|(index, payload)| Record::Entry { index, payload }),
            kind::VOTE => Some(Record::Vote(Bytes::copy_from_slice(self.body))),
            kind::COMMITTED => Some(Record::Committed(Bytes::copy_from_slice(self.body))),
            kind::TRUNCATE => indexed().map(|(from, _)| Record::Truncate { from }),
            kind::PURGE => indexed().map(|(upto, mark)| Record::Purge { upto, mark }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u32 = 7;

    fn samples() -> Vec<Record> {
        let bytes = Bytes::from_static(b"some bytes");
        vec![
            Record::Entry { index: LogIndex::new(7), payload: bytes.clone() },
            Record::Entry { index: LogIndex::new(u64::MAX), payload: Bytes::new() },
            Record::Vote(bytes.clone()),
            Record::Committed(Bytes::new()),
            Record::Truncate { from: LogIndex::new(0) },
            Record::Purge { upto: LogIndex::new(3), mark: bytes },
        ]
    }

    fn encoded(record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(SALT, 42, &mut bytes);
        bytes
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        for record in samples() {
            let bytes = encoded(&record);
            assert_eq!(bytes.len(), record.encoded_bytes());
            let followed = [&bytes[..], b"what follows"].concat();
            let frame = Frame::find(&followed, SALT).expect("intact");
            assert_eq!((frame.bytes, frame.confirmed), (bytes.len(), 42));
            assert_eq!(format!("{:?}", frame.read()), format!("{:?}", Some(record)));
        }
    }

    #[test]
    fn no_prefix_and_no_flipped_bit_passes_for_a_record() {
        for bytes in samples().iter().map(encoded) {
            for length in 0..bytes.len() {
                assert!(Frame::find(&bytes[..length], SALT).is_none());
            }
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Frame::find(&flipped, SALT).is_none(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_record_of_another_segment_is_none_of_this_one() {
        let bytes = encoded(&samples()[0]);
        assert!(Frame::find(&bytes, SALT + 1).is_none());
    }

    #[test]
    fn zeros_are_no_record() {
        for salt in [0, SALT] {
            assert!(Frame::find(&[0; 64], salt).is_none());
        }
    }
}

//! All rows of a store in one file, to be sent to another node.
//!
//! ```text
//! "REPLROWS"  version u32
//! block       length u32  rows u32  crc32c u32 (of the length, the number of rows and the payload)  payload
//! …           payload: key length u32  value length u32  key  value, row after row, in the order of the keys
//! end         a block of length 0, then rows u64  SHA-256 of all that stands before it
//! ```
//!
//! Numbers are little-endian. The block checksums let a reader use each block as it comes; the digest names the file
//! and covers it whole.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::iter;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::StoreError;
use super::{KEY_BYTES_MAX, Row, VALUE_BYTES_MAX};

const MAGIC: &[u8; 8] = b"REPLROWS";

/// Of the exported file.
const VERSION: u32 = 1;

/// A block is closed when it has this many bytes.
const BLOCK_BYTES: usize = 256 * 1024;

/// Lengths before a row's bytes.
const ROW_HEADER_BYTES: usize = 8;

/// An open block and the largest row on top. A longer one is damage, not a reason to allocate.
const BLOCK_BYTES_MAX: usize = BLOCK_BYTES + ROW_HEADER_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX;

/// A file that holds all rows of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Where it is.
    pub file: PathBuf,
    /// Its length, in bytes.
    pub bytes: u64,
    /// How many rows it holds.
    pub rows: u64,
    /// SHA-256 of the file without its last 32 bytes, which are this digest.
    pub digest: [u8; 32],
}

/// Writes the file, block by block.
pub(super) struct Writer<'a> {
    out: BufWriter<&'a mut File>,
    hash: Sha256,
    block: Vec<u8>,
    block_rows: u32,
    rows: u64,
    bytes: u64,
}

impl<'a> Writer<'a> {
    pub(super) fn new(file: &'a mut File) -> io::Result<Self> {
        let (out, hash) = (BufWriter::new(file), Sha256::new());
        let mut writer = Self { out, hash, block: Vec::with_capacity(BLOCK_BYTES), block_rows: 0, rows: 0, bytes: 0 };
        writer.put(MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        Ok(writer)
    }

    pub(super) fn row(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        for length in [key.len(), value.len()] {
            self.block.extend_from_slice(&length_u32(length).to_le_bytes());
        }
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        self.block_rows += 1;
        self.rows += 1;
        if self.block.len() >= BLOCK_BYTES { self.close_block() } else { Ok(()) }
    }

    /// Writes what is left and the end. The file is not synced.
    pub(super) fn finish(mut self, file: &Path) -> io::Result<Export> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        self.close_block()?;
        self.put(&self.rows.to_le_bytes())?;
        let digest: [u8; 32] = self.hash.finalize().into();
        self.out.write_all(&digest)?;
        self.out.flush()?;
        let bytes = self.bytes + 32;
        Ok(Export { file: file.to_owned(), bytes, rows: self.rows, digest })
    }

    fn close_block(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        let header = BlockHeader { length: length_u32(block.len()), rows: std::mem::take(&mut self.block_rows) };
        self.put(&header.encode())?;
        self.put(&header.crc(&block).to_le_bytes())?;
        self.put(&block)?;
        self.block = block;
        self.block.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.bytes += u64::try_from(bytes.len()).expect("a length fits 64 bits");
        self.out.write_all(bytes)
    }
}

/// Reads an exported file to its end, and verifies all of it. Blocks.
///
/// # Errors
/// [`StoreError::BadExport`], [`StoreError::Version`], [`StoreError::Io`].
pub fn verify_export(file: &Path) -> Result<(), StoreError> {
    exported_rows(file)?.try_for_each(|row| row.map(drop))
}

/// The rows of an exported file, in the order of their keys, a block in memory at a time. All of it was in order if none of
/// them is an error.
///
/// # Errors
/// As [`verify_export`].
pub fn exported_rows(file: &Path) -> Result<impl Iterator<Item = Result<Row, StoreError>>, StoreError> {
    let mut reader = Reader::open(file)?;
    let blocks = iter::from_fn(move || reader.next_block().transpose()).map(|block| match block {
        Ok(rows) => rows.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    });
    Ok(blocks.flatten())
}

/// Reads the file, each block verified before a row of it is handed out.
pub(super) struct Reader<'a> {
    file: &'a Path,
    from: BufReader<File>,
    hash: Sha256,
    rows: u64,
    /// Rows come in order, so none comes twice.
    last_key: Option<Vec<u8>>,
}

impl<'a> Reader<'a> {
    pub(super) fn open(file: &'a Path) -> Result<Self, StoreError> {
        let from = BufReader::new(File::open(file).map_err(StoreError::io("cannot open", file))?);
        let mut reader = Self { file, from, hash: Sha256::new(), rows: 0, last_key: None };
        if reader.take::<8>()? != *MAGIC {
            return Err(reader.bad("it does not begin like one"));
        }
        match u32::from_le_bytes(reader.take()?) {
            VERSION => Ok(reader),
            found => Err(StoreError::Version { path: file.to_owned(), found, known: VERSION }),
        }
    }

    /// The rows of the next block, or `None` when all has been read and the whole file has been verified.
    pub(super) fn next_block(&mut self) -> Result<Option<Vec<Row>>, StoreError> {
        let header = BlockHeader::decode(self.take()?);
        let crc = u32::from_le_bytes(self.take()?);
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if length > BLOCK_BYTES_MAX {
            return Err(self.bad("a block is longer than any"));
        }
        let mut block = Vec::new();
        let taken = self.from.by_ref().take(u64::from(header.length)).read_to_end(&mut block);
        taken.map_err(StoreError::io("cannot read", self.file))?;
        self.hash.update(&block);
        if block.len() != length || header.crc(&block) != crc {
            return Err(self.bad("a block does not match its checksum"));
        }
        if block.is_empty() {
            return self.finish().map(|()| None);
        }
        self.split(&block, header.rows).map(Some)
    }

    fn split(&mut self, mut block: &[u8], count: u32) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        while !block.is_empty() {
            let (key, value, rest) = split_row(block).ok_or_else(|| self.bad("a row does not end in its block"))?;
            if self.last_key.as_ref().is_some_and(|last| last.as_slice() >= key) {
                return Err(self.bad("its rows are not in order"));
            }
            self.last_key = Some(key.to_vec());
            rows.push((key.to_vec(), value.to_vec()));
            block = rest;
        }
        if u32::try_from(rows.len()) != Ok(count) {
            return Err(self.bad("a block has another number of rows than it says"));
        }
        self.rows += u64::from(count);
        Ok(rows)
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        let rows = u64::from_le_bytes(self.take()?);
        let digest: [u8; 32] = self.hash.clone().finalize().into();
        if rows != self.rows || self.take::<32>()? != digest {
            return Err(self.bad("it does not match its digest"));
        }
        let rest = self.from.read(&mut [0]).map_err(StoreError::io("cannot read", self.file))?;
        if rest == 0 { Ok(()) } else { Err(self.bad("it goes on after its end")) }
    }

    fn take<const LEN: usize>(&mut self) -> Result<[u8; LEN], StoreError> {
        let mut bytes = [0; LEN];
        self.from.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.bad("it ends too early"),
            _ => StoreError::io("cannot read", self.file)(error),
        })?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    fn bad(&self, what: &str) -> StoreError {
        StoreError::BadExport { file: self.file.to_owned(), what: what.to_owned() }
    }
}

struct BlockHeader {
    length: u32,
    rows: u32,
}

impl BlockHeader {
    fn encode(&self) -> [u8; 8] {
        (u64::from(self.rows) << 32 | u64::from(self.length)).to_le_bytes()
    }

    fn decode(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, rows @ ..] = bytes;
        Self { length: u32::from_le_bytes([a, b, c, d]), rows: u32::from_le_bytes(rows) }
    }

    fn crc(&self, block: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.encode()), block)
    }
}

fn split_row(block: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key_len, rest) = split_length(block)?;
    let (value_len, rest) = split_length(rest)?;
    let (key, rest) = rest.split_at_checked(key_len)?;
    let (value, rest) = rest.split_at_checked(value_len)?;
    Some((key, value, rest))
}

fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*length)).ok()?, rest))
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a block holds one row at most beyond 256 KiB, and a row is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fuzz::{Target, in_memory};

    #[test]
    fn fuzz_exports() {
        let dir = in_memory();
        let path = dir.path().join("export");
        let mut file = File::create(&path).expect("a file");
        let mut writer = Writer::new(&mut file).expect("a header");
        for number in 0_u8..40 {
            writer.row(&[1, number], &[number; 30]).expect("a row");
        }
        writer.finish(&path).expect("an end");
        let corpus = vec![fs::read(&path).expect("an export")];
        Target { cost: 10, ..Target::new("exports and backups", corpus) }.run(|input| {
            for checksum_fits in [false, true] {
                let mut bytes = input.to_vec();
                if checksum_fits
                    && let Some((header, rest)) = bytes.split_first_chunk_mut::<20>()
                    && let Some((crc, rest)) = rest.split_first_chunk_mut::<4>()
                {
                    let block = BlockHeader::decode(*header.last_chunk().expect("8 of 20 bytes"));
                    let length = usize::try_from(block.length).unwrap_or(usize::MAX).min(rest.len());
                    *crc = block.crc(rest.get(..length).unwrap_or_default()).to_le_bytes();
                }
                fs::write(&path, bytes).expect("written");
                let _ = verify_export(&path);
            }
        });
    }
}

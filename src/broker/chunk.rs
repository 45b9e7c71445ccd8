//! Blocks in the form in which connections write them.

use bytes::Bytes;

/// Whole blocks, with what HTTP/1.1 puts around a chunk (RFC 9112, section 7.1) standing around them: so a connection of
/// that version writes them as one piece, however many share them. Other connections take what is inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    framed: Bytes,
    /// Where the blocks begin.
    start: usize,
}

/// What stands behind the blocks.
const END: &[u8] = b"\r\n";

impl Chunk {
    /// The blocks.
    #[must_use]
    pub fn blocks(&self) -> Bytes {
        self.framed.slice(self.start..self.framed.len() - END.len())
    }

    /// The blocks as a chunk of HTTP/1.1.
    #[must_use]
    pub fn framed(&self) -> &[u8] {
        &self.framed
    }
}

impl From<&[u8]> for Chunk {
    fn from(blocks: &[u8]) -> Self {
        let mut buffer = ChunkBuffer::with_room(blocks.len());
        buffer.push(blocks);
        buffer.freeze()
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self.framed.get(self.start..self.framed.len() - END.len()).expect("a chunk is never shorter than its frame")
    }
}

/// Blocks that are still being added to.
#[derive(Debug)]
pub struct ChunkBuffer {
    /// Room for the size, then the blocks.
    bytes: Vec<u8>,
}

/// A size in hexadecimal, up to 4 GiB, and the end of its line.
const ROOM: &[u8] = b"00000000\r\n";

impl ChunkBuffer {
    /// One that takes no more memory for blocks of so many bytes.
    #[must_use]
    pub fn with_room(len: usize) -> Self {
        let mut bytes = Vec::with_capacity(ROOM.len() + len + END.len());
        bytes.extend_from_slice(ROOM);
        Self { bytes }
    }

    /// Appends blocks.
    pub fn push(&mut self, blocks: &[u8]) {
        self.bytes.extend_from_slice(blocks);
    }

    /// In bytes, of the blocks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - ROOM.len()
    }

    /// Whether there is no block yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The blocks, for good. There has to be one: an empty chunk would end the body.
    #[must_use]
    pub fn freeze(mut self) -> Chunk {
        // The size stands right before the blocks, without leading zeros, which not every reader may take.
        let size = format!("{:x}\r\n", self.len());
        let start = ROOM.len() - size.len();
        if let Some(room) = self.bytes.get_mut(start..ROOM.len()) {
            room.copy_from_slice(size.as_bytes());
        }
        self.bytes.extend_from_slice(END);
        // A chunk may be kept for a while; the slack of a growing vector would double it.
        self.bytes.shrink_to_fit();
        Chunk { framed: Bytes::from(self.bytes).slice(start..), start: size.len() }
    }
}

impl Default for ChunkBuffer {
    fn default() -> Self {
        Self { bytes: ROOM.to_vec() }
    }
}

impl AsRef<[u8]> for ChunkBuffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(ROOM.len()..).expect("the room is never taken away")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_in_a_chunk_of_their_size() {
        for len in [1, 9, 10, 15, 16, 255, 256, 4_095, 4_096, 65_536, 70_000] {
            let blocks = "x".repeat(len);
            let chunk = Chunk::from(blocks.as_bytes());
            assert_eq!(chunk.framed(), format!("{len:x}\r\n{blocks}\r\n").as_bytes());
            assert_eq!((chunk.blocks().as_ref(), chunk.as_ref()), (blocks.as_bytes(), blocks.as_bytes()));
        }
    }
}

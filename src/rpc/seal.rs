//! Tags that only those who know the secret can make.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A key for HMAC-SHA256, with its first block already hashed.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(Hmac::new_from_slice(bytes).expect("HMAC takes keys of every length"))
    }

    /// The tag of these parts, one after another.
    pub(super) fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// Whether `tag`, or its first bytes, is the tag of these parts. Takes the same time wherever they differ.
    pub(super) fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.mac(parts).verify_truncated_left(tag).is_ok()
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        parts.iter().fold(self.0.clone(), |mac, part| mac.chain_update(part))
    }
}

/// Tags the frames of one direction of one connection. The number of the frame is part of its tag, so that a frame that
/// was changed, repeated, left out or put elsewhere is noticed.
pub(super) struct Seal {
    key: Key,
    frames: u64,
}

impl Seal {
    /// In bytes: half of the hash, as usual (RFC 2104, section 5). A forger has one guess in 2^128 and loses the
    /// connection with the first wrong one.
    pub(super) const TAG_BYTES: usize = 16;

    pub(super) fn new(key: Key) -> Self {
        Self { key, frames: 0 }
    }

    /// The tag of the next frame.
    pub(super) fn tag(&mut self, frame: &[u8]) -> [u8; Self::TAG_BYTES] {
        let number = self.next_number();
        let tag = self.key.tag(&[&number, frame]);
        *tag.first_chunk().expect("a tag is shorter than a hash")
    }

    /// Whether `tag` is the tag of the next frame.
    pub(super) fn verifies(&mut self, frame: &[u8], tag: &[u8]) -> bool {
        let number = self.next_number();
        self.key.verifies(&[&number, frame], tag)
    }

    fn next_number(&mut self) -> [u8; 8] {
        let number = self.frames;
        self.frames += 1;
        number.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_hmac_sha256() {
        // RFC 4231, test case 2.
        let tag = Key::new(b"Jefe").tag(&[b"what do ya want ", b"for nothing?"]);
        let hex = tag.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}

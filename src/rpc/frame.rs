//! The unit that travels on a connection after the handshake.
//!
//! ```text
//! mark u8 | type u8 | kind u8 | id u64 | time left in ms u32 | payload length u32 | payload | tag, 16 bytes
//! ```
//!
//! Numbers are big-endian. The tag is there if the nodes share a secret.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::seal::Seal;

/// The largest payload of a call or an answer, in bytes. An append holds about 4 MiB; the rest is room for one entry
/// that is larger than it should be.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Starts every frame and names their format. No ASCII, so that text which strayed here is noticed at once.
const MARK: u8 = 0xb1;

const HEADER_BYTES: usize = 1 + 1 + 1 + 8 + 4 + 4;

/// In bytes: how much is read at a time, many small frames at once.
const READ_BYTES: usize = 64 * 1024;

/// A frame as both sides understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The caller asks. `kind` is the layer above's affair.
    Request { id: u64, kind: u8, left_ms: u32, payload: Bytes },
    /// The called node answers the request of this id.
    Answer { id: u64, payload: Bytes },
    /// The called node took the request of this id and will never answer it.
    NoAnswer { id: u64 },
    /// Nothing but a sign of life.
    Pulse,
}

/// What a frame can not be. The connection is of no use afterwards.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// Not a frame at all.
    #[error("a frame starts with {MARK:#04x}, these bytes with {0:#04x}")]
    Mark(u8),
    /// A type that this version doesn't know.
    #[error("frames of type {0} are unknown")]
    Type(u8),
    /// Announces more than [`PAYLOAD_BYTES_MAX`].
    #[error("a frame announces a payload of {bytes} bytes, the limit is {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// As announced.
        bytes: u32,
    },
    /// Its tag is wrong.
    #[error("a frame was changed, repeated, left out or moved on its way")]
    Tag,
}

impl Frame {
    /// Appends the frame to `out`. The payload is at most [`PAYLOAD_BYTES_MAX`].
    pub(super) fn encode(&self, seal: Option<&mut Seal>, out: &mut BytesMut) {
        let (code, kind, id, left_ms, payload) = match self {
            Self::Request { id, kind, left_ms, payload } => (1, *kind, *id, *left_ms, payload.as_ref()),
            Self::Answer { id, payload } => (2, 0, *id, 0, payload.as_ref()),
            Self::NoAnswer { id } => (3, 0, *id, 0, [].as_slice()),
            Self::Pulse => (4, 0, 0, 0, [].as_slice()),
        };
        let start = out.len();
        out.reserve(HEADER_BYTES + payload.len() + Seal::TAG_BYTES);
        out.put_u8(MARK);
        out.put_u8(code);
        out.put_u8(kind);
        out.put_u64(id);
        out.put_u32(left_ms);
        out.put_u32(u32::try_from(payload.len()).expect("a payload is at most 16 MiB"));
        out.put_slice(payload);
        if let Some(seal) = seal {
            let tag = seal.tag(out.get(start..).expect("written just now"));
            out.put_slice(&tag);
        }
    }

    /// In bytes, without the tag.
    pub(super) fn len_bytes(&self) -> usize {
        HEADER_BYTES
            + match self {
                Self::Request { payload, .. } | Self::Answer { payload, .. } => payload.len(),
                Self::NoAnswer { .. } | Self::Pulse => 0,
            }
    }
}

/// Cuts a stream of bytes into frames, whatever pieces it comes in.
///
/// Holds at most one frame and what one read brings. Once it has given an error it is of no use.
pub(super) struct Decoder {
    buffer: BytesMut,
    seal: Option<Seal>,
    /// The length of the frame that stands first in `buffer`, as far as it is known.
    frame_bytes: usize,
}

impl Decoder {
    pub(super) fn new(seal: Option<Seal>) -> Self {
        Self { buffer: BytesMut::new(), seal, frame_bytes: HEADER_BYTES }
    }

    /// Where the next bytes of the stream belong. There is room for at least one.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        let missing = self.frame_bytes.saturating_sub(self.buffer.len()).max(READ_BYTES);
        if !self.buffer.try_reclaim(missing) {
            // `reserve` would double a large buffer; this is exact.
            let mut larger = BytesMut::with_capacity(self.buffer.len() + missing);
            larger.put_slice(&self.buffer);
            self.buffer = larger;
        }
        &mut self.buffer
    }

    /// The next frame, or `None` if it isn't whole yet.
    ///
    /// # Errors
    /// What follows is not a frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let mut header = header.as_slice();
        let mark = header.get_u8();
        if mark != MARK {
            return Err(FrameError::Mark(mark));
        }
        let (code, kind, id, left_ms) = (header.get_u8(), header.get_u8(), header.get_u64(), header.get_u32());
        let bytes = header.get_u32();
        let Some(payload_bytes) = usize::try_from(bytes).ok().filter(|bytes| *bytes <= PAYLOAD_BYTES_MAX) else {
            return Err(FrameError::TooLarge { bytes });
        };
        let tag_bytes = if self.seal.is_some() { Seal::TAG_BYTES } else { 0 };
        self.frame_bytes = HEADER_BYTES + payload_bytes + tag_bytes;
        if self.buffer.len() < self.frame_bytes {
            return Ok(None);
        }

        let mut frame = self.buffer.split_to(self.frame_bytes);
        self.frame_bytes = HEADER_BYTES;
        let tag = frame.split_off(HEADER_BYTES + payload_bytes);
        if let Some(seal) = &mut self.seal
            && !seal.verifies(&frame, &tag)
        {
            return Err(FrameError::Tag);
        }
        frame.advance(HEADER_BYTES);
        let payload = frame.freeze();
        Ok(Some(match code {
            1 => Frame::Request { id, kind, left_ms, payload },
            2 => Frame::Answer { id, payload },
            3 => Frame::NoAnswer { id },
            4 => Frame::Pulse,
            _ => return Err(FrameError::Type(code)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::seal::Key;
    use super::*;

    fn seal(sealed: bool) -> Option<Seal> {
        sealed.then(|| Seal::new(Key::new(b"a key")))
    }

    fn encode(frames: &[Frame], sealed: bool) -> BytesMut {
        let mut seal = seal(sealed);
        let mut out = BytesMut::new();
        for frame in frames {
            frame.encode(seal.as_mut(), &mut out);
        }
        out
    }

    /// Feeds the pieces one after another; the frames found, and the error that ended it.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, sealed: bool) -> (Vec<Frame>, Option<FrameError>) {
        let (mut decoder, mut frames) = (Decoder::new(seal(sealed)), Vec::new());
        for mut piece in pieces {
            while !piece.is_empty() {
                let room = decoder.room();
                assert!(room.capacity() <= HEADER_BYTES + PAYLOAD_BYTES_MAX + Seal::TAG_BYTES + READ_BYTES);
                let (now, later) = piece.split_at(piece.len().min(room.capacity() - room.len()));
                assert!(!now.is_empty(), "room for at least one byte");
                room.put_slice(now);
                piece = later;
                loop {
                    match decoder.next() {
                        Ok(Some(frame)) => frames.push(frame),
                        Ok(None) => break,
                        Err(error) => return (frames, Some(error)),
                    }
                }
            }
        }
        (frames, None)
    }

    fn any_payload() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Bytes::from)
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        prop_oneof![
            (any::<u64>(), any::<u8>(), any::<u32>(), any_payload())
                .prop_map(|(id, kind, left_ms, payload)| Frame::Request { id, kind, left_ms, payload }),
            (any::<u64>(), any_payload()).prop_map(|(id, payload)| Frame::Answer { id, payload }),
            any::<u64>().prop_map(|id| Frame::NoAnswer { id }),
            Just(Frame::Pulse),
        ]
    }

    /// A header as a careful forger would write it, then anything.
    fn almost_frames() -> impl Strategy<Value = Vec<u8>> {
        let bytes = (
            any::<u8>(),
            prop_oneof![0..100_u32, Just(16 << 20), any::<u32>()],
            prop::collection::vec(any::<u8>(), 0..300),
        )
            .prop_map(|(code, length, rest)| {
                let mut bytes = vec![MARK, code % 6];
                bytes.extend([0; 13]);
                bytes.extend(length.to_be_bytes());
                bytes.extend(rest);
                bytes
            });
        prop_oneof![bytes, prop::collection::vec(any::<u8>(), 0..300)]
    }

    proptest! {
        #[test]
        fn frames_come_back_whatever_pieces_they_travel_in(
            frames in prop::collection::vec(any_frame(), 1..4),
            sealed: bool,
        ) {
            let bytes = encode(&frames, sealed);
            prop_assert_eq!(decode([bytes.as_ref()], sealed), (frames.clone(), None));
            prop_assert_eq!(decode(bytes.chunks(1), sealed), (frames.clone(), None));
            for at in 0..bytes.len() {
                let (head, tail) = bytes.split_at(at);
                prop_assert_eq!(decode([head, tail], sealed), (frames.clone(), None), "split at {}", at);
            }
        }

        #[test]
        fn any_bytes_are_frames_or_an_error_and_never_take_more_than_the_limit(bytes in almost_frames(), sealed: bool) {
            let (whole, error) = decode([bytes.as_slice()], sealed);
            prop_assert_eq!(decode(bytes.chunks(1), sealed), (whole.clone(), error));
            prop_assert!(!sealed || whole.is_empty(), "a tag was guessed");
        }

        #[test]
        fn a_sealed_frame_with_one_changed_byte_is_refused(frame in any_frame(), at: prop::sample::Index, flip in 1..=255_u8) {
            let mut bytes = encode(&[frame, Frame::Pulse], true);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let (frames, error) = decode([bytes.as_ref()], true);
            // A length that grew is noticed when more bytes or the silence after them arrive.
            let waits = error.is_none() && frames.len() < 2;
            prop_assert!(error.is_some() || waits);
        }
    }

    #[test]
    fn sealed_frames_may_not_be_repeated_left_out_or_moved() {
        let frames = [Frame::NoAnswer { id: 1 }, Frame::NoAnswer { id: 2 }, Frame::NoAnswer { id: 3 }];
        let bytes = encode(&frames, true);
        let [first, second, third] = [0, 1, 2].map(|n| &bytes[n * bytes.len() / 3..(n + 1) * bytes.len() / 3]);
        assert_eq!(decode([first, second, third], true), (frames.to_vec(), None));
        for wrong in [[first, first, second], [first, third, second], [first, third, third], [second, first, third]] {
            let (found, error) = decode(wrong, true);
            assert!(found.len() <= 1 && error == Some(FrameError::Tag), "{found:?}, {error:?}");
        }
    }

    #[test]
    fn what_is_not_a_frame_is_named() {
        let header = |mark: u8, code: u8, length: u32| {
            let mut bytes = vec![mark, code];
            bytes.extend([0; 13]);
            bytes.extend(length.to_be_bytes());
            decode([bytes.as_slice()], false).1
        };
        assert_eq!(header(b'G', 1, 0), Some(FrameError::Mark(b'G')));
        assert_eq!(header(MARK, 9, 0), Some(FrameError::Type(9)));
        assert_eq!(header(MARK, 1, 16 << 20), None);
        assert_eq!(header(MARK, 1, (16 << 20) + 1), Some(FrameError::TooLarge { bytes: (16 << 20) + 1 }));
    }

    #[test]
    fn the_largest_frame_comes_back() {
        let frame = Frame::Answer { id: 7, payload: vec![7; PAYLOAD_BYTES_MAX].into() };
        let bytes = encode(std::slice::from_ref(&frame), true);
        assert_eq!(decode(bytes.chunks(1 << 20), true), (vec![frame], None));
    }
}

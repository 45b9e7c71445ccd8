//! Server-Sent Events as the load reads them: chunks of HTTP/1.1 and the events in them, without copying what arrives
//! whole.

use std::sync::LazyLock;

use anyhow::{Result, ensure};
use memchr::memmem::Finder;

/// More than any server writes as one.
const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What ends a block. Made once: for events this short, making it costs more than looking.
static BLOCK_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\n"));

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A message, as its lines.
    Message(&'a [u8]),
    /// One of the server's own: what follows `repl.` in its name, or nothing.
    Control(&'a [u8]),
}

impl Event<'_> {
    /// What comes next is live.
    pub(crate) const LIVE: Self = Self::Control(b"ready");
}

/// The events of a stream, as the bytes of its body come.
#[derive(Debug)]
pub(crate) struct Events {
    /// None if the body is sent as it is, up to the end of the connection.
    chunks: Option<Chunks>,
    blocks: Blocks,
}

impl Events {
    pub(crate) fn new(chunked: bool) -> Self {
        Self { chunks: chunked.then(Chunks::default), blocks: Blocks::default() }
    }

    /// Hands out the events that are complete with these bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Event<'_>)) -> Result<()> {
        match &mut self.chunks {
            Some(chunks) => chunks.feed(bytes, |part| self.blocks.feed(part, &mut each)),
            None => {
                self.blocks.feed(bytes, each);
                Ok(())
            }
        }
    }
}

/// What HTTP/1.1 puts around the pieces of a body of unknown length.
#[derive(Debug, Default)]
enum Chunks {
    /// In the line that tells a chunk's length.
    #[default]
    Length0,
    Length(usize),
    LengthEnd(usize),
    /// In a chunk of which so much is left.
    Data(usize),
    /// In the line break behind it, of which so much is left.
    End(usize),
}

impl Chunks {
    fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<()> {
        while let Some((first, rest)) = bytes.split_first() {
            match *self {
                Self::Length0 | Self::Length(_) | Self::LengthEnd(_) => {
                    self.length(*first)?;
                    bytes = rest;
                }
                Self::Data(left) => {
                    let (data, behind) = bytes.split_at(left.min(bytes.len()));
                    *self = if data.len() == left { Self::End(2) } else { Self::Data(left - data.len()) };
                    each(data);
                    bytes = behind;
                }
                Self::End(left) => {
                    *self = if left == 1 { Self::Length0 } else { Self::End(left - 1) };
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    fn length(&mut self, byte: u8) -> Result<()> {
        let so_far = if let Self::Length(so_far) = *self { so_far } else { 0 };
        *self = match (&self, char::from(byte).to_digit(16), byte) {
            (Self::Length0 | Self::Length(_), Some(digit), _) if so_far < CHUNK_BYTES_MAX / 16 => {
                Self::Length(so_far * 16 + usize::try_from(digit)?)
            }
            (Self::Length(length), None, b'\r') => {
                ensure!(*length > 0, "a stream came to an end");
                Self::LengthEnd(*length)
            }
            (Self::LengthEnd(length), None, b'\n') => Self::Data(*length),
            _ => anyhow::bail!("a chunk without a length"),
        };
        Ok(())
    }
}

/// Blocks of lines, each ended by an empty one.
#[derive(Debug, Default)]
struct Blocks {
    /// The beginning of a block that is not complete.
    begun: Vec<u8>,
}

impl Blocks {
    fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Event<'_>)) {
        if !self.begun.is_empty() {
            // The two line breaks may have come apart.
            let apart = self.begun.ends_with(b"\n") && bytes.starts_with(b"\n");
            let end = if apart { Some(1) } else { BLOCK_END.find(bytes).map(|at| at + 2) };
            let Some((rest, behind)) = end.and_then(|end| bytes.split_at_checked(end)) else {
                self.begun.extend_from_slice(bytes);
                return;
            };
            self.begun.extend_from_slice(rest);
            each(event(&self.begun));
            self.begun.clear();
            bytes = behind;
        }
        while let Some((block, behind)) = BLOCK_END.find(bytes).and_then(|at| bytes.split_at_checked(at + 2)) {
            each(event(block));
            bytes = behind;
        }
        self.begun.extend_from_slice(bytes);
    }
}

/// What a block says. Comments, and how soon to come back, may stand before an event in its block, or alone.
fn event(mut block: &[u8]) -> Event<'_> {
    while block.starts_with(b":") || block.starts_with(b"retry:") {
        let Some(at) = memchr::memchr(b'\n', block) else { break };
        block = block.get(at + 1..).unwrap_or_default();
    }
    match block.strip_prefix(b"event: repl.") {
        Some(name) => Event::Control(name.split(|byte| *byte == b'\n').next().unwrap_or_default()),
        None if block.trim_ascii().is_empty() => Event::Control(b""),
        None => Event::Message(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKS: [&str; 6] = [
        ": hi\n\n",
        ":\nretry: 1000\nevent: repl.re",
        "ady\nid: k-1\ndata: {}\n\nid: k-2\ndata",
        ": {\"x\":1}\n",
        "\n:\nid: k-3\ndata: nu",
        "ll\n\n",
    ];

    fn events<'a>(chunked: bool, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut stream, mut seen) = (Events::new(chunked), Vec::new());
        let mut each = |event: Event<'_>| {
            seen.push(match event {
                Event::Message(lines) => String::from_utf8_lossy(lines).into_owned(),
                Event::Control(name) => format!("repl.{}", String::from_utf8_lossy(name)),
            });
        };
        for piece in pieces {
            stream.feed(piece, &mut each).expect("chunks");
        }
        seen
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let chunked: String = CHUNKS.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
        let expected = ["repl.", "repl.ready", "id: k-2\ndata: {\"x\":1}\n\n", "id: k-3\ndata: null\n\n"];
        for (is_chunked, stream) in [(true, chunked.as_bytes()), (false, CHUNKS.concat().as_bytes())] {
            for size in 1..=stream.len() {
                assert_eq!(events(is_chunked, stream.chunks(size)), expected, "in pieces of {size}");
            }
            for at in 0..stream.len() {
                let (start, end) = stream.split_at(at);
                assert_eq!(events(is_chunked, [start, end].into_iter()), expected, "cut at {at}");
            }
        }
    }

    #[test]
    fn what_is_not_a_chunk_is_refused() {
        for bytes in [&b"x"[..], b"\r\n", b"0\r\n", b"5\n", b"ffffffff\r\n"] {
            assert!(Chunks::default().feed(bytes, |_| ()).is_err(), "{bytes:?}");
        }
    }
}

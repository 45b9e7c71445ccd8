//! Streams as the load reads them: chunks of HTTP/1.1 and the events in them, without copying what arrives whole.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Poll, ready};

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::http::parse_head;

/// For one read. Each thread has one such buffer, so that an idle stream costs the load next to nothing.
const READ_BYTES: usize = 256 * 1024;

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A message, as its lines.
    Message(&'a [u8]),
    /// One of the broker's own: what follows `repl.` in its name.
    Control(&'a [u8]),
}

/// One open stream.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    chunks: Chunks,
    blocks: Blocks,
}

impl Stream {
    /// Opens a stream from one address of this machine, so that there are enough ports for many.
    pub(crate) async fn open(from: IpAddr, to: SocketAddr, path: &str) -> Result<Self> {
        let socket = TcpSocket::new_v4().context("no socket for a stream")?;
        socket.bind(SocketAddr::new(from, 0)).with_context(|| format!("can't connect from {from}"))?;
        let socket = socket.connect(to).await.with_context(|| format!("can't connect from {from} to {to}"))?;
        let mut stream = Self { socket, chunks: Chunks::default(), blocks: Blocks::default() };
        let request = format!("GET {path} HTTP/1.1\r\nhost: {to}\r\naccept: text/event-stream\r\n\r\n");
        stream.socket.write_all(request.as_bytes()).await.context("the request for a stream was not sent")?;
        Ok(stream)
    }

    /// Reads the head of the answer, and the events up to the first that `is_last` says yes to.
    pub(crate) async fn open_up(&mut self, mut is_last: impl FnMut(Event<'_>) -> bool) -> Result<()> {
        let mut start = Some(Vec::new());
        let mut done = false;
        while !done {
            let (chunks, blocks) = (&mut self.chunks, &mut self.blocks);
            read(&mut self.socket, |bytes| {
                let Some(mut head) = start.take() else {
                    return chunks.feed(bytes, |part| blocks.feed(part, |event| done |= is_last(event)));
                };
                head.extend_from_slice(bytes);
                let Some(parsed) = parse_head(&head)? else {
                    start = Some(head);
                    return Ok(());
                };
                ensure!(parsed.status == 200 && parsed.chunked, "a stream was answered {}", parsed.status);
                let body = head.get(parsed.len_bytes..).unwrap_or_default();
                chunks.feed(body, |part| blocks.feed(part, |event| done |= is_last(event)))
            })
            .await?;
        }
        Ok(())
    }

    /// Waits for something, and hands out the events that are complete with it.
    pub(crate) async fn read(&mut self, mut each: impl FnMut(Event<'_>)) -> Result<()> {
        let (chunks, blocks) = (&mut self.chunks, &mut self.blocks);
        read(&mut self.socket, |bytes| chunks.feed(bytes, |part| blocks.feed(part, &mut each))).await
    }
}

/// One read, of what the socket has.
async fn read(socket: &mut TcpStream, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    poll_fn(|context| {
        READ.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let read = ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer));
            Poll::Ready(read.context("a stream broke").and_then(|()| {
                ensure!(!buffer.filled().is_empty(), "a stream was closed");
                take(buffer.filled())
            }))
        })
    })
    .await
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
            (Self::Length0 | Self::Length(_), Some(digit), _) if so_far < READ_BYTES * 16 => {
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
            let end = if apart { Some(1) } else { memmem::find(bytes, b"\n\n").map(|at| at + 2) };
            let Some((rest, behind)) = end.and_then(|end| bytes.split_at_checked(end)) else {
                self.begun.extend_from_slice(bytes);
                return;
            };
            self.begun.extend_from_slice(rest);
            each(event(&self.begun));
            self.begun.clear();
            bytes = behind;
        }
        while let Some((block, behind)) = memmem::find(bytes, b"\n\n").and_then(|at| bytes.split_at_checked(at + 2)) {
            each(event(block));
            bytes = behind;
        }
        self.begun.extend_from_slice(bytes);
    }
}

/// What a block says. Comments, and how soon to come back, stand before an event in its block.
fn event(mut block: &[u8]) -> Event<'_> {
    while block.starts_with(b":") || block.starts_with(b"retry:") {
        let Some(at) = memchr::memchr(b'\n', block) else { break };
        block = block.get(at + 1..).unwrap_or_default();
    }
    match block.strip_prefix(b"event: repl.") {
        Some(name) => Event::Control(name.split(|byte| *byte == b'\n').next().unwrap_or_default()),
        None => Event::Message(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKS: [&str; 5] = [
        ":\nretry: 1000\nevent: repl.re",
        "ady\nid: k-1\ndata: {}\n\nid: k-2\ndata",
        ": {\"x\":1}\n",
        "\n:\nid: k-3\ndata: nu",
        "ll\n\n",
    ];

    fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut chunks, mut blocks, mut seen) = (Chunks::default(), Blocks::default(), Vec::new());
        let mut each = |event: Event<'_>| {
            seen.push(match event {
                Event::Message(lines) => String::from_utf8_lossy(lines).into_owned(),
                Event::Control(name) => format!("repl.{}", String::from_utf8_lossy(name)),
            });
        };
        for piece in pieces {
            chunks.feed(piece, |part| blocks.feed(part, &mut each)).expect("chunks");
        }
        seen
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let stream: String = CHUNKS.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
        let stream = stream.as_bytes();
        let expected = ["repl.ready", "id: k-2\ndata: {\"x\":1}\n\n", "id: k-3\ndata: null\n\n"];
        for size in 1..=stream.len() {
            assert_eq!(events(stream.chunks(size)), expected, "in pieces of {size}");
        }
        for at in 0..stream.len() {
            let (start, end) = stream.split_at(at);
            assert_eq!(events([start, end].into_iter()), expected, "cut at {at}");
        }
    }

    #[test]
    fn what_is_not_a_chunk_is_refused() {
        for bytes in [&b"x"[..], b"\r\n", b"0\r\n", b"5\n", b"ffffffff\r\n"] {
            assert!(Chunks::default().feed(bytes, |_| ()).is_err(), "{bytes:?}");
        }
    }
}

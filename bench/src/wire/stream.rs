//! Streams that a load reads, many at once and cheaply.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Poll, ready};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use super::http::parse_head;
use super::nats;
use super::sse::{Event, Events};

/// For one read. Each thread has one such buffer, so that an idle stream costs the load next to nothing.
const READ_BYTES: usize = 256 * 1024;

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Where and how streams are opened.
#[derive(Clone, Debug)]
pub(crate) enum Outlet {
    Sse {
        /// Streams connect to them in turn.
        servers: Vec<SocketAddr>,
        path: String,
        live: Live,
    },
    Nats {
        server: SocketAddr,
    },
}

/// From when on a stream has everything that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Live {
    /// Once it is answered.
    Answer,
    /// From the event on that says so.
    Ready,
}

/// One open stream.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    frames: Frames,
    live: Live,
}

#[derive(Debug)]
enum Frames {
    /// The head of the answer, as far as it has come.
    Head {
        begun: Vec<u8>,
    },
    Sse(Events),
    Nats(nats::Frames),
}

impl Outlet {
    /// Opens the stream of this number from one address of this machine, so that there are enough ports for many. It has
    /// been asked for when this returns, not yet answered.
    pub(crate) async fn open(&self, from: IpAddr, number: usize) -> Result<Stream> {
        let (server, hello, frames, live) = match self {
            Self::Sse { servers, path, live } => {
                let server = *servers.get(number % servers.len().max(1)).context("no server to read from")?;
                let hello = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\naccept: text/event-stream\r\n\r\n");
                (server, hello, Frames::Head { begun: Vec::new() }, *live)
            }
            Self::Nats { server } => {
                (*server, nats::SUBSCRIBE.to_owned(), Frames::Nats(nats::Frames::default()), Live::Ready)
            }
        };
        let socket = TcpSocket::new_v4().context("no socket for a stream")?;
        // Tens of thousands that are closed would keep their ports for a minute, and the next system would find none.
        socket.set_zero_linger()?;
        socket.bind(SocketAddr::new(from, 0)).with_context(|| format!("can't connect from {from}"))?;
        let mut socket =
            socket.connect(server).await.with_context(|| format!("can't connect from {from} to {server}"))?;
        socket.write_all(hello.as_bytes()).await.context("the request for a stream was not sent")?;
        Ok(Stream { socket, frames, live })
    }

    /// The same, from behind a cursor.
    pub(crate) fn after(&self, cursor: &str) -> Self {
        let mut outlet = self.clone();
        if let Self::Sse { path, .. } = &mut outlet {
            path.push_str("?after=");
            path.push_str(cursor);
        }
        outlet
    }
}

impl Stream {
    /// Reads until what comes next is live, and hands out what comes before that.
    pub(crate) async fn until_live(&mut self, mut each: impl FnMut(Event<'_>)) -> Result<()> {
        let mut live = false;
        while !live {
            self.read(|event| {
                live |= event == Event::LIVE;
                each(event);
            })
            .await?;
            live |= self.live == Live::Answer && matches!(self.frames, Frames::Sse(_));
        }
        Ok(())
    }

    /// Waits for something, and hands out the events that are complete with it.
    pub(crate) async fn read(&mut self, mut each: impl FnMut(Event<'_>)) -> Result<()> {
        let Self { socket, frames, .. } = self;
        poll_fn(|context| {
            READ.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                let read = ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer));
                Poll::Ready(read.context("a stream broke").and_then(|()| {
                    ensure!(!buffer.filled().is_empty(), "a stream was closed");
                    frames.feed(buffer.filled(), &mut each)
                }))
            })
        })
        .await
    }
}

impl Frames {
    fn feed(&mut self, bytes: &[u8], each: impl FnMut(Event<'_>)) -> Result<()> {
        match self {
            Self::Sse(events) => events.feed(bytes, each),
            Self::Nats(frames) => frames.feed(bytes, each),
            Self::Head { begun } => {
                begun.extend_from_slice(bytes);
                let Some(head) = parse_head(begun)? else { return Ok(()) };
                ensure!(head.status == 200, "a stream was answered {}", head.status);
                let mut events = Events::new(head.chunked);
                events.feed(begun.get(head.len_bytes..).unwrap_or_default(), each)?;
                *self = Self::Sse(events);
                Ok(())
            }
        }
    }
}

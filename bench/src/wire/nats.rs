//! The protocol of NATS, as far as a load needs it.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::sse::Event;
use super::{Answered, Draft};

/// What is published to. A stream that keeps it has the same name.
pub(crate) const SUBJECT: &str = "bench";

/// From the first byte to the answer that a subscription is in force.
pub(crate) const SUBSCRIBE: &str = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB bench 1\r\nPING\r\n";

/// What a publisher waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ack {
    /// That the server has read the message.
    Read,
    /// That a stream has stored it.
    Stored,
}

/// A connection that publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    ack: Ack,
    connection: Connection,
    inbox: String,
}

impl Publisher {
    pub(crate) async fn open(server: SocketAddr, ack: Ack, number: usize) -> Result<Self> {
        let connection = Connection::open(server, &format!("_INBOX.{number}")).await?;
        Ok(Self { ack, connection, inbox: format!("_INBOX.{number}") })
    }

    pub(crate) async fn publish(&mut self, draft: &Draft) -> Answered {
        let value = draft.values.first().map_or("", String::as_str);
        match self.ack {
            Ack::Read => {
                self.connection.send(SUBJECT, "", value, "PING\r\n").await?;
                self.connection.expect("PONG").await?;
                Ok(Ok(()))
            }
            Ack::Stored => {
                self.connection.send(SUBJECT, &self.inbox, value, "").await?;
                let answer = self.connection.message().await?;
                Ok(if answer.contains("\"error\"") { Err(answer) } else { Ok(()) })
            }
        }
    }
}

/// Asks once, as an API of the server's is asked, and gives its answer.
pub(crate) async fn request(server: SocketAddr, subject: &str, body: &str) -> Result<String> {
    let mut connection = Connection::open(server, "_INBOX.bench").await?;
    connection.send(subject, "_INBOX.bench", body, "").await?;
    connection.message().await
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    out: Vec<u8>,
    /// From `at` on not yet looked at.
    read: Vec<u8>,
    at: usize,
}

impl Connection {
    /// Connects, and subscribes to what answers will be sent to.
    async fn open(server: SocketAddr, inbox: &str) -> Result<Self> {
        let socket = TcpStream::connect(server).await?;
        socket.set_nodelay(true)?;
        let mut connection = Self { socket, out: Vec::new(), read: Vec::new(), at: 0 };
        let hello = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {inbox} 1\r\nPING\r\n");
        connection.socket.write_all(hello.as_bytes()).await?;
        connection.expect("PONG").await?;
        Ok(connection)
    }

    async fn send(&mut self, subject: &str, reply: &str, body: &str, behind: &str) -> Result<()> {
        self.out.clear();
        write!(self.out, "PUB {subject} {reply} {}\r\n{body}\r\n{behind}", body.len())?;
        self.socket.write_all(&self.out).await.context("a message was not sent")
    }

    /// Waits for a line that begins with this.
    async fn expect(&mut self, start: &str) -> Result<()> {
        while !self.line().await?.starts_with(start) {}
        Ok(())
    }

    /// Waits for a message, and gives its body.
    async fn message(&mut self) -> Result<String> {
        let length: usize = loop {
            let line = self.line().await?;
            if line.starts_with("MSG ") {
                break line.rsplit(' ').next().unwrap_or_default().parse().context("a message without a length")?;
            }
        };
        while self.read.len() < self.at + length + 2 {
            self.read_more().await?;
        }
        let body = self.read.get(self.at..self.at + length).unwrap_or_default();
        let body = String::from_utf8_lossy(body).into_owned();
        self.at += length + 2;
        Ok(body)
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            let rest = self.read.get(self.at..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', rest) {
                let line = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).trim_end().to_owned();
                self.at += end + 1;
                ensure!(!line.starts_with("-ERR"), "refused: {line}");
                return Ok(line);
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<()> {
        self.read.drain(..self.at);
        self.at = 0;
        let count = self.socket.read_buf(&mut self.read).await.context("the answer can't be read")?;
        ensure!(count > 0, "the connection was closed before its answer");
        Ok(())
    }
}

/// What a server sends to a subscriber, without copying what arrives whole.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The beginning of a frame that is not complete.
    begun: Vec<u8>,
}

impl Frames {
    pub(crate) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Event<'_>)) -> Result<()> {
        if self.begun.is_empty() {
            let used = frames(bytes, &mut each)?;
            self.begun.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            self.begun.extend_from_slice(bytes);
            let used = frames(&self.begun, &mut each)?;
            self.begun.drain(..used);
        }
        Ok(())
    }
}

/// Hands out the whole frames that these bytes begin with, and answers how long they are.
fn frames(bytes: &[u8], mut each: impl FnMut(Event<'_>)) -> Result<usize> {
    let mut used = 0;
    while let Some(rest) = bytes.get(used..)
        && let Some(end) = memchr::memchr(b'\n', rest)
    {
        let (line, behind) = rest.split_at(end + 1);
        let line = line.trim_ascii_end();
        let mut length = line.len() + (end + 1 - line.len());
        if line.starts_with(b"MSG ") {
            let digits = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
            let body: usize = str::from_utf8(digits)?.parse().context("a message without a length")?;
            let Some(body) = behind.get(..body + 2) else { break };
            each(Event::Message(body.trim_ascii_end()));
            length += body.len();
        } else if line == b"PONG" {
            each(Event::LIVE);
        } else if line.starts_with(b"-ERR") {
            bail!("a stream was ended: {}", String::from_utf8_lossy(line));
        }
        used += length;
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let stream = b"INFO {}\r\nPONG\r\nMSG bench 1 7\r\n{\"x\":1}\r\nMSG bench 1 2\r\n{}\r\n";
        for size in 1..=stream.len() {
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for piece in stream.chunks(size) {
                let each = |event: Event<'_>| seen.push(format!("{event:?}"));
                frames.feed(piece, each).expect("frames");
            }
            let expected = [Event::LIVE, Event::Message(b"{\"x\":1}"), Event::Message(b"{}")];
            assert_eq!(seen, expected.map(|event| format!("{event:?}")), "in pieces of {size}");
        }
        assert!(Frames::default().feed(b"-ERR 'Slow Consumer'\r\n", |_| ()).is_err());
    }
}

//! The protocol of Redis, as far as a load needs it.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answered, Draft};

/// A connection that adds to a stream.
#[derive(Debug)]
pub(crate) struct Publisher(Connection);

impl Publisher {
    pub(crate) async fn open(server: SocketAddr) -> Result<Self> {
        Connection::open(server).await.map(Self)
    }

    pub(crate) async fn publish(&mut self, draft: &Draft) -> Answered {
        let value = draft.values.first().map_or("", String::as_str);
        let answer = self.0.ask(&["XADD", "bench", "*", "value", value]).await?;
        Ok(if answer.starts_with('-') { Err(answer) } else { Ok(()) })
    }
}

/// Asks once, and gives the answer, as it was sent.
pub(crate) async fn command(server: SocketAddr, words: &[&str]) -> Result<String> {
    Connection::open(server).await?.ask(words).await
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    out: Vec<u8>,
    read: Vec<u8>,
}

impl Connection {
    async fn open(server: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(server).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, out: Vec::new(), read: Vec::new() })
    }

    async fn ask(&mut self, words: &[&str]) -> Result<String> {
        self.out.clear();
        write!(self.out, "*{}\r\n", words.len())?;
        for word in words {
            write!(self.out, "${}\r\n{word}\r\n", word.len())?;
        }
        self.socket.write_all(&self.out).await.context("a command was not sent")?;
        self.read.clear();
        while !is_complete(&self.read) {
            let count = self.socket.read_buf(&mut self.read).await.context("the answer can't be read")?;
            ensure!(count > 0, "the connection was closed before its answer");
        }
        Ok(String::from_utf8_lossy(&self.read).into_owned())
    }
}

/// Whether this is a whole answer: a line, or a text behind its length.
fn is_complete(answer: &[u8]) -> bool {
    let Some(end) = memchr::memchr(b'\n', answer) else { return false };
    let Some(length) = answer.strip_prefix(b"$") else { return true };
    let length = length.get(..end - 1).and_then(|digits| str::from_utf8(digits).ok()?.trim().parse::<usize>().ok());
    length.is_none_or(|length| answer.len() >= end + 1 + length + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        for whole in ["+OK\r\n", ":17\r\n", "-ERR no\r\n", "$5\r\n1-0-0\r\n", "$-1\r\n"] {
            for end in 0..whole.len() {
                assert!(!is_complete(&whole.as_bytes()[..end]), "{end} of {whole:?}");
            }
            assert!(is_complete(whole.as_bytes()), "{whole:?}");
        }
    }
}

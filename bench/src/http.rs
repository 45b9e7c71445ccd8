//! The little of HTTP/1.1 that a load needs: one request at a time on a connection that is kept.
//!
//! Written by hand, so that what is measured is the server's HTTP and not the load's: a request is one write, and an
//! answer usually one read.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Our server sends far fewer.
const HEADERS_MAX: usize = 32;

/// A connection to one node.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    host: SocketAddr,
    out: Vec<u8>,
    read: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) len_bytes: usize,
    pub(crate) content_length: Option<usize>,
    pub(crate) chunked: bool,
}

impl Connection {
    pub(crate) async fn open(host: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(host).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, host, out: Vec::new(), read: Vec::new() })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer<'_>> {
        self.request("GET", path, "", "").await
    }

    /// `headers` are whole lines, each with its line break.
    pub(crate) async fn post(&mut self, path: &str, headers: &str, body: &str) -> Result<Answer<'_>> {
        self.request("POST", path, headers, body).await
    }

    async fn request(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Result<Answer<'_>> {
        let mut head = String::with_capacity(256);
        let _ = write!(head, "{method} {path} HTTP/1.1\r\nhost: {}\r\n{headers}", self.host);
        let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
        self.out.clear();
        self.out.extend_from_slice(head.as_bytes());
        self.out.extend_from_slice(body.as_bytes());
        self.socket.write_all(&self.out).await.context("the request was not sent")?;

        self.read.clear();
        let head = loop {
            if let Some(head) = parse_head(&self.read)? {
                break head;
            }
            self.read_more().await?;
        };
        let Some(content_length) = head.content_length else { bail!("an answer to {method} {path} without a length") };
        let end = head.len_bytes + content_length;
        while self.read.len() < end {
            self.read_more().await?;
        }
        ensure!(self.read.len() == end, "an answer to {method} {path} that is longer than it says");
        Ok(Answer { status: head.status, body: self.read.get(head.len_bytes..).unwrap_or_default() })
    }

    async fn read_more(&mut self) -> Result<()> {
        let count = self.socket.read_buf(&mut self.read).await.context("the answer can't be read")?;
        ensure!(count > 0, "the connection was closed before its answer");
        Ok(())
    }
}

impl Answer<'_> {
    /// The body, if the status is among those that were hoped for.
    pub(crate) fn json<T: DeserializeOwned>(&self, hoped: &[u16]) -> Result<T> {
        ensure!(hoped.contains(&self.status), "{}: {}", self.status, String::from_utf8_lossy(self.body));
        serde_json::from_slice(self.body).context("an answer that is not what was expected")
    }
}

/// The head of an answer, once it is complete.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len_bytes) = answer.parse(bytes).context("an answer that is not HTTP")? else {
        return Ok(None);
    };
    let value = |name: &str| {
        let header = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    Ok(Some(Head {
        status: answer.code.unwrap_or(0),
        len_bytes,
        content_length: value("content-length").and_then(|length| length.trim().parse().ok()),
        chunked: value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")),
    }))
}

//! The little of HTTP/1.1 that a load needs: one request at a time on a connection that is kept.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Draft, Outcome};

/// Servers send far fewer.
const HEADERS_MAX: usize = 32;

/// Where and how messages are published over HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Inlet {
    /// Publishers connect to them in turn.
    pub(crate) servers: Vec<SocketAddr>,
    /// The number of the topic goes where it says `{topic}`.
    pub(crate) path: String,
    /// Whole lines, each with its line break.
    pub(crate) headers: String,
    pub(crate) body: Body,
}

/// What a system wants to have around a value.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// What `repl` takes: an object with the value, and one a line for a batch.
    Repl,
    /// Nothing.
    Bare,
    /// Some JSON before and behind, and Base64.
    Base64Within { before: String, behind: &'static str },
}

/// A connection that publishes over HTTP.
#[derive(Debug)]
pub(crate) struct Publisher {
    inlet: Inlet,
    connection: Connection,
    path: String,
    body: String,
}

impl Inlet {
    pub(crate) async fn open(&self, number: usize) -> Result<Publisher> {
        let server = *self.servers.get(number % self.servers.len().max(1)).context("no server to publish to")?;
        let connection = Connection::open(server).await?;
        Ok(Publisher { inlet: self.clone(), connection, path: String::new(), body: String::new() })
    }

    /// The path of this topic.
    fn write_path(&self, topic: usize, path: &mut String) {
        path.clear();
        match self.path.split_once("{topic}") {
            Some((before, behind)) => {
                let _ = write!(path, "{before}{topic}{behind}");
            }
            None => path.push_str(&self.path),
        }
    }
}

impl Body {
    fn write(&self, draft: &Draft, body: &mut String) {
        body.clear();
        let value = draft.values.first().map_or("", String::as_str);
        match self {
            Self::Repl => {
                for (number, value) in draft.values.iter().enumerate() {
                    let _ = write!(body, r#"{{"value":{value}"#);
                    if let Some(key) = draft.keys.get(number) {
                        let _ = write!(body, r#","key":"{key}""#);
                    }
                    body.push_str("}\n");
                }
            }
            Self::Bare => body.push_str(value),
            Self::Base64Within { before, behind } => {
                let _ = write!(body, "{before}{}{behind}", Base64Display::new(value.as_bytes(), &STANDARD));
            }
        }
    }

    fn content_type(&self, messages: usize) -> &'static str {
        match self {
            Self::Repl if messages > 1 => "content-type: application/x-ndjson\r\n",
            Self::Repl | Self::Bare | Self::Base64Within { .. } => "content-type: application/json\r\n",
        }
    }
}

impl Publisher {
    pub(crate) async fn publish(&mut self, draft: &Draft) -> Outcome {
        let Self { inlet, connection, path, body } = self;
        inlet.write_path(draft.topic, path);
        inlet.body.write(draft, body);
        let headers = [inlet.body.content_type(draft.values.len()), &inlet.headers].concat();
        match connection.post(path, &headers, body).await {
            Ok(answer) if matches!(answer.status, 200..=299) => Outcome::Acknowledged,
            Ok(answer) => {
                let error = anyhow!("{}: {}", answer.status, String::from_utf8_lossy(answer.body));
                if answer.status == 504 { Outcome::Unknown(error) } else { Outcome::Refused(error) }
            }
            Err(error) => Outcome::Unknown(error),
        }
    }
}

/// The standard alphabet.
pub(crate) fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// A connection to one server.
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
        // An answer in chunks is as long as its last one says; the load cares for no body that comes that way.
        let end = match head.content_length {
            Some(length) => head.len_bytes + length,
            None if head.status == 204 => head.len_bytes,
            None if head.chunked => {
                while !self.read.ends_with(b"0\r\n\r\n") {
                    self.read_more().await?;
                }
                self.read.len()
            }
            None => bail!("an answer to {method} {path} without a length"),
        };
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

//! A stream that has its connection for itself: HTTP/1.1, written without hyper.
//!
//! A connection that carries a stream has nothing else to do: no request follows, and all that is left of the protocol is
//! to put chunks one behind the other, which they are made for. Without hyper's buffers and its state for whatever might
//! come an idle subscriber takes a tenth of the memory, and a batch leaves in one piece.

use std::io::ErrorKind::WouldBlock;
use std::task::ready;
use std::time::Duration;

use axum::http::HeaderMap;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::metrics::Closed;
use super::stream::Events;

/// Bytes that a client may send after its request, which are for nobody. Some pipeline a request or two.
const UNASKED_BYTES_MAX: usize = 16 * 1024;

/// What ends the body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A stream and its socket. It ends when the stream does, the client goes or takes nothing for too long, or at `abort`.
#[derive(Debug)]
pub(super) struct StreamWriter {
    pub(super) socket: TcpStream,
    pub(super) events: Events,
    /// Of the answer.
    pub(super) headers: HeaderMap,
    pub(super) stall_timeout: Duration,
    pub(super) abort: CancellationToken,
}

impl StreamWriter {
    /// Answers, then writes events to their end.
    pub(super) async fn run(&mut self) -> Closed {
        match self.write_all().await {
            Ok(()) => {
                // So that what the client may have sent meanwhile doesn't make a reset of the end.
                let _ = self.socket.shutdown().await;
                Closed::Stopped
            }
            Err(closed) => closed,
        }
    }

    async fn write_all(&mut self) -> Result<(), Closed> {
        let head = head(&self.headers);
        self.headers = HeaderMap::new();
        self.write(&head).await?;
        drop(head);
        let mut unasked_bytes = 0;
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = self.events.next() => chunk,
                () = gone(&self.socket, &mut unasked_bytes) => return Err(Closed::Client),
            };
            match chunk {
                Some(chunk) => self.write(chunk.framed()).await?,
                None => return self.write(LAST_CHUNK).await,
            }
            // One that has much to catch up on lets the others have their turn.
            consume_budget().await;
        }
    }

    async fn write(&self, mut bytes: &[u8]) -> Result<(), Closed> {
        while !bytes.is_empty() {
            match self.socket.try_write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                // In a box: most streams never come here.
                Err(error) if error.kind() == WouldBlock => Box::pin(self.writable()).await?,
                Err(_) => return Err(Closed::Client),
            }
        }
        Ok(())
    }

    async fn writable(&self) -> Result<(), Closed> {
        tokio::select! {
            writable = timeout(self.stall_timeout, self.socket.writable()) => match writable {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(Closed::Client),
                Err(_) => Err(Closed::Stalled),
            },
            () = self.abort.cancelled() => Err(Closed::Stopped),
        }
    }
}

/// Waits until the client has closed the connection, or has sent too much.
async fn gone(socket: &TcpStream, unasked_bytes: &mut usize) {
    std::future::poll_fn(|cx| {
        while *unasked_bytes <= UNASKED_BYTES_MAX && ready!(socket.poll_read_ready(cx)).is_ok() {
            match socket.try_read(&mut [0; 1024]) {
                Ok(read) if read > 0 => *unasked_bytes += read,
                Err(error) if error.kind() == WouldBlock => {}
                Ok(_) | Err(_) => break,
            }
        }
        std::task::Poll::Ready(())
    })
    .await;
}

/// The head of the answer. No request can follow on this connection.
fn head(headers: &HeaderMap) -> Vec<u8> {
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    let mut line =
        |name: &str, value: &[u8]| head.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    for (name, value) in headers {
        line(name.as_str(), value.as_bytes());
    }
    line("connection", b"close");
    line("transfer-encoding", b"chunked");
    if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()) {
        line("date", date.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

//! A stream that has its connection for itself: HTTP/1.1, written without hyper.
//!
//! A connection that carries a stream has nothing else to do: no request follows, and all that is left of the protocol is
//! to put chunks one behind the other, which they are made for. Without hyper's buffers and its state for whatever might
//! come an idle subscriber takes a tenth of the memory, and a batch leaves in one piece.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::HeaderMap;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::coop::{consume_budget, unconstrained};
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
pub(super) struct StreamWriter<S> {
    pub(super) socket: S,
    pub(super) events: Events,
    /// Of the answer.
    pub(super) headers: HeaderMap,
    pub(super) stall_timeout: Duration,
    pub(super) abort: CancellationToken,
}

impl<S: AsyncRead + AsyncWrite + Unpin> StreamWriter<S> {
    /// Answers, then writes events to their end.
    pub(super) async fn run(&mut self) -> Closed {
        match self.write_all().await {
            Ok(()) => {
                // So that what the client may have sent meanwhile doesn't make a reset of the end.
                let _ = timeout(self.stall_timeout, self.socket.shutdown()).await;
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
                () = gone(&mut self.socket, &mut unasked_bytes) => return Err(Closed::Client),
            };
            match chunk {
                Some(chunk) => self.write(chunk.framed()).await?,
                None => return self.write(LAST_CHUNK).await,
            }
            // One that has much to catch up on lets the others have their turn.
            consume_budget().await;
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        // Not held back by the budget of the task, which is no reason to prepare for a wait.
        let written = unconstrained(poll_fn(|cx| Poll::Ready(poll_write_all(&mut self.socket, cx, &mut bytes)))).await;
        match written {
            Poll::Ready(written) => written.map_err(|_| Closed::Client),
            // In a box: most streams never come here.
            Poll::Pending => Box::pin(self.write_slowly(bytes)).await,
        }
    }

    async fn write_slowly(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        loop {
            let before = bytes.len();
            let written = poll_fn(|cx| match poll_write_all(&mut self.socket, cx, &mut bytes) {
                Poll::Pending if bytes.len() < before => Poll::Ready(Ok(false)),
                written => written.map_ok(|()| true),
            });
            tokio::select! {
                written = timeout(self.stall_timeout, written) => match written {
                    Ok(Ok(true)) => return Ok(()),
                    Ok(Ok(false)) => {}
                    Ok(Err(_)) => return Err(Closed::Client),
                    Err(_) => return Err(Closed::Stalled),
                },
                () = self.abort.cancelled() => return Err(Closed::Stopped),
            }
        }
    }
}

/// Writes bytes, and takes them away as they are written, until they and what the socket itself still has to write are in
/// the hands of the kernel.
fn poll_write_all<S: AsyncWrite + Unpin>(
    socket: &mut S,
    cx: &mut Context<'_>,
    bytes: &mut &[u8],
) -> Poll<io::Result<()>> {
    while !bytes.is_empty() {
        let written = ready!(Pin::new(&mut *socket).poll_write(cx, bytes))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        *bytes = bytes.get(written..).unwrap_or_default();
    }
    Pin::new(socket).poll_flush(cx)
}

/// Waits until the client has closed the connection, or has sent too much.
async fn gone<S: AsyncRead + Unpin>(socket: &mut S, unasked_bytes: &mut usize) {
    poll_fn(|cx| {
        let mut room = [0; 1024];
        while *unasked_bytes <= UNASKED_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut *socket).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => *unasked_bytes += buf.filled().len(),
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
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

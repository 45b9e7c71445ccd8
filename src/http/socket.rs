//! A client's socket that doesn't wait for ever.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::activity::Activity;

/// A socket that tells the connection's [`Activity`] what is read and flushed, and fails once a write has made no progress
/// for too long: a client that stopped reading, or that has gone without a word.
#[derive(Debug)]
pub(super) struct Socket<S> {
    /// Until it is dropped.
    inner: Option<S>,
    /// What was read before, and is not handed out yet.
    begun: Bytes,
    lender: Lender<S>,
    activity: Arc<Activity>,
    stall_timeout: Duration,
    /// Runs while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
}

/// Gets a socket back from whoever spoke HTTP on it, once that has let go of it.
#[derive(Debug)]
pub(super) struct Lender<S>(Arc<Mutex<Option<S>>>);

impl<S> Lender<S> {
    pub(super) fn take_back(&self) -> Option<S> {
        self.slot().take()
    }

    fn slot(&self) -> MutexGuard<'_, Option<S>> {
        // Nothing between lock and unlock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Drop for Socket<S> {
    fn drop(&mut self) {
        *self.lender.slot() = self.inner.take();
    }
}

impl<S: Unpin> Socket<S> {
    /// A socket to lend, of which some bytes were read, and who gets it back.
    pub(super) fn new(inner: S, begun: Vec<u8>, activity: Arc<Activity>, stall_timeout: Duration) -> (Self, Lender<S>) {
        let slot = Arc::default();
        let lender = Lender(Arc::clone(&slot));
        let (inner, begun) = (Some(inner), begun.into());
        (Self { inner, begun, lender: Lender(slot), activity, stall_timeout, stall: None }, lender)
    }

    fn inner(&mut self) -> Pin<&mut S> {
        Pin::new(self.inner.as_mut().expect("nobody reads or writes what is dropped"))
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stall = None;
            return write;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(self.stall_timeout)));
        std::task::ready!(stall.as_mut().poll(cx));
        self.activity.write_stalled();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no data")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.begun.is_empty() {
            let count = self.begun.len().min(buf.remaining());
            buf.put_slice(&self.begun.split_to(count));
            self.activity.bytes_read();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = self.inner().poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.bytes_read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let write = self.inner().poll_write(cx, buf);
        self.watch(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = self.inner().poll_write_vectored(cx, bufs);
        self.watch(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = self.inner().poll_flush(cx);
        if flush.is_ready() {
            self.activity.flushed();
        }
        self.watch(cx, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, advance, timeout};

    use super::*;
    use crate::http::Limits;

    const STALL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_write_without_progress_fails_after_the_timeout_and_one_with_progress_does_not() {
        let activity = Arc::new(Activity::new(&Limits::default()));
        let (client, server) = duplex(1);
        let (mut socket, _) = Socket::new(server, Vec::new(), Arc::clone(&activity), STALL);
        let mut client = client;

        let slow_reader = async {
            for _ in 0..3 {
                advance(STALL - Duration::from_secs(1)).await;
                client.read_u8().await.expect("a byte");
            }
        };
        let (written, ()) = tokio::join!(socket.write_all(b"abc"), slow_reader);
        written.expect("each byte is progress");
        assert!(!activity.is_stalled());

        let started = Instant::now();
        let write = timeout(2 * STALL, socket.write_all(b"defg"));
        let error = write.await.expect("an end").expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), STALL.as_secs());
        assert!(activity.is_stalled());
    }
}

//! One established connection: frames in, frames out, and the rules by which either side gives it up.
//!
//! Networks fail silently: a partition or a dead machine sends no reset, and TCP alone notices after minutes. So both
//! sides send a pulse every [`PULSE`], unasked, and each believes only what it hears: a side that hears no whole frame
//! for [`SILENCE_MAX`] closes, and so does a side that can't write for [`STALL_MAX`]. Nobody waits for an echo, hence a
//! path that is cut in one direction only is noticed by the side that has become deaf.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};

use super::frame::{Decoder, Frame, FrameError};
use super::seal::Seal;

/// How often a side shows that it is alive. Shorter than a client waits for a publish, so that a call which times out
/// on a healthy connection has heard a pulse meanwhile.
pub const PULSE: Duration = Duration::from_secs(2);

/// How long a side waits for the next whole frame. Several lost pulses; 16 MiB at 9 Mbit/s.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How long a side waits for the other to take bytes.
pub const STALL_MAX: Duration = Duration::from_secs(10);

/// In bytes: frames that wait together leave in one write up to about this size.
const WRITE_BYTES: usize = 256 * 1024;

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The other side closed it.
    #[error("the other side closed the connection")]
    Closed,
    /// This side closed it: the node is stopping, or nobody uses the connection any more.
    #[error("this side closed the connection")]
    Released,
    /// No whole frame for [`SILENCE_MAX`].
    #[error("nothing was heard for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// The other side took no bytes for [`STALL_MAX`].
    #[error("the other side has read nothing for {} s", STALL_MAX.as_secs())]
    Stalled,
    /// A call's time ran out, and nothing at all had been heard since it was sent.
    #[error("nothing was heard since a call that got no answer in time")]
    Unresponsive,
    /// The bytes are not frames, or not those that the other side sent.
    #[error("the connection carries something else than the frames of this peer")]
    Frame(#[from] FrameError),
    /// A called node asked, or a calling node answered.
    #[error("a frame that this side of a connection never receives")]
    Unexpected,
    /// The operating system says so.
    #[error("the connection failed")]
    Io(#[from] io::Error),
}

/// The receiving half.
pub(super) struct FrameReader<R> {
    io: R,
    decoder: Decoder,
    heard: Instant,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(io: R, seal: Option<Seal>) -> Self {
        Self { io, decoder: Decoder::new(seal), heard: Instant::now() }
    }

    /// The next frame.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn next(&mut self) -> Result<Frame, LinkError> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                self.heard = Instant::now();
                return Ok(frame);
            }
            let read = self.io.read_buf(self.decoder.room());
            match timeout_at(self.heard + SILENCE_MAX, read).await {
                Ok(Ok(0)) => return Err(LinkError::Closed),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(LinkError::Silent),
            }
        }
    }

    /// Starts the wait for the next frame anew: this side was busy, so that the silence was its own.
    pub(super) fn listen_again(&mut self) {
        self.heard = Instant::now();
    }
}

/// The sending half.
pub(super) struct FrameWriter<W> {
    io: W,
    seal: Option<Seal>,
    buffer: BytesMut,
}

/// Where the frames come from that a [`FrameWriter`] sends.
pub(super) trait Outbox {
    /// Waits until there are frames to send and moves them to `frames`, up to about `bytes_max`. `false`: there will
    /// never be any more. Nothing is lost if the future is dropped.
    fn take(&mut self, frames: &mut Vec<Frame>, bytes_max: usize) -> impl Future<Output = bool> + Send;
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(io: W, seal: Option<Seal>) -> Self {
        Self { io, seal, buffer: BytesMut::new() }
    }

    /// Sends what comes from `outbox`, and a pulse now and then, until there will never be any more.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn run(mut self, mut outbox: impl Outbox) -> Result<(), LinkError> {
        let mut pulse = interval_at(Instant::now() + PULSE, PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut frames = Vec::new();
        loop {
            let more = tokio::select! {
                more = outbox.take(&mut frames, WRITE_BYTES) => more,
                _ = pulse.tick() => {
                    frames.push(Frame::Pulse);
                    true
                }
            };
            for frame in frames.drain(..) {
                frame.encode(self.seal.as_mut(), &mut self.buffer);
            }
            self.flush().await?;
            if !more {
                return Ok(self.io.shutdown().await?);
            }
        }
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        let large = self.buffer.len() > 2 * WRITE_BYTES;
        while self.buffer.has_remaining() {
            match timeout(STALL_MAX, self.io.write_buf(&mut self.buffer)).await {
                Ok(Ok(0)) => return Err(LinkError::Closed),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(LinkError::Stalled),
            }
        }
        if large {
            // The room that a large payload took is not kept.
            self.buffer = BytesMut::new();
        }
        Ok(())
    }
}

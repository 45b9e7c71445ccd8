//! Why a call has no answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::frame::PAYLOAD_BYTES_MAX;
use super::handshake::HandshakeError;
use super::link::LinkError;
use super::refusal::Refusal;

/// Why a call has no answer, by what the caller may conclude. Cheap to clone: one broken connection fails many calls.
#[derive(Clone, Debug, Error)]
pub enum CallError {
    /// No byte of the call was sent: it may be repeated, here or elsewhere, without asking whether it was carried out.
    #[error("the call was not sent")]
    NotSent(#[source] NotSent),
    /// The peer refuses this node, and will until somebody changes something. The call was not sent.
    #[error("the peer refuses this node")]
    Refused(#[source] Refusal),
    /// The call may or may not have been carried out.
    #[error("the call was not answered; it may have been carried out")]
    Unanswered(#[source] Unanswered),
    /// The payload is larger than [`PAYLOAD_BYTES_MAX`]. The call was not sent.
    #[error("a payload of {bytes} bytes, the limit is {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// The payload's size.
        bytes: usize,
    },
}

/// Why a call was not sent.
#[derive(Clone, Debug, Error)]
pub enum NotSent {
    /// The connection it waited for was not made.
    #[error("no connection")]
    Connect(#[source] Arc<ConnectError>),
    /// The connection ended before it was its turn.
    #[error("the connection was lost")]
    Lost(#[source] Arc<LinkError>),
    /// Its time ran out before it was its turn: the connection is still being made, or too many calls are in flight.
    #[error("no turn within {} ms", waited.as_millis())]
    Expired {
        /// The time the caller gave it.
        waited: Duration,
    },
}

/// Why a call was not answered.
#[derive(Clone, Debug, Error)]
pub enum Unanswered {
    /// The connection ended first.
    #[error("the connection was lost")]
    Lost(#[source] Arc<LinkError>),
    /// Its time ran out first.
    #[error("no answer within {} ms", waited.as_millis())]
    Expired {
        /// The time the caller gave it.
        waited: Duration,
    },
    /// The peer took it and gave it up.
    #[error("the peer gave it up")]
    GivenUp,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The address has no listener, or can't be reached or resolved.
    #[error("can not connect")]
    Socket(#[source] io::Error),
    /// Longer than [`super::CONNECT_MAX`].
    #[error("can not connect within {} ms", super::CONNECT_MAX.as_millis())]
    Timeout,
    /// Connected, but no agreement.
    #[error("connected, but no handshake")]
    Handshake(#[from] HandshakeError),
}

impl From<Arc<ConnectError>> for CallError {
    fn from(error: Arc<ConnectError>) -> Self {
        match *error {
            ConnectError::Handshake(HandshakeError::Refused(refusal)) => Self::Refused(refusal),
            ConnectError::Handshake(_) | ConnectError::Socket(_) | ConnectError::Timeout => {
                Self::NotSent(NotSent::Connect(error))
            }
        }
    }
}

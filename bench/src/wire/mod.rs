//! The protocols that the load speaks, written by hand: what is measured is the servers' part, so the load's is small. A
//! request is one write, an answer usually one read.
//!
//! An [`Inlet`] says where and how a system takes messages, an [`Outlet`] where and how it gives them out again.

pub(crate) mod http;
mod nats;
mod redis;
mod sse;
mod stream;

use std::net::SocketAddr;

use anyhow::{Error, Result};

pub(crate) use self::nats::{Ack, SUBJECT, request as nats_request};
pub(crate) use self::redis::command as redis_command;
pub(crate) use self::sse::Event;
pub(crate) use self::stream::{Live, Outlet, Stream};

/// Where and how messages are published.
#[derive(Clone, Debug)]
pub(crate) enum Inlet {
    Http(http::Inlet),
    Nats {
        server: SocketAddr,
        ack: Ack,
    },
    /// With `XADD`.
    Redis {
        server: SocketAddr,
    },
}

/// A connection that publishes, one request at a time.
#[derive(Debug)]
pub(crate) enum Publisher {
    Http(http::Publisher),
    Nats(nats::Publisher),
    Redis(redis::Publisher),
}

/// What a request publishes.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Which of the topics, if there are several.
    pub(crate) topic: usize,
    /// JSON. More than one are a batch.
    pub(crate) values: Vec<String>,
    /// Idempotency keys, as many as values or none.
    pub(crate) keys: Vec<String>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Acknowledged,
    Refused(Error),
    Unknown(Error),
}

impl Outcome {
    /// # Errors
    /// It was not acknowledged.
    pub(crate) fn stored(self) -> Result<()> {
        match self {
            Self::Acknowledged => Ok(()),
            Self::Refused(error) | Self::Unknown(error) => Err(error),
        }
    }
}

impl Inlet {
    /// A connection for the publisher of this number.
    pub(crate) async fn open(&self, number: usize) -> Result<Publisher> {
        Ok(match self {
            Self::Http(inlet) => Publisher::Http(inlet.open(number).await?),
            Self::Nats { server, ack } => Publisher::Nats(nats::Publisher::open(*server, *ack, number).await?),
            Self::Redis { server } => Publisher::Redis(redis::Publisher::open(*server).await?),
        })
    }
}

impl Publisher {
    /// Publishes. After an unknown outcome the connection can't be used again.
    pub(crate) async fn publish(&mut self, draft: &Draft) -> Outcome {
        let answered = match self {
            Self::Http(publisher) => return publisher.publish(draft).await,
            Self::Nats(publisher) => publisher.publish(draft).await,
            Self::Redis(publisher) => publisher.publish(draft).await,
        };
        match answered {
            Ok(Ok(())) => Outcome::Acknowledged,
            Ok(Err(refusal)) => Outcome::Refused(Error::msg(refusal)),
            Err(error) => Outcome::Unknown(error),
        }
    }
}

/// A request was answered: with success, or with a refusal. Otherwise nobody knows.
type Answered = Result<Result<(), String>>;

//! Whom something is counted for.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::App;
use super::access::{Caller, Rejection};
use super::network::{Network, Remote};

/// Whoever is served, as far as it is known: whose token it is, or where a client without one comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Party {
    Subject(String),
    Network(Network),
}

/// Whoever sends a request, and from where.
#[derive(Debug)]
pub(super) struct Asking {
    caller: Caller,
    remote: Option<Remote>,
}

impl FromRequestParts<Arc<App>> for Asking {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let caller = Caller::from_request_parts(parts, app).await?;
        Ok(Self { caller, remote: parts.extensions.get().copied() })
    }
}

impl Asking {
    /// Whom to count for, if anybody: what comes from this machine without a token is not counted.
    pub(super) fn party(&self) -> Option<Party> {
        let subject = match &self.caller {
            Caller::Proven(principal) => principal.bearer.subject.as_ref().or(principal.bearer.token.as_ref()),
            Caller::Trusted | Caller::Anonymous(_) => None,
        };
        let network = self.remote.and_then(|remote| remote.network);
        subject.cloned().map(Party::Subject).or(network.map(Party::Network))
    }

    /// Where it comes from, if that is by a connection.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.remote.map(|remote| remote.address)
    }
}

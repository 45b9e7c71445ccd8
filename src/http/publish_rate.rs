//! How fast one publisher may publish.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::access::{Caller, Rejection};
use super::allowance::Allowances;
use super::network::Network;
use super::{App, Code, Problem};

/// Seconds of messages that may come at once.
const BURST_SECONDS: u32 = 10;

/// How fast one publisher may publish; by default there is no bound. Clones share what is left.
#[derive(Clone, Debug, Default)]
pub struct PublishRates(Option<Arc<Allowances<Publisher>>>);

/// Whoever publishes, as far as it is known: whose token it is, or where a client without one comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Publisher {
    Subject(String),
    Network(Network),
}

impl PublishRates {
    /// So many messages a second for each publisher; those of ten seconds may come at once.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self(Some(Arc::new(Allowances::new(per_second, BURST_SECONDS))))
    }
}

/// Whom to count messages for, if they are counted.
#[derive(Debug)]
pub(super) struct Counted(Option<Publisher>);

impl FromRequestParts<Arc<App>> for Counted {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        if app.options.publish_rates.0.is_none() {
            return Ok(Self(None));
        }
        let subject = match Caller::from_request_parts(parts, app).await? {
            Caller::Proven(principal) => principal.bearer.subject.clone().or_else(|| principal.bearer.token.clone()),
            Caller::Trusted | Caller::Anonymous(_) => None,
        };
        let network = || parts.extensions.get().copied().map(Publisher::Network);
        Ok(Self(subject.map(Publisher::Subject).or_else(network)))
    }
}

impl App {
    /// Whether a publisher may publish so many messages now.
    pub(super) fn check_publish_rate(&self, counted: Counted, messages: usize) -> Result<(), Problem> {
        let (Some(rates), Counted(Some(publisher))) = (&self.options.publish_rates.0, counted) else { return Ok(()) };
        if rates.take(publisher, messages) {
            return Ok(());
        }
        self.metrics.publish_refused();
        Err(Problem::new(
            Code::PublishRate,
            "Nothing was written. Publish slower: this is more than the operator allows.",
        ))
    }
}

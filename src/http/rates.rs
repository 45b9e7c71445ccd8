//! How often one party may do what costs the whole cluster something.

use std::sync::Arc;

use super::allowance::Allowances;
use super::party::{Asking, Party};
use super::{App, Code, Problem};
use crate::domain::TopicName;

/// Seconds of messages that may come at once.
const PUBLISH_BURST_SECONDS: u32 = 10;

/// How often each party may do something; by default there is no bound. Clones share what is left.
#[derive(Clone, Debug, Default)]
pub struct Rates(Option<Arc<Allowances<Party>>>);

impl Rates {
    /// So many messages a second; those of ten seconds may come at once.
    #[must_use]
    pub fn of_publishes(per_second: u32) -> Self {
        Self::new(f64::from(per_second), f64::from(per_second) * f64::from(PUBLISH_BURST_SECONDS))
    }

    /// So many topics and tickets a minute; those of a minute may come at once.
    #[must_use]
    pub fn of_creations(per_minute: u32) -> Self {
        Self::new(f64::from(per_minute) / 60.0, f64::from(per_minute))
    }

    fn new(per_second: f64, burst: f64) -> Self {
        Self(Some(Arc::new(Allowances::new(per_second, burst))))
    }

    /// Takes `amount`, if it is there, of whoever is counted.
    fn take(&self, asking: &Asking, amount: usize) -> bool {
        let Some(allowances) = &self.0 else { return true };
        asking.party().is_none_or(|party| allowances.take(party, amount))
    }
}

impl App {
    /// Whether so many messages may be published now.
    pub(super) fn check_publish_rate(&self, asking: &Asking, messages: usize) -> Result<(), Problem> {
        if self.options.publish_rates.take(asking, messages) {
            return Ok(());
        }
        Err(Problem::new(
            Code::PublishRate,
            "Nothing was written. Publish slower: this is more than the operator allows.",
        ))
    }

    /// Whether a topic may be created now. One that is there, as far as this node knows, is not.
    pub(super) fn check_topic_rate(&self, asking: &Asking, topic: &TopicName) -> Result<(), Problem> {
        if self.node.topic(topic).is_some() { Ok(()) } else { self.check_creation_rate(asking) }
    }

    /// Whether something that the cluster keeps may be created now.
    pub(super) fn check_creation_rate(&self, asking: &Asking) -> Result<(), Problem> {
        if self.options.creation_rates.take(asking, 1) {
            return Ok(());
        }
        Err(Problem::new(
            Code::CreationRate,
            "Nothing was created. Create topics and tickets slower: this is more than the operator allows.",
        ))
    }
}

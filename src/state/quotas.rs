//! How much the state may grow by what clients ask for.

use serde::{Deserialize, Serialize};

/// Bounds of the state beside those of its parts. The leader's settings, which travel in each entry: so every node refuses
/// alike. What is there already stays when a bound is lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quotas {
    /// Topics.
    pub topics: u64,
    /// Tickets of one subject; of a token without a subject, of that token.
    pub subject_tickets: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { topics: 100_000, subject_tickets: 1_000 }
    }
}

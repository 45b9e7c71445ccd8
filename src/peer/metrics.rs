//! What the nodes' port counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Callers that were not served, by reason.
#[derive(Clone, Debug)]
pub struct Metrics {
    turned_away: Family<ReasonLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// Why a caller was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnedAway {
    /// It is no node of this cluster, or could not prove it in time.
    Refused,
    /// It had not proven it when a place was needed.
    CrowdedOut,
    /// There were too many connections of nodes.
    Full,
}

impl Metrics {
    /// Makes the counters and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { turned_away: Family::default() };
        let help = "Callers at the nodes' port that were not served, by reason";
        registry.sub_registry_with_prefix("peer").register("callers_turned_away", help, metrics.turned_away.clone());
        metrics
    }

    pub(super) fn turned_away(&self, why: TurnedAway) {
        let reason = match why {
            TurnedAway::Refused => "refused",
            TurnedAway::CrowdedOut => "crowded_out",
            TurnedAway::Full => "full",
        };
        self.turned_away.get_or_create(&ReasonLabels { reason }).inc();
    }
}

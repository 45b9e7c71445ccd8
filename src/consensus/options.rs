//! What consensus is started with.

use std::path::PathBuf;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use uuid::Uuid;

use super::checkpoint::CheckpointOptions;
use super::peers::Peers;
use super::types::Member;
use crate::domain::NodeId;
use crate::state::{KeyWindow, Quotas};

/// How fast a lost leader is noticed.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// A follower that has heard nothing for `election_max` waits for a random time between the two before it stands
    /// for election itself; a leader that no majority has answered for `election_max` stops taking writes.
    pub election_min: Duration,
    /// See [`Self::election_min`].
    pub election_max: Duration,
}

impl Default for Timing {
    /// A dead leader is replaced within about 0.6 s; a node may stall for 0.3 s without consequence.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(60),
            election_min: Duration::from_millis(120),
            election_max: Duration::from_millis(320),
        }
    }
}

/// What [`super::Consensus::start`] needs to know.
#[derive(Debug)]
pub struct Options {
    /// The cluster's id.
    pub cluster: Uuid,
    /// This node's id.
    pub node: NodeId,
    /// Where others reach this node.
    pub member: Member,
    /// How others are reached.
    pub peers: Peers,
    /// How fast a lost leader is noticed.
    pub timing: Timing,
    /// How long idempotency keys are remembered, if this node leads.
    pub key_window: KeyWindow,
    /// How much the state may grow, if this node leads.
    pub quotas: Quotas,
    /// When memory moves to disk.
    pub checkpoint: CheckpointOptions,
    /// For snapshots that others read. Emptied at the start.
    pub export_dir: PathBuf,
    /// For snapshots on their way in.
    pub incoming_dir: PathBuf,
}

/// The engine's own settings, which follow from ours.
pub(super) fn config(cluster: Uuid, timing: Timing) -> Result<Config, openraft::ConfigError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: cluster.to_string(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election_min),
        election_timeout_max: millis(timing.election_max),
        // Both are off by default. Without the first a node that was cut off disturbs the cluster when it comes back;
        // without the second a leader that sees only a bridge to the majority goes on for ever (openraft #2080).
        enable_pre_vote: Some(true),
        quorum_loss_probe_interval: Some(millis(timing.election_max * 3)),
        // Not before it is known that nobody else votes as this node.
        enable_elect: false,
        // Checkpoints decide when there is a snapshot and how far the log may go.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // Counted in bytes by our own limit.
        max_payload_entries: 4096,
        // A member that was restored from a copy has less than it acknowledged once. It is brought up to date again, which
        // mends what can be mended; without this, its leader would stop (or, in a release build, never reach it again).
        allow_log_reversion: Some(true),
        // A leader that restarts asks for votes again, so that it learns what was committed.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config.validate()
}

//! Compaction: when to take a checkpoint, and how much of the log goes then.

use thiserror::Error;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::checkpoint::{self, CheckpointError, CheckpointOptions};
use super::replica::Replica;
use super::snapshot::Exports;
use super::types::Raft;
use crate::state::Machine;
use crate::storage::Log;

/// Nothing moves to disk any more: this node must stop.
#[derive(Debug, Error)]
pub enum CompactionError {
    /// The store refused the change.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The consensus engine is gone.
    #[error("consensus has stopped")]
    Stopped,
}

/// How often the sizes are looked at. At 100 MB/s a checkpoint is late by 20 MB.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Has Raft take snapshots, which are checkpoints, as they become due, and lets it purge its log below. Until `stop`; then
/// takes a last checkpoint, so that the next start is quick.
pub(super) async fn run(
    raft: &Raft,
    log: &Log,
    replica: &Replica,
    exports: &Exports,
    options: CheckpointOptions,
    stop: CancellationToken,
) -> Result<(), CompactionError> {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut logged = log.metrics().bytes;
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = stop.cancelled() => {
                checkpoint::take(replica).await?;
                return Ok(());
            }
        }
        let grown = log.metrics().bytes - logged;
        let rows = replica.read(Machine::changed_rows);
        let due = grown >= options.bytes || rows >= options.rows || (grown > 0 && last.elapsed() >= options.interval);
        let stored = replica.stored().applied;
        if due && replica.read_state(|state| state.applied) > stored {
            (last, logged) = (Instant::now(), logged + grown);
            raft.trigger().snapshot().await.map_err(|_| CompactionError::Stopped)?;
            let newer = raft.wait(None).metrics(|metrics| metrics.snapshot > stored, "a newer snapshot").await;
            newer.map_err(|_| CompactionError::Stopped)?;
            if let Some(upto) = purgeable(log, replica, options) {
                exports.forget_before(upto);
                info!(entry = upto, "purging the log");
                raft.trigger().purge_log(upto).await.map_err(|_| CompactionError::Stopped)?;
            }
        }
    }
}

/// Up to where the store has what the log holds, but for what a follower may still need.
fn purgeable(log: &Log, replica: &Replica, options: CheckpointOptions) -> Option<u64> {
    let upto = log.last_before(options.log_keep_segments)?.get();
    Some(upto.min(replica.stored().applied?.index))
}

//! Checkpoints: what is retained moves from memory into the store.
//!
//! A checkpoint is one atomic change of the store, made of the rows that changed since the last one. Applying goes on
//! meanwhile: the machine freezes the rows in a moment and starts a new generation.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;
use tracing::debug;

use super::codec;
use super::replica::Replica;
use crate::state::Machine;
use crate::state::rows::{self, RowChange};
use crate::storage::{Change, StoreError};

/// When to take a checkpoint, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointOptions {
    /// Bytes that the log has grown by since the last one.
    pub bytes: u64,
    /// Rows of the state that have changed since the last one. A commit takes about 4 KiB of memory for each (measured
    /// on sled 0.34), and holds up readers while it is applied.
    pub rows: usize,
    /// Time since the last one, if the log has grown at all.
    pub interval: Duration,
    /// Segments of the log kept in any case, so that a follower that was away for a while needs no snapshot.
    pub log_keep_segments: u64,
}

impl Default for CheckpointOptions {
    fn default() -> Self {
        Self { bytes: 16 * 1024 * 1024, rows: 20_000, interval: Duration::from_secs(60), log_keep_segments: 4 }
    }
}

/// This many times [`CheckpointOptions::bytes`] or [`CheckpointOptions::rows`] may have changed without a checkpoint
/// having begun. Beyond this, applying takes one itself: the store can't keep up, and memory is bounded.
const BACKLOG_MAX: u32 = 4;

impl CheckpointOptions {
    pub(super) fn has_backlog(&self, machine: &Machine) -> bool {
        let bytes_max = self.bytes.saturating_mul(BACKLOG_MAX.into());
        let rows_max = self.rows.saturating_mul(usize::try_from(BACKLOG_MAX).unwrap_or(usize::MAX));
        machine.changed_bytes() >= bytes_max || machine.changed_rows() >= rows_max
    }
}

/// A checkpoint failed. What is on disk is intact; this node must stop.
#[derive(Clone, Debug, Error)]
#[error("the checkpoint could not be written")]
pub struct CheckpointError(#[source] Arc<StoreError>);

/// Takes a checkpoint now, if anything has been applied since the last one. The replica remembers a failure.
pub(super) async fn take(replica: &Replica) -> Result<(), CheckpointError> {
    write(replica).await.map_err(|error| {
        let error = CheckpointError(Arc::new(error));
        replica.fail(error.clone());
        error
    })
}

async fn write(replica: &Replica) -> Result<(), StoreError> {
    replica.room().for_checkpoint(replica).await;
    let _move = replica.begin_move().await;
    let taken = replica.write_state(|state| {
        let stored = state.stored();
        (stored != replica.stored()).then(|| (state.machine.begin_checkpoint(), stored))
    });
    let Some((checkpoint, stored)) = taken else { return Ok(()) };
    let checkpoint = checkpoint.expect("one at a time, within begin_move");
    let started = Instant::now();
    let own_row = Change::Put { key: vec![rows::RESERVED_CONSENSUS], value: codec::encode(&stored).to_vec() };
    let store = replica.store();
    let commit = move || store.commit(checkpoint.changes().map(change).chain([own_row])).map(|()| checkpoint);
    let checkpoint = tokio::task::spawn_blocking(commit).await.expect("a commit never panics")?;
    replica.write_state(|state| state.machine.end_checkpoint(&checkpoint));
    debug!(
        entry = stored.applied.map(|applied| applied.index),
        elapsed_ms = started.elapsed().as_millis(),
        "checkpoint"
    );
    replica.set_stored(stored);
    Ok(())
}

/// The state names rows, the store keeps bytes; neither knows the other.
fn change(row: RowChange) -> Change {
    match row {
        RowChange::Put { key, value } => Change::Put { key, value },
        RowChange::Delete { key } => Change::Delete { key },
        RowChange::DeleteRange { keys, keep_last } => Change::DeleteRange { keys, keep_last },
    }
}

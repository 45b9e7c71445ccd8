//! Backups, and founding a cluster anew: from a backup, or from one node of a cluster that lost its majority.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use uuid::Uuid;

use super::Node;
use super::lifecycle::is_empty;
use crate::consensus::{Contents, RefoundError, Refounded, SnapshotError, force_alone, restore};
use crate::storage::{DataDir, DataDirError, Identity, Log, LogOptions};

/// No cluster was founded.
#[derive(Debug, Error)]
pub enum DisasterError {
    /// A backup would cover what is there.
    #[error("{} is not empty: choose another data directory, or move away what is in it", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// There is no node to go on with.
    #[error("{} holds no node that belongs to a cluster", path.display())]
    NoNode {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What is in it, or in the backup.
    #[error(transparent)]
    Refound(#[from] RefoundError),
}

impl Node {
    /// Everything that is applied here, as a file without a name that can be restored.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub async fn back_up(&self) -> Result<tokio::fs::File, SnapshotError> {
        Ok(tokio::fs::File::from_std(self.inner.consensus.back_up().await?))
    }
}

/// Makes a data directory of a backup: that of the only node of a new cluster. Blocks.
///
/// # Errors
/// See [`DisasterError`]. Unless the disk failed halfway, nothing has been written; then the node does not start, and the
/// directory can be removed.
pub fn restore_backup(backup: &Path, data_dir: &Path) -> Result<Contents, DisasterError> {
    if !is_empty(data_dir) {
        return Err(DisasterError::NotEmpty { path: data_dir.to_owned() });
    }
    // Before anything is created.
    crate::consensus::contents(backup)?;
    let dir = DataDir::open(data_dir)?;
    let log = Log::open(&dir.log_dir(), LogOptions::default()).map_err(RefoundError::from)?;
    let (contents, node) = restore(backup, &log, &dir.state_dir())?;
    // Last: a node with a log and without an identity does not start.
    dir.write_identity(&Identity { cluster: Uuid::new_v4(), node })?;
    Ok(contents)
}

/// Makes a node, which must not run, the only one of a new cluster that has what the node has. `None`: it is alone in its
/// cluster, and nothing has changed. Blocks.
///
/// # Errors
/// See [`DisasterError`]. Unless the disk failed halfway, nothing has been written; then doing it again ends it.
pub fn force_new_cluster(data_dir: &Path) -> Result<Option<Refounded>, DisasterError> {
    let no_node = || DisasterError::NoNode { path: data_dir.to_owned() };
    if is_empty(data_dir) {
        return Err(no_node());
    }
    let dir = DataDir::open(data_dir)?;
    let node = dir.identity()?.ok_or_else(no_node)?.node;
    if is_empty(&dir.log_dir()) {
        return Err(no_node());
    }
    let log = Log::open(&dir.log_dir(), LogOptions::default()).map_err(RefoundError::from)?;
    let founded = force_alone(&log, &dir.state_dir(), node, || {
        // First: a node that leads alone must not be taken for the old cluster.
        let identity = Identity { cluster: Uuid::new_v4(), node };
        dir.write_identity(&identity).and_then(|()| dir.save_peers(&[])).map_err(io::Error::other)
    })?;
    Ok(founded)
}

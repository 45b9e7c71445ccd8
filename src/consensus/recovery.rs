//! From what is on disk to a state that consensus can go on from.
//!
//! The log is what was acknowledged; the store is what the log no longer holds. A damaged log stops the node. A store
//! that is damaged, missing or too old can be healed: from the log if that reaches back to the beginning, else from
//! another node's snapshot. A node that is alone refuses to start rather than begin with less than it acknowledged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tracing::{info, warn};

use super::codec::{self, CodecError};
use super::peers::Peers;
use super::replica::Stored;
use super::snapshot::{self, SnapshotError};
use super::types::LogId;
use super::wire::{Offer, kind};
use crate::domain::LogIndex;
use crate::rpc::Lane;
use crate::state::{self, Machine};
use crate::storage::{Log, Store, StoreError};

/// What consensus starts from.
#[derive(Debug)]
pub struct Recovered {
    pub(super) log: Log,
    pub(super) store: Store,
    pub(super) machine: Machine,
    pub(super) stored: Stored,
}

/// The state could not be recovered. Nothing that was acknowledged has been given up.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// Neither the log nor another node can replace the store.
    #[error(
        "the checkpoint in {} is lost ({why}), the log reaches back only to entry {first}, and no other node gave a \
         snapshot: start another node of the cluster, or restore {} from a copy", dir.display(), dir.display()
    )]
    Lost {
        /// The store's directory.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The first entry that the log holds.
        first: LogIndex,
    },
    /// There is a checkpoint of entries of which the log knows nothing: without its vote, the node could vote twice.
    #[error(
        "the log is empty, but {} holds a checkpoint of what was in it: restore the log from a copy of the same moment, \
         or start the node with an empty data directory, so that it joins under a new id", dir.display()
    )]
    LogMissing {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The store can't be opened, but may be in order.
    #[error("the checkpoint can't be opened")]
    Store(#[source] StoreError),
    /// It is in order, but not for this program.
    #[error("the checkpoint in {} was written by another version of this program: start that one", dir.display())]
    Version {
        /// The store's directory.
        dir: PathBuf,
        /// Which versions.
        source: state::CodecError,
    },
    /// A snapshot could not be taken over.
    #[error("the checkpoint could not be replaced by a snapshot")]
    Snapshot(#[from] SnapshotError),
    /// The log's own marks can't be read.
    #[error("the log was written by another version")]
    Log(#[source] CodecError),
}

/// How often the other nodes are asked before giving up.
const HEAL_ROUNDS: usize = 3;

/// For a node to export its snapshot: it reads its whole store.
const OFFER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Reads the store and makes sure that the log continues it. `addresses` are the peers that can heal it.
///
/// # Errors
/// See [`RecoveryError`].
pub async fn recover(
    log: Log,
    state_dir: &Path,
    incoming_dir: &Path,
    peers: &Peers,
    addresses: &[String],
) -> Result<Recovered, RecoveryError> {
    let purged: Option<LogId> = match log.state().purged {
        Some((_, mark)) => Some(codec::decode(&mark).map_err(RecoveryError::Log)?),
        None => None,
    };
    let dir = state_dir.to_owned();
    // It reads every row.
    let opened = tokio::task::spawn_blocking(move || open(&dir)).await.expect("opening never panics");
    let (store, why) = match opened {
        Ok((_, _, Stored { applied: Some(_), .. })) if log.state().is_blank() => {
            return Err(RecoveryError::LogMissing { dir: state_dir.to_owned() });
        }
        Ok((store, machine, stored)) if stored.applied >= purged => {
            return Ok(Recovered { log, store, machine, stored });
        }
        Ok((store, _, Stored { applied: None, .. })) => (store, "it is missing".to_owned()),
        Ok((store, ..)) => (store, "it is older than the log".to_owned()),
        Err(SnapshotError::Store(error @ StoreError::Damaged { .. })) => set_aside(state_dir, error.to_string())?,
        Err(SnapshotError::Rows(what)) => set_aside(state_dir, what)?,
        Err(SnapshotError::Version(source)) => {
            return Err(RecoveryError::Version { dir: state_dir.to_owned(), source });
        }
        Err(SnapshotError::Store(error)) => return Err(RecoveryError::Store(error)),
        Err(error) => return Err(error.into()),
    };
    if purged.is_none() {
        warn!(error = why, "the checkpoint is lost; replaying the whole log");
        return Ok(Recovered { log, store, machine: Machine::new(), stored: Stored::default() });
    }
    warn!(error = why, "the checkpoint is lost; asking the other nodes for a snapshot");
    for _ in 0..HEAL_ROUNDS {
        for address in addresses {
            match heal(&store, peers, address, incoming_dir, purged).await {
                Ok((store, machine, stored)) => {
                    info!(peer = address, "healed from another node's snapshot");
                    return Ok(Recovered { log, store, machine, stored });
                }
                Err(error) => warn!(peer = address, error = &error as &dyn std::error::Error, "no snapshot from there"),
            }
        }
    }
    Err(RecoveryError::Lost { dir: state_dir.to_owned(), why, first: log.state().first })
}

fn open(dir: &Path) -> Result<(Store, Machine, Stored), SnapshotError> {
    let store = Store::open(dir)?;
    let (machine, stored) = snapshot::load(&store)?;
    Ok((store, machine, stored))
}

/// Puts a damaged store out of the way. What is left of it is the operator's to look at.
fn set_aside(dir: &Path, why: String) -> Result<(Store, String), RecoveryError> {
    let aside = Store::set_aside(dir).map_err(RecoveryError::Store)?;
    warn!(error = why, "set the damaged checkpoint aside as {}", aside.display());
    Ok((Store::open(dir).map_err(RecoveryError::Store)?, why))
}

async fn heal(
    store: &Store,
    peers: &Peers,
    address: &str,
    dir: &Path,
    purged: Option<LogId>,
) -> Result<(Store, Machine, Stored), SnapshotError> {
    let source = peers.connect(address, None, Lane::Snapshot);
    let reply = source.call(kind::OPEN_SNAPSHOT, codec::encode(&purged), OFFER_TIMEOUT).await?;
    let offer: Result<Offer, String> = codec::decode(&reply)?;
    let offer = offer.map_err(|_| SnapshotError::NoOffer)?;
    if offer.meta.last_log_id < purged {
        return Err(SnapshotError::NoOffer);
    }
    let file = snapshot::fetch(&source, &offer, dir).await?;
    let store = store.clone();
    tokio::task::spawn_blocking(move || snapshot::import(&store, &file)).await.expect("an import never panics")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::Endpoint;
    use crate::state::rows;
    use crate::storage::{Change, LogOptions};

    #[tokio::test]
    async fn a_checkpoint_of_another_version_is_refused_and_left_where_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        let consensus = (vec![rows::RESERVED_CONSENSUS], codec::encode(&Stored::default()).to_vec());
        let meta = (vec![1], vec![99]);
        let rows = [consensus, meta].map(|(key, value)| Change::Put { key, value });
        Store::open(&state).and_then(|store| store.commit(rows)).expect("a store");

        let log = Log::open(&dir.path().join("log"), LogOptions::default()).expect("an empty log");
        let peers = Peers::new(Endpoint::default());
        let error = recover(log, &state, &dir.path().join("incoming"), &peers, &[]).await.expect_err("version 99");
        let RecoveryError::Version { source, .. } = error else { panic!("{error}") };
        assert!(matches!(source, state::CodecError::Version { found: 99, .. }));
        let store = Store::open(&state).expect("still there");
        assert!(matches!(snapshot::load(&store), Err(SnapshotError::Version(_))));
    }
}

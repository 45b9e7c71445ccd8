//! Snapshots for nodes that the log doesn't reach any more.
//!
//! A snapshot is the store's rows at one checkpoint, exported into one file that never changes. Whoever needs it reads
//! the file piece by piece, at its own pace, and can go on after a break: the leader only tells a follower *that* it
//! should ([`install`] follows), and a node whose store is lost asks by itself before it takes part again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::fs;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tracing::info;

use super::codec::{self, CodecError};
use super::replica::{Replica, Stored};
use super::types::{LogId, SnapshotMeta};
use super::wire::{Offer, ReadSnapshot, SnapshotPiece, kind};
use crate::rpc::{CallError, Peer};
use crate::state::{self, Machine, RestoreError, rows};
use crate::storage::{self, Row, Store, StoreError};

/// In bytes. A piece takes well under its deadline on a slow link, and its copy is all the memory a transfer needs.
const PIECE_BYTES: usize = 1024 * 1024;

/// For one piece. 1 MiB in 10 s is 100 KB/s: below that a follower could not keep up anyway.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

/// A snapshot could not be fetched or taken over. Trying again is safe.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The peer that keeps it didn't answer.
    #[error("the snapshot's source doesn't answer")]
    Source(#[from] CallError),
    /// Its answer made no sense.
    #[error("the snapshot's source answers in another version")]
    Wire(#[from] CodecError),
    /// The source has dropped the snapshot meanwhile; there is a newer one.
    #[error("the snapshot is gone at its source")]
    Gone,
    /// A piece arrived damaged, or what was kept of an earlier attempt is.
    #[error("the snapshot was damaged on its way, or where it was kept meanwhile")]
    Damaged,
    /// The file could not be written or read.
    #[error("the snapshot's file")]
    File(#[from] io::Error),
    /// The store could not be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its rows are of a version that this program doesn't read.
    #[error("the snapshot was written by another version of this program")]
    Version(#[source] state::CodecError),
    /// Its rows contradict one another.
    #[error("the snapshot's rows can't be read: {0}")]
    Rows(String),
    /// The source has nothing to offer.
    #[error("the source offers no snapshot")]
    NoOffer,
}

/// The snapshot that this node keeps ready for others: the last one exported, as long as the log
/// continues it.
#[derive(Clone, Debug)]
pub(super) struct Exports {
    dir: PathBuf,
    current: Arc<std::sync::Mutex<Option<(Offer, PathBuf)>>>,
    /// Held while one is being made.
    exporting: Arc<Mutex<()>>,
}

impl Exports {
    /// Drops what an earlier run left in `dir`.
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir, current: Arc::default(), exporting: Arc::default() })
    }

    /// What the snapshot at hand holds. Followers are told of this one rather than of the newest checkpoint, so that a
    /// broken transfer goes on where it stopped.
    pub(super) fn at_hand(&self) -> Option<SnapshotMeta> {
        self.current.lock().expect(LOCK).as_ref().map(|(offer, _)| offer.meta.clone())
    }

    /// Forgets the snapshot at hand if the log, which is about to be purged up to `entry`, won't continue it.
    pub(super) fn forget_before(&self, entry: u64) {
        let mut current = self.current.lock().expect(LOCK);
        if let Some((_, file)) =
            current.take_if(|(offer, _)| offer.meta.last_log_id.is_none_or(|last| last.index < entry))
        {
            // What can't be removed now is removed at the next start.
            let _ = std::fs::remove_file(file);
        }
    }

    /// A snapshot that holds at least everything up to `least`: the one at hand, or else a new one.
    pub(super) async fn offer(&self, replica: &Replica, least: Option<LogId>) -> Result<Offer, SnapshotError> {
        let _alone = self.exporting.lock().await;
        if let Some((offer, _)) = self.current.lock().expect(LOCK).as_ref()
            && offer.meta.last_log_id >= least
        {
            return Ok(offer.clone());
        }
        // No checkpoint may come between the rows and what they are said to hold.
        let _move = replica.begin_move().await;
        let meta: SnapshotMeta = replica.stored().into();
        let last = meta.last_log_id.ok_or(SnapshotError::NoOffer)?;
        let file = self.dir.join(format!("{}.snapshot", last.index));
        let (store, path) = (replica.store(), file.clone());
        let export = tokio::task::spawn_blocking(move || store.export(&path)).await.expect("an export never panics")?;
        info!(entry = last.index, bytes = export.bytes, "exported a snapshot");
        let offer = Offer { meta, bytes: export.bytes, digest: export.digest };
        let old = self.current.lock().expect(LOCK).replace((offer.clone(), file));
        if let Some((_, old)) = old {
            let _ = fs::remove_file(old).await;
        }
        Ok(offer)
    }

    /// What the store holds, in a file of its own that is gone when it is closed: whoever reads it takes as long as they
    /// like, and neither checkpoints nor followers wait.
    pub(super) async fn unnamed(&self, replica: &Replica) -> Result<std::fs::File, SnapshotError> {
        let _alone = self.exporting.lock().await;
        let _move = replica.begin_move().await;
        let (store, path) = (replica.store(), self.dir.join("backup"));
        let export = tokio::task::spawn_blocking(move || {
            store.export(&path)?;
            let file = std::fs::File::open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        });
        export.await.expect("an export never panics")
    }

    pub(super) async fn read(&self, request: &ReadSnapshot) -> io::Result<SnapshotPiece> {
        let path = match self.current.lock().expect(LOCK).as_ref() {
            Some((offer, path)) if offer.digest == request.digest => path.clone(),
            _ => return Ok(SnapshotPiece { data: None, crc32c: 0 }),
        };
        let mut file = fs::File::open(path).await?;
        file.seek(io::SeekFrom::Start(request.offset)).await?;
        let mut data = Vec::with_capacity(PIECE_BYTES);
        file.take(PIECE_BYTES as u64).read_to_end(&mut data).await?;
        Ok(SnapshotPiece { crc32c: crc32c::crc32c(&data), data: Some(Bytes::from(data)) })
    }
}

const LOCK: &str = "nothing panics under this lock";

/// Reads an offered snapshot from its source into `dir`, going on where an earlier attempt stopped. What it answers is
/// whole: a power cut tears what was kept of that attempt, and to the engine a snapshot that can't be installed is a disk
/// that has failed.
pub(super) async fn fetch(source: &Peer, offer: &Offer, dir: &Path) -> Result<PathBuf, SnapshotError> {
    fs::create_dir_all(dir).await?;
    let name: String = offer.digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let path = dir.join(name);
    let mut others = fs::read_dir(dir).await?;
    while let Some(other) = others.next_entry().await? {
        if other.path() != path {
            fs::remove_file(other.path()).await?;
        }
    }
    let mut file = fs::OpenOptions::new().create(true).append(true).open(&path).await?;
    let mut offset = file.metadata().await?.len();
    while offset < offer.bytes {
        let request = codec::encode(&ReadSnapshot { digest: offer.digest, offset });
        let reply = source.call(kind::READ_SNAPSHOT, request, PIECE_TIMEOUT).await?;
        let piece: SnapshotPiece = codec::decode(&reply)?;
        let data = piece.data.ok_or(SnapshotError::Gone)?;
        if data.is_empty() || crc32c::crc32c(&data) != piece.crc32c {
            return Err(SnapshotError::Damaged);
        }
        file.write_all(&data).await?;
        offset += data.len() as u64;
    }
    file.flush().await?;
    let fetched = path.clone();
    let verified = tokio::task::spawn_blocking(move || storage::verify_export(&fetched));
    if let Err(error) = verified.await.expect("verifying never panics") {
        // The next attempt begins anew.
        fs::remove_file(&path).await?;
        return Err(match error {
            StoreError::BadExport { .. } => SnapshotError::Damaged,
            error => error.into(),
        });
    }
    Ok(path)
}

/// Makes a received snapshot this node's state, on disk and in memory.
pub(super) async fn install(replica: &Replica, file: PathBuf, meta: &SnapshotMeta) -> io::Result<()> {
    let _move = replica.begin_move().await;
    let old = replica.store();
    let imported = tokio::task::spawn_blocking(move || import(&old, &file)).await.expect("an import never panics");
    let (store, machine, stored) = imported.map_err(io::Error::other)?;
    if SnapshotMeta::from(stored.clone()) != *meta {
        return Err(io::Error::other("the snapshot holds another state than was offered"));
    }
    info!(entry = meta.last_log_id.map(|last| last.index), "installed a snapshot");
    replica.replace(machine, stored, store);
    Ok(())
}

/// Replaces a store's rows by the content of `file`, and reads them.
pub(super) fn import(store: &Store, file: &Path) -> Result<(Store, Machine, Stored), SnapshotError> {
    let store = store.import(file);
    // Used up, or damaged: then the next attempt must not go on with it.
    std::fs::remove_file(file)?;
    let store = store?;
    let (machine, stored) = load(&store)?;
    Ok((store, machine, stored))
}

/// Reads the machine and what Raft wants to know from a store.
pub(super) fn load(store: &Store) -> Result<(Machine, Stored), SnapshotError> {
    read(store.all())
}

/// Reads the machine and what Raft wants to know from all rows. A store without rows is that of a node that has not
/// applied anything.
pub(super) fn read(rows: impl Iterator<Item = Result<Row, StoreError>>) -> Result<(Machine, Stored), SnapshotError> {
    let mut own_row = None;
    let rows = rows.inspect(|row| {
        if let Ok((key, value)) = row
            && *key == [rows::RESERVED_CONSENSUS]
        {
            own_row = Some(value.clone());
        }
    });
    let machine = Machine::restore(rows).map_err(|error| match error {
        RestoreError::Read(error) => SnapshotError::Store(error),
        RestoreError::Row { source: source @ state::CodecError::Version { .. }, .. } => SnapshotError::Version(source),
        error => SnapshotError::Rows(error.to_string()),
    })?;
    let stored = own_row.map(|row| codec::decode(&row)).transpose()?.unwrap_or_default();
    Ok((machine, stored))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use uuid::Uuid;

    use super::super::replica::Stored;
    use super::*;
    use crate::domain::NodeId;
    use crate::rpc::{Connection, Endpoint, Lane, Target};
    use crate::storage::Change;

    /// A node that lets its snapshots be read.
    async fn source(exports: Exports) -> Peer {
        let endpoint =
            Endpoint { cluster: Some(Uuid::from_u128(7)), node: Some(NodeId::new(1)), ..Endpoint::default() };
        let local = endpoint.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a caller");
            let mut connection = Connection::accept(&local, stream, |_| None).await.expect("a peer");
            while let Some(request) = connection.next_request().await {
                let piece = exports.read(&codec::decode(&request.payload).expect("a request")).await.expect("readable");
                request.replier.answer(codec::encode(&piece)).expect("as large as may be");
            }
        });
        Peer::new(endpoint, Target { address, node: None, lane: Lane::Snapshot })
    }

    #[tokio::test]
    async fn what_a_power_cut_left_of_an_earlier_attempt_is_fetched_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("state")).expect("an empty store");
        let applied = Some(LogId { leader_id: 1.into(), index: 7 });
        let stored = Stored { applied, ..Stored::default() };
        let rows = (0..100_u8).map(|number| Change::Put { key: vec![number], value: vec![number; 60_000] });
        store.commit(rows).expect("written");
        let exports = Exports::open(dir.path().join("export")).expect("an empty directory");
        let replica = Replica::new(Machine::new(), stored, store);
        let offer = exports.offer(&replica, applied).await.expect("exported");
        assert!(offer.bytes > 5 * PIECE_BYTES as u64);
        let source = source(exports).await;

        let incoming = dir.path().join("incoming");
        let whole = fetch(&source, &offer, &incoming).await.expect("fetched");
        let expected = fs::read(&whole).await.expect("there");
        // The length came to the disk, the bytes didn't.
        let torn = [&expected[..PIECE_BYTES], &[0; PIECE_BYTES]].concat();
        for left in [&torn[..], &vec![0; expected.len()], &[&expected[..], b"more"].concat()] {
            fs::write(&whole, left).await.expect("written");
            let error = fetch(&source, &offer, &incoming).await.expect_err("it is not whole");
            assert!(matches!(error, SnapshotError::Damaged), "{error}");
            assert_eq!(fetch(&source, &offer, &incoming).await.expect("anew"), whole);
            assert_eq!(fs::read(&whole).await.expect("there"), expected);
        }
        // What was left in order is used.
        fs::write(&whole, &expected[..PIECE_BYTES + 1]).await.expect("written");
        fetch(&source, &offer, &incoming).await.expect("the rest");
        assert_eq!(fs::read(&whole).await.expect("there"), expected);
    }
}

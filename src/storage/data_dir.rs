//! The data directory of a node: one process at a time, and who this node is.
//!
//! ```text
//! lock        held by the process that uses the directory
//! node.json   cluster and node, once the node belongs to a cluster; text, so that an operator can read it
//! log/        the Raft log
//! state/      the checkpoint store (and state-damaged-<n>/, one that was set aside)
//! incoming/   what is being received from a peer
//! admin.sock  where operators reach the process that uses the directory
//! ```
//!
//! A node id is safe only together with the log and vote beside it, hence it is kept here and nowhere else. What `log/`
//! and `state/` hold is their own business.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::PlanFile;
use super::durable::{create_directory, unfinished, write_atomically};
use crate::domain::NodeId;

/// Of `node.json`, and of what the log and the checkpoint keep for Raft. Another one is refused.
const FORMAT_VERSION: u32 = 2;

const LOCK: &str = "lock";
const NODE: &str = "node.json";
const LOG: &str = "log";
const STATE: &str = "state";
const STATE_SET_ASIDE: &str = "state-damaged-";
const INCOMING: &str = "incoming";
const EXPORT: &str = "export";
const PEERS: &str = "peers";
const PLAN: &str = "plan.json";
const ADMIN: &str = "admin.sock";

/// What an empty volume comes with.
const LOST_AND_FOUND: &str = "lost+found";

/// A data directory that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
}

/// Who a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster it belongs to, named when that was founded.
    pub cluster: Uuid,
    /// Its number there.
    pub node: NodeId,
}

/// Why a data directory can't be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// Another process uses it: stop that one, or choose another directory.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It holds something else: choose another directory.
    #[error("{} is not a data directory: it holds {}", path.display(), found.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// A name in it that no data directory has.
        found: PathBuf,
    },
    /// Written by another version of this program: use that one.
    #[error("{} has format version {found}, this program knows version {FORMAT_VERSION}", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// What it says.
        found: u32,
    },
    /// Not what was written. Restore the file, or let the node join anew with an empty directory.
    #[error("{} is damaged: {what}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What was found.
        what: String,
    },
    /// The operating system refused.
    #[error("{}: {doing}", path.display())]
    Io {
        /// What could not be done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl DataDir {
    /// Opens a data directory for this process alone. A missing one is created, for its owner's eyes only.
    ///
    /// # Errors
    /// [`DataDirError::InUse`], [`DataDirError::NotOurs`], [`DataDirError::Io`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        create_directory(path).map_err(io_error("cannot create", path))?;
        refuse_foreign(path)?;
        let lock = path.join(LOCK);
        let file = File::create(&lock).map_err(io_error("cannot open", &lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io_error("cannot lock", &lock)(error)),
        }
        let dir = Self { path: path.to_owned(), lock: file };
        create_directory(&dir.incoming_dir()).map_err(io_error("cannot create", &dir.incoming_dir()))?;
        Ok(dir)
    }

    /// Who the node is; `None` while it belongs to no cluster.
    ///
    /// # Errors
    /// [`DataDirError::Version`], [`DataDirError::Damaged`], [`DataDirError::Io`].
    pub fn identity(&self) -> Result<Option<Identity>, DataDirError> {
        let file = self.path.join(NODE);
        match fs::read_to_string(&file) {
            Ok(text) => decode(&file, &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(damaged(&file, "it is not text".into())),
            Err(error) => Err(io_error("cannot read", &file)(error)),
        }
    }

    /// Writes down who the node is, durably. A crash leaves the old identity or the new one.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn write_identity(&self, identity: &Identity) -> Result<(), DataDirError> {
        let file = self.path.join(NODE);
        write_atomically(&file, |out| out.write_all(encode(identity).as_bytes()))
            .map_err(io_error("cannot write", &file))
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For the Raft log.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// For the checkpoint store.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// For files that are being received. It exists.
    #[must_use]
    pub fn incoming_dir(&self) -> PathBuf {
        self.path.join(INCOMING)
    }

    /// For files that others read. Need not exist.
    #[must_use]
    pub fn export_dir(&self) -> PathBuf {
        self.path.join(EXPORT)
    }

    /// For what the node promises before it belongs to a cluster.
    #[must_use]
    pub fn plan_file(&self) -> PlanFile {
        PlanFile(self.path.join(PLAN))
    }

    /// The addresses of the other nodes, as last noted: whom to ask for help before consensus can tell. None if they
    /// can't be read, since nothing depends on them but that help.
    #[must_use]
    pub fn peers(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path.join(PEERS)).unwrap_or_default();
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Notes the addresses of the other nodes, durably.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn save_peers(&self, addresses: &[String]) -> Result<(), DataDirError> {
        let file = self.path.join(PEERS);
        let text: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        write_atomically(&file, |out| out.write_all(text.as_bytes())).map_err(io_error("cannot write", &file))
    }
}

impl Drop for DataDir {
    /// Closing the file is not enough: a process that is just being started shares it until it runs its own program.
    fn drop(&mut self) {
        // A failure leaves it to closing.
        let _ = self.lock.unlock();
    }
}

/// Only a directory that is empty, or in which a node has begun to settle, may become a data directory. In one that has
/// an identity, the operator may keep notes.
fn refuse_foreign(path: &Path) -> Result<(), DataDirError> {
    let cannot_read = || io_error("cannot read", path);
    if path.join(NODE).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(cannot_read())? {
        let name = entry.map_err(cannot_read())?.file_name();
        if !is_ours(&name) {
            return Err(DataDirError::NotOurs { path: path.to_owned(), found: name.into() });
        }
    }
    Ok(())
}

fn is_ours(name: &OsStr) -> bool {
    [LOCK, LOG, STATE, INCOMING, EXPORT, PEERS, PLAN, ADMIN, LOST_AND_FOUND].iter().any(|ours| name == *ours)
        || [NODE, PLAN].iter().any(|file| name == unfinished(Path::new(file)).as_os_str())
        || name.to_str().is_some_and(|name| name.starts_with(STATE_SET_ASIDE))
}

/// What `node.json` says of its version, whatever else it says.
#[derive(Deserialize)]
struct AnyVersion {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    format: u32,
    cluster: String,
    node: NodeId,
    /// Of cluster and node. A flipped bit must not make this node another one.
    crc32c: String,
}

impl NodeFile {
    fn new(identity: &Identity) -> Self {
        let cluster = identity.cluster.to_string();
        let crc = crc32c::crc32c(format!("{cluster} {}", identity.node).as_bytes());
        Self { format: FORMAT_VERSION, cluster, node: identity.node, crc32c: format!("{crc:08x}") }
    }
}

fn encode(identity: &Identity) -> String {
    let text = serde_json::to_string_pretty(&NodeFile::new(identity)).expect("numbers and text are JSON");
    text + "\n"
}

fn decode(file: &Path, text: &str) -> Result<Identity, DataDirError> {
    let not_json = |error: serde_json::Error| damaged(file, error.to_string());
    let AnyVersion { format } = serde_json::from_str(text).map_err(not_json)?;
    if format != FORMAT_VERSION {
        return Err(DataDirError::Version { file: file.to_owned(), found: format });
    }
    let said: NodeFile = serde_json::from_str(text).map_err(not_json)?;
    let cluster = Uuid::try_parse(&said.cluster).map_err(|error| damaged(file, error.to_string()))?;
    let identity = Identity { cluster, node: said.node };
    if NodeFile::new(&identity).crc32c == said.crc32c {
        Ok(identity)
    } else {
        Err(damaged(file, "cluster and node do not match their checksum".into()))
    }
}

fn damaged(file: &Path, what: String) -> DataDirError {
    DataDirError::Damaged { file: file.to_owned(), what }
}

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    move |source| DataDirError::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity =
        Identity { cluster: Uuid::from_u128(0x6f1c_9d0e_43ab_4c77_9e57_2b1d_0c55_a9f3), node: NodeId::new(3) };

    fn temporary() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn an_identity_survives_closing_and_can_be_read_by_people() {
        let dir = temporary();
        let path = dir.path().join("new/data");
        let data = DataDir::open(&path).expect("opens");
        assert_eq!(data.identity().expect("no identity yet"), None);
        data.write_identity(&IDENTITY).expect("writes");
        drop(data);

        let data = DataDir::open(&path).expect("opens again");
        assert_eq!(data.identity().expect("reads"), Some(IDENTITY));
        let text = fs::read_to_string(path.join(NODE)).expect("text");
        assert_eq!(
            text,
            "{\n  \"format\": 2,\n  \"cluster\": \"6f1c9d0e-43ab-4c77-9e57-2b1d0c55a9f3\",\n  \"node\": 3,\n  \"crc32c\": \"5f0d11d7\"\n}\n"
        );
    }

    #[test]
    fn a_second_owner_is_told_that_it_is_in_use() {
        let dir = temporary();
        let first = DataDir::open(dir.path()).expect("opens");
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::InUse { path }) if path == dir.path()));
        drop(first);
        DataDir::open(dir.path()).expect("opens when the first is gone");
    }

    #[cfg(unix)]
    #[test]
    fn a_closed_directory_can_be_opened_at_once_even_while_processes_are_started() {
        let dir = temporary();
        let starter = std::thread::spawn(|| {
            for _ in 0..100 {
                std::process::Command::new("true").status().expect("runs");
            }
        });
        while !starter.is_finished() {
            DataDir::open(dir.path()).expect("nobody has it open");
        }
        starter.join().expect("starts all");
    }

    #[cfg(unix)]
    #[test]
    fn a_new_directory_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = temporary();
        let data = DataDir::open(&dir.path().join("data")).expect("opens");
        assert_eq!(fs::metadata(data.path()).expect("metadata").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_of_something_else_is_refused_and_left_alone() {
        let dir = temporary();
        fs::write(dir.path().join("thesis.txt"), "chapter one").expect("writes");
        let refused = DataDir::open(dir.path());
        assert!(matches!(refused, Err(DataDirError::NotOurs { found, .. }) if found == Path::new("thesis.txt")));
        assert_eq!(fs::read_dir(dir.path()).expect("reads").count(), 1);
    }

    #[test]
    fn the_other_nodes_are_noted_beside_an_identity() {
        let temporary = temporary();
        let dir = DataDir::open(temporary.path()).expect("opens");
        assert!(dir.peers().is_empty());
        let addresses = ["127.0.0.1:1".to_owned(), "[::1]:2".to_owned()];
        dir.save_peers(&addresses).expect("writes");
        assert_eq!(dir.peers(), addresses);
    }

    #[test]
    fn a_directory_that_was_left_half_made_or_is_a_fresh_volume_is_accepted() {
        let dir = temporary();
        for name in [LOG, STATE, INCOMING, LOST_AND_FOUND, "state-damaged-1"] {
            fs::create_dir(dir.path().join(name)).expect("creates");
        }
        fs::write(dir.path().join("node.json.unfinished"), "{").expect("writes");
        assert_eq!(DataDir::open(dir.path()).expect("opens").identity().expect("reads"), None);
    }

    #[test]
    fn an_identity_with_any_byte_changed_or_missing_is_refused() {
        let dir = temporary();
        let data = DataDir::open(dir.path()).expect("opens");
        let file = dir.path().join(NODE);
        let whole = encode(&IDENTITY).into_bytes();
        let check = |bytes: &[u8], what: &str| {
            fs::write(&file, bytes).expect("writes");
            match data.identity() {
                // White space, or a digit in capitals, does not change what it says.
                Ok(Some(identity)) => assert_eq!(identity, IDENTITY, "{what}"),
                Ok(None) => panic!("{what}: taken for no identity"),
                Err(error) => assert!(error.to_string().contains(NODE), "{what}: {error}"),
            }
        };
        for at in 0..whole.len() {
            check(&whole[..at], "cut");
            for flip in [1, 2, 4, 8, 16, 32, 64, 128] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                check(&bytes, &format!("byte {at} xor {flip}"));
            }
        }
    }

    #[test]
    fn an_unknown_version_and_an_unknown_field_are_refused() {
        let dir = temporary();
        let data = DataDir::open(dir.path()).expect("opens");
        let file = dir.path().join(NODE);
        fs::write(&file, r#"{"format": 1, "anything": true}"#).expect("writes");
        assert!(matches!(data.identity(), Err(DataDirError::Version { found: 1, .. })));
        fs::write(&file, encode(&IDENTITY).replace("\"node\"", "\"extra\": 1, \"node\"")).expect("writes");
        assert!(matches!(data.identity(), Err(DataDirError::Damaged { what, .. }) if what.contains("extra")));
    }
}

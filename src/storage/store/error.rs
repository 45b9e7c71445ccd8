//! What the owner of a store can do about a failure.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the store did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another handle has it open, in this process or another one: wait until that one is closed.
    #[error("the store in {} is in use", dir.display())]
    Locked {
        /// The store's directory.
        dir: PathBuf,
    },
    /// Written by another version of this program: use that one.
    #[error("{} has format version {found}, this program knows version {known}", path.display())]
    Version {
        /// The store's directory, or the exported file.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// What this program writes and reads.
        known: u32,
    },
    /// Rows are missing or not what was committed. Nothing heals it in place: [`super::Store::set_aside`] the directory
    /// and fill a new one from a peer.
    #[error("the store in {} is damaged: {what}", dir.display())]
    Damaged {
        /// The store's directory.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// The file is not a whole export: fetch it again. The store is as it was.
    #[error("{} is not a whole backup or snapshot: {what}", file.display())]
    BadExport {
        /// The exported file.
        file: PathBuf,
        /// What was found.
        what: String,
    },
    /// A row is larger than the store takes. The store is as it was.
    #[error("a {what} of {len_bytes} bytes is more than a store takes")]
    TooLarge {
        /// A key or a value.
        what: &'static str,
        /// In bytes.
        len_bytes: usize,
    },
    /// [`super::Store::import`] has put another store into its place: use the one it returned.
    #[error("the store was replaced by an import")]
    Replaced,
    /// The operating system refused, or an earlier commit failed halfway. Whether a commit that ends so is in the store
    /// is unknown until the store is opened again.
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

impl StoreError {
    /// For `map_err`: names what was being done, and with which path.
    pub(super) fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

//! Why a log does not open, and why an open one stopped.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::segment::FORMAT_VERSION;

/// Why a log can't be opened or read. Nothing of it was changed.
#[derive(Debug, Error)]
pub enum LogError {
    /// The file system refused.
    #[error("can't {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// Bytes that were once acknowledged are not what was written. Skipping them would break a promise already given.
    #[error("{} is damaged at byte {offset}: {what}; restore the file, or wipe this node and join it anew", file.display())]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where in it the damage begins.
        offset: u64,
        /// What was found.
        what: &'static str,
    },
    /// A segment that holds entries which are not purged is gone.
    #[error("{} is missing; restore the file, or wipe this node and join it anew", file.display())]
    Missing {
        /// Where the segment should be.
        file: PathBuf,
    },
    /// The segment was written by a build with another format.
    #[error("{} has format version {found}, this build reads version {FORMAT_VERSION}", file.display())]
    Version {
        /// The segment.
        file: PathBuf,
        /// The version it names.
        found: u32,
    },
}

impl LogError {
    /// Whether it is only that there is no room for what was to be written. What a failed fsync has left on the disk is
    /// unknown, so that one is never tried again.
    pub(super) fn is_lack_of_room(&self) -> bool {
        matches!(self, Self::Io { action, source, .. }
            if *action != "sync" && matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// For `map_err`: names the file that an error of the file system is about.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::Io { source, .. } => source.kind(),
            LogError::Damaged { .. } | LogError::Missing { .. } | LogError::Version { .. } => {
                io::ErrorKind::InvalidData
            }
        };
        Self::new(kind, error)
    }
}

/// A write or an fsync failed, and the log took nothing from then on: after a failed fsync nobody can say what is on
/// the disk, and a second one may report success for pages that the kernel has dropped. The node must stop.
#[derive(Clone, Debug, Error)]
#[error("the log stopped")]
pub struct LogFailure(#[source] Arc<io::Error>);

impl LogFailure {
    pub(super) fn new(error: io::Error) -> Self {
        Self(Arc::new(error))
    }

    pub(super) fn to_io(&self) -> io::Error {
        io::Error::new(self.0.kind(), self.clone())
    }
}

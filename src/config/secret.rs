//! The secret that the nodes of a cluster share.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::warn;

/// What nodes prove to each other that they know. Never shown, never sent.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret(Vec<u8>);

/// Why a file is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// Not there, or not for us.
    #[error("the cluster secret file {} can't be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Shorter than [`ClusterSecret::LEN_BYTES_MIN`]: it could be guessed.
    #[error(
        "the cluster secret in {} has {len_bytes} bytes, at least {} are needed: make one with `openssl rand -hex 32`",
        path.display(),
        ClusterSecret::LEN_BYTES_MIN
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// What is left of it without whitespace around it.
        len_bytes: usize,
    },
    /// Longer than [`ClusterSecret::LEN_BYTES_MAX`]: certainly another file.
    #[error("{} is too long for a cluster secret: at most {} bytes", path.display(), ClusterSecret::LEN_BYTES_MAX)]
    Long {
        /// The file.
        path: PathBuf,
    },
}

impl ClusterSecret {
    /// 128 bits if they are random: out of reach of guessing.
    pub const LEN_BYTES_MIN: usize = 16;

    /// More than any key has, and little enough that a wrong path doesn't fill the memory.
    pub const LEN_BYTES_MAX: usize = 4096;

    /// Reads a secret, without the whitespace around it (editors end a file with a line feed). A file that every user
    /// of the machine can read is used, with a warning: it may be a mount whose permissions can't be changed.
    ///
    /// # Errors
    /// The file can't be read, or what it holds is too short or too long.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        let mut bytes = Vec::new();
        let bound = u64::try_from(Self::LEN_BYTES_MAX).expect("a constant") + 1;
        file.take(bound).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > Self::LEN_BYTES_MAX {
            return Err(SecretError::Long { path: path.to_owned() });
        }
        let secret = Self(bytes.trim_ascii().to_vec());
        if secret.0.len() < Self::LEN_BYTES_MIN {
            return Err(SecretError::Short { path: path.to_owned(), len_bytes: secret.0.len() });
        }
        if is_exposed(mode) {
            warn!(file = %path.display(), "every user of this machine can read the cluster secret: chmod o-rwx it");
        }
        Ok(secret)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret")
    }
}

/// Whether users who are neither the owner nor in the group may read or replace a file of this mode.
fn is_exposed(mode: u32) -> bool {
    mode & 0o006 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<ClusterSecret, SecretError> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("secret");
        std::fs::write(&path, content).expect("written");
        ClusterSecret::read(&path)
    }

    #[test]
    fn whitespace_around_a_secret_is_not_part_of_it() {
        assert_eq!(read(b" 0123456789abcdef\r\n").expect("a secret").as_bytes(), b"0123456789abcdef");
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused() {
        assert!(matches!(read(b"0123456789abcde\n"), Err(SecretError::Short { len_bytes: 15, .. })));
        assert!(matches!(read(&[b' '; 100]), Err(SecretError::Short { len_bytes: 0, .. })));
    }

    #[test]
    fn what_can_not_be_a_secret_is_refused() {
        assert!(matches!(read(&[b'a'; ClusterSecret::LEN_BYTES_MAX + 1]), Err(SecretError::Long { .. })));
        assert!(matches!(ClusterSecret::read(Path::new("/nowhere/secret")), Err(SecretError::Unreadable { .. })));
        assert!(matches!(ClusterSecret::read(Path::new("/")), Err(SecretError::Unreadable { .. })));
    }

    #[test]
    fn a_file_that_others_can_read_or_write_is_exposed() {
        assert!(is_exposed(0o644) && is_exposed(0o602));
        assert!(!is_exposed(0o600) && !is_exposed(0o640));
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", read(b"0123456789abcdef").expect("a secret")), "ClusterSecret");
    }
}

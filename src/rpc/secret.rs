//! What all nodes of a cluster know and nobody else does.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::seal::Key;

/// What all nodes of a cluster know and nobody else does. It never travels and is never printed.
///
/// Whoever gets a node to call can test guesses at leisure against its proof, so it should be random, not a word:
/// `head -c 32 /dev/urandom | base64`.
#[derive(Clone)]
pub struct Secret(Key);

/// Why there is no [`Secret`].
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("the secret file {} can not be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Shorter than [`Secret::LEN_BYTES_MIN`].
    #[error("a cluster secret has at least {} bytes, this one has {len_bytes}", Secret::LEN_BYTES_MIN)]
    TooShort {
        /// Without surrounding whitespace.
        len_bytes: usize,
    },
    /// Longer than [`Secret::LEN_BYTES_MAX`].
    #[error("a cluster secret has at most {} bytes: is this the right file?", Secret::LEN_BYTES_MAX)]
    TooLong,
}

impl Secret {
    /// In bytes: 128 bits, if they are random.
    pub const LEN_BYTES_MIN: usize = 16;
    /// In bytes. Only a wrong file is longer.
    pub const LEN_BYTES_MAX: usize = 4096;

    /// Takes the bytes without surrounding ASCII whitespace, which editors and `echo` add unasked.
    ///
    /// # Errors
    /// Too short or too long.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretError> {
        let bytes = bytes.trim_ascii();
        match bytes.len() {
            len_bytes if len_bytes < Self::LEN_BYTES_MIN => Err(SecretError::TooShort { len_bytes }),
            len_bytes if len_bytes > Self::LEN_BYTES_MAX => Err(SecretError::TooLong),
            _ => Ok(Self(Key::new(bytes))),
        }
    }

    /// Reads the secret from a file. Blocks.
    ///
    /// # Errors
    /// Unreadable, too short or too long.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let mut bytes = Vec::new();
        // Twice the limit: room for whitespace, but not for a file that never ends.
        let bytes_max = 2 * Self::LEN_BYTES_MAX as u64;
        File::open(path)
            .and_then(|file| file.take(bytes_max).read_to_end(&mut bytes))
            .map_err(|source| SecretError::Unreadable { path: path.to_owned(), source })?;
        Self::new(&bytes)
    }

    pub(super) fn key(&self) -> &Key {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_trimmed_and_bounded() {
        let tag = |bytes: &[u8]| Secret::new(bytes).map(|secret| secret.key().tag(&[b"x"]));
        assert_eq!(tag(b" 0123456789abcdef\r\n").expect("16 bytes"), tag(b"0123456789abcdef").expect("16 bytes"));
        assert!(matches!(tag(b" 0123456789abcde\n"), Err(SecretError::TooShort { len_bytes: 15 })));
        assert!(tag(&[b'x'; 4096]).is_ok());
        assert!(matches!(tag(&[b'x'; 4097]), Err(SecretError::TooLong)));
    }

    #[test]
    fn a_secret_comes_from_a_file_and_a_missing_file_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("secret");
        let error = Secret::from_file(&path).expect_err("no file");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        std::fs::write(&path, "0123456789abcdef\n").expect("written");
        assert!(Secret::from_file(&path).is_ok());
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new(b"0123456789abcdef").expect("16 bytes");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}

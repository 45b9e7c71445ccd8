//! What is made of files that may change.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::TlsError;
use super::pem::Pem;

/// Makes it of the files as they are.
type Make<T, const N: usize> = Box<dyn Fn(&[Pem; N]) -> Result<T, TlsError> + Send + Sync>;

/// What is made of some files, and made anew when they have changed.
pub(super) struct Reloaded<T, const N: usize> {
    paths: [PathBuf; N],
    make: Make<T, N>,
    current: RwLock<Arc<T>>,
    /// A digest of what the files held when they were looked at last, of use or not; `None` if they could not be read.
    seen: Mutex<Option<[u8; 32]>>,
}

impl<T, const N: usize> Reloaded<T, N> {
    /// Blocks.
    pub(super) fn new(paths: [PathBuf; N], make: Make<T, N>) -> Result<Self, TlsError> {
        let files = read(&paths)?;
        let current = RwLock::new(Arc::new(make(&files)?));
        Ok(Self { paths, make, current, seen: Mutex::new(Some(digest(&files))) })
    }

    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the files again. If they can't be used, which is told once, everything stays as it is. Blocks.
    pub(super) fn reload(&self) {
        let files = read(&self.paths);
        let found = files.as_ref().ok().map(digest);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *seen, found) == found {
            return;
        }
        let certificate = self.paths.first().map(|path| path.display().to_string()).unwrap_or_default();
        match files.and_then(|files| (self.make)(&files)) {
            Ok(made) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
                info!("using the certificate that is now in {certificate}");
            }
            Err(error) => {
                warn!(error = &error as &dyn Error, "can't use the files of {certificate} as they are now, keeping on");
            }
        }
    }
}

impl<T, const N: usize> fmt::Debug for Reloaded<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reloaded").field(&self.paths).finish()
    }
}

fn read<const N: usize>(paths: &[PathBuf; N]) -> Result<[Pem; N], TlsError> {
    let files: Vec<Pem> = paths.iter().map(|path| Pem::read(path)).collect::<Result<_, _>>()?;
    Ok(files.try_into().unwrap_or_else(|_| unreachable!("as many as there are paths")))
}

fn digest<const N: usize>(files: &[Pem; N]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for file in files {
        digest.update(Sha256::digest(&file.text));
    }
    digest.finalize().into()
}

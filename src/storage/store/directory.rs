//! The store's directory: who may use it, and which of the databases in it is the store.
//!
//! ```text
//! lock        held by the process that uses the store
//! building    a database that is being filled: never the store
//! state-<n>   the database with the highest number is the store
//! ```
//!
//! So one rename replaces the whole store. What a crash leaves over is removed when the store is opened.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use crate::storage::durable::{create_directory, parent, sync_directory};

const LOCK: &str = "lock";
const BUILDING: &str = "building";
const STATE: &str = "state-";

/// A locked directory. Dropping it gives the lock back.
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Directory {
    /// Creates it if need be, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        create_directory(path).map_err(StoreError::io("cannot create", path))?;
        let lock = path.join(LOCK);
        let file = File::create(&lock).map_err(StoreError::io("cannot open", &lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { dir: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(StoreError::io("cannot lock", &lock)(error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the database that is the store, if there is one.
    pub(super) fn newest(&self) -> Result<Option<u64>, StoreError> {
        self.numbers().map(|numbers| numbers.into_iter().max()).map_err(StoreError::io("cannot read", &self.path))
    }

    /// The place of the database with this number.
    pub(super) fn state(&self, number: u64) -> PathBuf {
        self.path.join(format!("{STATE}{number}"))
    }

    /// The place for a new database, empty.
    pub(super) fn building(&self) -> Result<PathBuf, StoreError> {
        let building = self.path.join(BUILDING);
        remove(&building).map_err(StoreError::io("cannot remove", &building))?;
        Ok(building)
    }

    /// Makes the database that was built, and synced, the store. sled may have it open: it knows its files by handle.
    pub(super) fn install(&self, number: u64) -> Result<(), StoreError> {
        fs::rename(self.path.join(BUILDING), self.state(number))
            .and_then(|()| sync_directory(&self.path))
            .map_err(StoreError::io("cannot put the new database in place", &self.path))
    }

    /// Removes every database but the store.
    pub(super) fn remove_leftovers(&self, store: u64) -> Result<(), StoreError> {
        let remove_all = || {
            remove(&self.path.join(BUILDING))?;
            for number in self.numbers()?.into_iter().filter(|number| *number != store) {
                remove(&self.state(number))?;
            }
            sync_directory(&self.path)
        };
        remove_all().map_err(StoreError::io("cannot remove what is left over", &self.path))
    }

    /// Renames the whole directory out of the way. Returns its new name.
    pub(super) fn set_aside(self) -> Result<PathBuf, StoreError> {
        let mut number = 1_u64;
        let target = loop {
            let mut name = self.path.file_name().unwrap_or(OsStr::new("state")).to_owned();
            name.push(format!("-damaged-{number}"));
            let target = self.path.with_file_name(name);
            if !target.exists() {
                break target;
            }
            number += 1;
        };
        fs::rename(&self.path, &target)
            .and_then(|()| sync_directory(parent(&target)))
            .map_err(StoreError::io("cannot set aside", &self.path))?;
        Ok(target)
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_prefix(STATE)?.parse::<u64>().ok()));
        }
        Ok(numbers)
    }
}

impl Drop for Directory {
    /// Closing the file is not enough: a process that is just being started shares it until it runs its own program.
    fn drop(&mut self) {
        // A failure leaves it to closing.
        let _ = self.lock.unlock();
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

//! What a node has promised to others before it belongs to a cluster: bytes to this module.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use super::DataDirError;
use super::data_dir::io_error;
use super::durable::{parent, sync_directory, write_atomically};

/// The file of a plan to found a cluster. Cheap to clone; whoever has the [`DataDir`](super::DataDir) has it alone.
#[derive(Clone, Debug)]
pub struct PlanFile(pub(super) PathBuf);

impl PlanFile {
    /// The plan, if there is one.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn read(&self) -> Result<Option<Vec<u8>>, DataDirError> {
        match fs::read(&self.0) {
            Ok(plan) => Ok(Some(plan)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("cannot read", &self.0)(error)),
        }
    }

    /// Keeps a plan, durably, in place of another one.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn write(&self, plan: &[u8]) -> Result<(), DataDirError> {
        write_atomically(&self.0, |out| out.write_all(plan)).map_err(io_error("cannot write", &self.0))
    }

    /// Removes the plan, if there is one, durably.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn remove(&self) -> Result<(), DataDirError> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => {
                removed.and_then(|()| sync_directory(parent(&self.0))).map_err(io_error("cannot remove", &self.0))
            }
        }
    }

    /// What to say if the plan can't be read.
    #[must_use]
    pub fn damaged(&self, what: String) -> DataDirError {
        DataDirError::Damaged { file: self.0.clone(), what }
    }
}

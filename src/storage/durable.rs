//! Names that survive a power cut: a file's bytes and the directory entry that leads to it are synced apart.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};

/// Makes the entries of a directory durable: what was created in it, renamed or removed.
pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Creates a directory and the missing ones above it, durably. Only the owner may enter what is created.
pub(super) fn create_directory(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent(dir);
    create_directory(parent)?;
    match private_directory().create(dir) {
        // Someone else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let what = format!("{} is not a directory", dir.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, what));
        }
        result => result?,
    }
    sync_directory(parent)
}

/// Fills `file` anew: under another name first, synced, then renamed. A crash leaves the old content or the new.
pub(super) fn write_atomically<T, E: From<io::Error>>(
    file: &Path,
    write: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    let unfinished = unfinished(file);
    let mut out = File::create(&unfinished)?;
    let written = write(&mut out).and_then(|result| {
        out.sync_all()?;
        fs::rename(&unfinished, file)?;
        sync_directory(parent(file))?;
        Ok(result)
    });
    if written.is_err() {
        // The first error is the one to tell; a later attempt overwrites what is left.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// The directory that holds `path`.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ if path.has_root() => path,
        _ => Path::new("."),
    }
}

/// The name that [`write_atomically`] writes `file` under until it is complete.
pub(super) fn unfinished(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".unfinished");
    name.into()
}

#[cfg(unix)]
fn private_directory() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt as _;

    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

#[cfg(not(unix))]
fn private_directory() -> DirBuilder {
    DirBuilder::new()
}

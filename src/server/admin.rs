//! The socket through which operators reach a node.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 16;

/// The socket's file, which is removed with this value.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What stays is taken for what it is at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens at a path, for its owner only.
///
/// # Errors
/// Another process listens there, something else is there, or the path is none for a socket.
pub(super) fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile(path.to_owned());
    // Nobody can connect before it listens.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok((socket.listen(BACKLOG)?, file))
}

/// Removes the file of a process that was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => Err(ErrorKind::AlreadyExists.into()),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(error) => Err(error),
            Ok(_) => Err(ErrorKind::AddrInUse.into()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_its_owner_and_takes_the_place_of_one_that_was_left_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("admin.sock");
        let (listener, file) = listen(&path).expect("free");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        UnixStream::connect(&path).expect("somebody listens");
        assert_eq!(listen(&path).expect_err("in use").kind(), ErrorKind::AddrInUse);

        drop(listener);
        let (_listener, new) = listen(&path).expect("left behind");
        drop(new);
        assert!(!path.exists());
        drop(file);

        fs::write(&path, "of somebody").expect("written");
        assert_eq!(listen(&path).expect_err("not a socket").kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("still there"), "of somebody");
    }
}

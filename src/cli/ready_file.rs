//! The file that tells programs that the node serves, and where.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::server::Started;

/// Writes the file in one step, so that whoever waits for it never reads half of it.
///
/// # Errors
/// It can't be written.
pub(super) fn write(path: &Path, started: &Started) -> io::Result<()> {
    let mut json = serde_json::to_vec_pretty(started)?;
    json.push(b'\n');
    let mut beside = OsString::from(path);
    beside.push(".new");
    fs::write(&beside, json)?;
    fs::rename(&beside, path)
}

/// Removes the file of an earlier start, which would tell of a node that is gone.
///
/// # Errors
/// It is there, and can't be removed, or is something else: /dev/null would be gone for everybody.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(ErrorKind::AlreadyExists, "it is no file")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::domain::NodeId;

    #[test]
    fn the_file_is_whole_and_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("ready");
        let address = "127.0.0.1:7375".parse().expect("an address");
        let started = Started {
            version: "1".to_owned(),
            pid: 2,
            cluster: "c".to_owned(),
            node: NodeId::new(3),
            listen: address,
            url: "u".to_owned(),
            peer_listen: address,
            peer: "p".to_owned(),
            data_dir: "d".into(),
            serves_tls: false,
            asks_for_tokens: true,
        };
        write(&path, &started).expect("written");
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
        let expected = serde_json::json!({
            "version": "1", "pid": 2, "cluster": "c", "node": 3, "listen": "127.0.0.1:7375", "url": "u",
            "peerListen": "127.0.0.1:7375", "peer": "p", "dataDir": "d", "servesTls": false, "asksForTokens": true,
        });
        assert_eq!(json, expected);
        assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 1);

        remove(&path).expect("removed");
        assert!(!path.exists());
        remove(&path).expect("nothing to remove");

        let socket = directory.path().join("socket");
        let _listener = UnixListener::bind(&socket).expect("a socket");
        remove(&socket).expect_err("it is no file");
        assert!(socket.exists());
    }
}

//! What the service manager is told, as sd_notify(3) has it: systemd, or whoever else has set `NOTIFY_SOCKET`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager, if there is one that waits for news.
#[derive(Debug, Default)]
pub(super) struct Service {
    socket: Option<UnixDatagram>,
    /// Whether it wants to see that the process has not got stuck (`WatchdogSec=`).
    watches: bool,
    /// What it was told last.
    condition: String,
}

impl Service {
    /// The one that the environment names.
    ///
    /// # Errors
    /// Nobody listens where it says.
    pub(super) fn of(environment: &[(OsString, OsString)]) -> io::Result<Self> {
        let variable = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str());
        let socket = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()).map(connect).transpose()?;
        Ok(Self { socket, watches: variable("WATCHDOG_USEC").is_some(), condition: String::new() })
    }

    /// Tells that the node serves. Units that come after it may start.
    ///
    /// # Errors
    /// The service manager can't be told, and would wait for ever.
    pub(super) fn ready(&self) -> io::Result<()> {
        self.tell("READY=1")
    }

    /// Tells how the node is, if that is news, and that the process goes on.
    pub(super) fn is(&mut self, condition: String) {
        // What is lost now is told a second later; but for the condition, which only people read.
        if self.watches {
            let _ = self.tell("WATCHDOG=1");
        }
        if condition != self.condition {
            let _ = self.tell(&format!("STATUS={condition}"));
            self.condition = condition;
        }
    }

    /// Tells that the node is about to stop.
    pub(super) fn stops(&self) {
        // If it is lost, the end comes as a surprise.
        let _ = self.tell("STOPPING=1\nSTATUS=stopping");
    }

    fn tell(&self, news: &str) -> io::Result<()> {
        self.socket.as_ref().map_or(Ok(()), |socket| socket.send(news.as_bytes()).map(drop))
    }
}

/// A name that begins with `@` is one of Linux' abstract namespace, which has no files.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

//! Servers under load: started with a directory of their own, looked at, and gone when they are dropped.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use crate::meter::process;

/// For a server to serve, or a cluster to be complete.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Between two looks at something that is about to happen.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// A program that runs, and what it has started.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    child: Child,
    /// Its output.
    log: PathBuf,
}

impl Server {
    /// Starts a program, and writes what it says into this file.
    pub(super) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = File::create(log).with_context(|| format!("can't write {}", log.display()))?;
        let same = file.try_clone().context("no second handle of a file")?;
        let child = command.stdin(Stdio::null()).stdout(same).stderr(file).spawn();
        let child = child.with_context(|| format!("can't start {name}"))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has done something. `look` answers with what is waited for, once it is there.
    ///
    /// # Errors
    /// It has ended, or it takes too long.
    pub(super) async fn wait_for<T>(&mut self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
        let give_up = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(found) = look().await {
                return Ok(found);
            }
            let Self { name, child, log } = self;
            if let Some(status) = child.try_wait().with_context(|| format!("can't tell whether {name} runs"))? {
                bail!("{name} ended, {status}: {}", said(log));
            }
            ensure!(Instant::now() < give_up, "{name}: no {what}: {}", said(log));
            sleep(POLL_EVERY).await;
        }
    }

    /// Waits until it takes connections.
    pub(super) async fn wait_for_port(&mut self, address: SocketAddr) -> Result<()> {
        self.wait_for("port", async || TcpStream::connect(address).await.ok().map(drop)).await
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        // Some start workers, which outlive them. Whatever has ended by itself is none to worry about.
        for pid in process::tree(self.pid()) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of what it said.
fn said(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// A port that nobody listens on, and that the kernel gives to nobody else as long as this process runs, also while the server
/// that is to listen there is down: what is bound to it never listens.
pub(super) fn free_address() -> Result<SocketAddr> {
    static BOUND: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    let bound = || {
        let socket = TcpSocket::new_v4()?;
        // Of two that say so one may listen, if the other one doesn't.
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        io::Result::Ok((socket.local_addr()?, socket))
    };
    let (address, socket) = bound().context("no free port")?;
    BOUND.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    Ok(address)
}

/// Writes a configuration whose `{name}` are replaced by their values.
pub(super) fn configure(file: &Path, template: &str, values: &[(&str, &str)]) -> Result<()> {
    let text =
        values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value));
    fs::write(file, text).with_context(|| format!("can't write {}", file.display()))
}

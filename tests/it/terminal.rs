//! A terminal, for programs that behave otherwise there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::cli::repl;
use crate::cluster::until;

/// The program on a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    device: OwnedFd,
    seen: Arc<Mutex<String>>,
}

impl Terminal {
    pub(crate) fn start(words: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("ours");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let device = open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("the device");
        tcsetwinsize(&device, Winsize { ws_row: 20, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).expect("resized");
        let side = || Stdio::from(device.try_clone().expect("a copy"));
        let child = repl(words).stdin(side()).stdout(side()).stderr(side()).spawn().expect("it runs");
        let keys = File::from(master);
        let (mut output, seen) = (keys.try_clone().expect("a copy"), Arc::new(Mutex::new(String::new())));
        let shown = Arc::clone(&seen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                *shown.lock().expect("no panic") += &String::from_utf8_lossy(&bytes[..count]);
            }
        });
        Self { child, keys, device, seen }
    }

    /// All that was ever written to it.
    pub(crate) fn seen(&self) -> String {
        self.seen.lock().expect("no panic").clone()
    }

    /// Waits until this is written to it.
    pub(crate) async fn says(&self, text: &str) {
        until(&format!("{text} on the terminal"), async || self.seen().contains(text).then_some(())).await;
    }

    /// Waits until the newest picture of a whole screen has all of this.
    pub(crate) async fn shows(&self, parts: &[&str]) -> String {
        until(&format!("{parts:?} on the screen"), async || {
            let seen = self.seen();
            let picture = seen.rsplit("\x1b[H").find(|picture| picture.ends_with("\x1b[J"))?;
            parts.iter().all(|part| picture.contains(part)).then(|| picture.to_owned())
        })
        .await
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it reads");
    }

    /// Whether it shows what is typed.
    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(self.device.as_fd()).expect("a terminal").local_modes.contains(LocalModes::ECHO)
    }

    pub(crate) async fn ends(&mut self) -> Option<i32> {
        until("it ends", async || self.child.try_wait().expect("a process")).await.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

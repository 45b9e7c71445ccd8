//! What takes a while, told on standard error to whoever looks at a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often it is told. What is done sooner is not told at all.
const EVERY: Duration = Duration::from_millis(500);

/// Back to the beginning of the line, which is emptied (ECMA-48).
const ANEW: &str = "\r\x1b[K";

/// Something that goes on until this is dropped; then nothing is left of it on the terminal.
#[derive(Debug)]
pub(super) struct Progress {
    bytes: Arc<AtomicU64>,
    telling: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    pub(super) fn start(what: &'static str) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let telling = io::stderr().is_terminal().then(|| {
            let (end, ended) = mpsc::channel();
            let (bytes, begun) = (Arc::clone(&bytes), Instant::now());
            let tell = move || {
                while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    write(&format!("{ANEW}{}", line(what, begun.elapsed(), bytes.load(Ordering::Relaxed))));
                }
                write(ANEW);
            };
            (end, thread::spawn(tell))
        });
        Self { bytes, telling }
    }

    /// Counts what is written.
    pub(super) fn counting<W: Write>(&self, out: W) -> Counting<W> {
        Counting { out, bytes: Arc::clone(&self.bytes) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((end, telling)) = self.telling.take() {
            drop(end);
            // What comes next begins on an empty line.
            let _ = telling.join();
        }
    }
}

/// Passes on what is written, and counts it.
#[derive(Debug)]
pub(super) struct Counting<W> {
    out: W,
    bytes: Arc<AtomicU64>,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.bytes.fetch_add(count.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn line(what: &str, elapsed: Duration, bytes: u64) -> String {
    let seconds = elapsed.as_secs();
    match bytes {
        0 => format!("{what}, {seconds} s"),
        1..1_048_576 => format!("{what}, {seconds} s, {} KiB", bytes / 1024),
        _ => format!("{what}, {seconds} s, {} MiB", bytes / 1_048_576),
    }
}

fn write(text: &str) {
    // Nobody sees it then.
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_for_how_long_and_how_much() {
        let line = |bytes| line("saving", Duration::from_millis(61_900), bytes);
        assert_eq!(line(0), "saving, 61 s");
        assert_eq!(line(1_536), "saving, 61 s, 1 KiB");
        assert_eq!(line(3_000_000_000), "saving, 61 s, 2861 MiB");
    }

    #[test]
    fn what_is_written_is_counted() {
        let progress = Progress::start("saving");
        let mut out = Vec::new();
        progress.counting(&mut out).write_all(b"abc").expect("written");
        assert_eq!((out.as_slice(), progress.bytes.load(Ordering::Relaxed)), (&b"abc"[..], 3));
    }
}

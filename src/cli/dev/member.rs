//! One node of a cluster for development: its process, and what becomes of it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Event;
use crate::cli::admin::member;

/// A node, whether it runs or not.
pub(super) struct Member {
    /// From 1. It is the node's id, too.
    pub(super) number: u16,
    /// What it is started with, beside its addresses and its directory.
    pub(super) words: Vec<OsString>,
    /// Whether it ever has.
    pub(super) has_served: bool,
    port: u16,
    directory: PathBuf,
    process: Option<Child>,
}

impl Member {
    pub(super) fn new(number: u16, port: u16, directory: PathBuf) -> Self {
        Self { number, words: Vec::new(), has_served: false, port, directory, process: None }
    }

    /// Where clients reach it.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it can be asked about the cluster.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("admin.sock")
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// # Errors
    /// The operating system refuses.
    pub(super) fn start(&mut self, program: &Path, events: &Sender<Event>) -> anyhow::Result<()> {
        let mut process = Command::new(program)
            .arg("--listen")
            .arg(format!("127.0.0.1:{}", self.port))
            .arg("--data-dir")
            .arg(&self.directory)
            .args(["--log-format", "json"])
            .args(&self.words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for this process, which stops all of them.
            .process_group(0)
            .spawn()
            .with_context(|| format!("can't start node {}", self.number))?;
        let number = self.number;
        let (out, log) = (process.stdout.take().context("piped")?, process.stderr.take().context("piped")?);
        let tell = events.clone();
        thread::spawn(move || {
            // The first thing it prints is that it serves.
            if BufReader::new(out).lines().map_while(Result::ok).next().is_some() {
                let _ = tell.send(Event::Serves { node: number });
            }
        });
        let tell = events.clone();
        thread::spawn(move || {
            let told = BufReader::new(log).lines().map_while(Result::ok).filter_map(|line| worth_telling(&line));
            let mut last = None;
            for text in told {
                // Of what a node says of each of its connections to another one, once is enough.
                if last.as_ref() != Some(&text) {
                    let _ = tell.send(Event::Says { node: number, text: text.clone() });
                }
                last = Some(text);
            }
            let _ = tell.send(Event::Ended { node: number });
        });
        self.process = Some(process);
        Ok(())
    }

    /// As a crash would.
    pub(super) fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended already.
            let _ = process.kill();
        }
    }

    pub(super) fn ask_to_stop(&mut self) {
        if let Some(process) = &self.process
            && let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw)
        {
            // As above.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for its end; answers how it was.
    pub(super) fn wait(&mut self) -> String {
        let status = self.process.take().map(|mut process| process.wait());
        match status {
            Some(Ok(status)) => status.to_string(),
            Some(Err(error)) => error.to_string(),
            None => "it was not running".to_owned(),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.wait();
    }
}

/// What a line of a node's log says, if it is a warning or worse, or an error from before there was a log.
fn worth_telling(line: &str) -> Option<String> {
    let Ok(entry) = serde_json::from_str::<Value>(line) else { return Some(line.to_owned()) };
    let level = member(&entry, "level").as_str()?;
    if !matches!(level, "WARN" | "ERROR") {
        return None;
    }
    let message = member(&entry, "message").as_str()?;
    let peer = member(&entry, "peer").as_str().map(|peer| format!(" ({peer})")).unwrap_or_default();
    let error = member(&entry, "error").as_str().map(|error| format!(": {error}")).unwrap_or_default();
    Some(format!("{message}{peer}{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_what_somebody_should_know_is_told() {
        let line = |level: &str| format!(r#"{{"level":"{level}","message":"no room","error":"28","target":"repl"}}"#);
        assert_eq!(worth_telling(&line("WARN")), Some("no room: 28".to_owned()));
        assert_eq!(worth_telling(&line("INFO")), None);
        let of_peer = r#"{"level":"WARN","message":"no connection","peer":"a:1","lane":"Append","error":"refused"}"#;
        assert_eq!(worth_telling(of_peer), Some("no connection (a:1): refused".to_owned()));
        assert_eq!(worth_telling("error: the port is taken"), Some("error: the port is taken".to_owned()));
    }
}

//! One node: a process of its own, and what it leaves on disk.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde::Deserialize;

use super::fsync::Fsync;
use super::patience::until;
use super::place::Place;

/// Lines of a node's log that are shown when a test fails.
const TAIL_LINES: usize = 60;

/// Why an order is not done that may be done a moment later.
const MAY_PASS: [&str; 8] = [
    "(no-leader)",
    "(busy)",
    "(quorum-at-risk)",
    "(not-caught-up)",
    "(node-unreachable)",
    "(outcome-unknown)",
    "no answer within",
    "not all nodes could be compared",
];

/// A node that a test starts, stops, kills and starts again. Its directory outlives its process; the process does not
/// outlive this handle.
#[derive(Debug)]
pub(crate) struct Node {
    directory: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    /// Where it listens for clients and for peers, unless its arguments say so. Its own also while it is down.
    places: [Place; 2],
    /// The network namespace it runs in; that of the tests unless there is one.
    namespace: Option<String>,
    /// Set while files can't grow beyond a few megabytes: to who writes them the disk is full.
    limited: bool,
    /// What it may have, if not as much as the tests.
    descriptors: Option<u64>,
    fsync: Option<Fsync>,
    /// Of its environment.
    variables: Vec<(String, String)>,
    child: Option<Child>,
    started: Option<Started>,
}

/// What the ready file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Started {
    pub(crate) cluster: String,
    pub(crate) node: u64,
    pub(crate) url: String,
    pub(crate) peer: String,
}

/// What a process takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// That is resident.
    pub(crate) memory_kib: u64,
    pub(crate) descriptors: u64,
    /// Of the data directory.
    pub(crate) disk_kib: u64,
}

impl Node {
    /// A node that keeps everything in `directory`. Not started yet.
    pub(crate) fn new(directory: &Path, arguments: &[&str]) -> Self {
        fs::create_dir_all(directory).expect("a directory");
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self {
            directory: directory.to_owned(),
            program: env!("CARGO_BIN_EXE_repl").into(),
            arguments,
            places: [Place::new(), Place::new()],
            namespace: None,
            limited: false,
            descriptors: None,
            fsync: None,
            variables: Vec::new(),
            child: None,
            started: None,
        }
    }

    /// Starts the process.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let _ = fs::remove_file(self.ready_file());
        let [listen, peer_listen] = self.places.each_ref().map(|place| &place.address);
        let (data_dir, ready_file) = (self.data_dir(), self.ready_file());
        let defaults: [(&str, &OsStr); 6] = [
            ("--listen", listen.as_ref()),
            ("--peer-listen", peer_listen.as_ref()),
            ("--data-dir", data_dir.as_ref()),
            ("--ready-file", ready_file.as_ref()),
            ("--log-format", "text".as_ref()),
            ("--drain-window", "1s".as_ref()),
        ];
        let program = self.program.to_str().expect("a path of ASCII");
        // Each of the wrappers becomes what it wraps.
        // Not `ip netns exec`, which would also keep every disk mounted that is mounted now.
        let ulimit = self.descriptors.map(|count| format!(r#"ulimit -n {count}; exec "$0" "$@""#));
        let namespace = self.namespace.as_ref().map(|namespace| format!("--net=/run/netns/{namespace}"));
        let namespace = namespace.iter().flat_map(|namespace| ["nsenter", namespace]);
        // Without the signal, the write fails.
        let limit =
            ["sh", "-c", r#"trap "" XFSZ; ulimit -f 4000; exec "$0" "$@""#].into_iter().filter(|_| self.limited);
        let descriptors = ulimit.iter().flat_map(|script| ["sh", "-c", script]);
        let mut words = namespace.chain(limit).chain(descriptors).chain([program]);
        let mut command = Command::new(words.next().expect("the program at least"));
        command.args(words);
        command.env_clear().envs(self.fsync.iter().flat_map(Fsync::variables)).envs(self.variables.iter().cloned());
        for (flag, value) in defaults {
            if !self.arguments.iter().any(|argument| argument == flag) {
                command.arg(flag).arg(value);
            }
        }
        let log = OpenOptions::new().create(true).append(true).open(self.log_file()).expect("a log file");
        let child = command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.expect("it starts"));
    }

    /// Starts the process and waits until it serves.
    pub(crate) async fn start(&mut self) -> Started {
        self.spawn();
        self.serves().await
    }

    /// Waits until the process that was started serves.
    pub(crate) async fn serves(&mut self) -> Started {
        let started = until("the node serves", async || {
            if let Some(status) = self.exited() {
                panic!("it ends with {status} instead:\n{}", self.log());
            }
            serde_json::from_slice(&fs::read(self.ready_file()).ok()?).ok()
        });
        let started: Started = started.await;
        self.started = Some(started.clone());
        started
    }

    /// Starts the process, and answers whether it serves; if not it has ended with 1.
    pub(crate) async fn comes_up(&mut self) -> bool {
        self.spawn();
        let ended = until("the node serves, or ends", async || match self.exited() {
            Some(status) => Some(Some(status.code())),
            None => fs::read(self.ready_file()).is_ok().then_some(None),
        });
        let ended = ended.await;
        assert!(matches!(ended, None | Some(Some(1))), "it ends with {ended:?}");
        ended.is_none()
    }

    /// Starts the process, which is expected to end by itself. Answers its exit code, and all that it has said.
    pub(crate) async fn fails(&mut self) -> (Option<i32>, String) {
        self.spawn();
        self.ends().await
    }

    /// Waits until the process has ended by itself. Answers its exit code, and all that it has said.
    pub(crate) async fn ends(&mut self) -> (Option<i32>, String) {
        let status = until("the node ends", async || self.exited()).await;
        (status.code(), self.log())
    }

    /// As when the power of this machine fails, but for what it has written: that stays.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is ours to kill");
        child.wait().expect("it ends");
    }

    /// Asks the process to end in order, and waits until it has. Answers its exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.ends().await.0
    }

    /// Sends a signal, such as STOP, after which the process stands still until CONT.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is our child");
    }

    /// Waits until nothing in the process runs, after it was sent `STOP`. Who waits for the disk is stopped as soon as that
    /// answers.
    pub(crate) async fn stands_still(&self) {
        let tasks = format!("/proc/{}/task", self.child.as_ref().expect("it runs").id());
        let stands = |task: PathBuf| {
            // Threads end, too, until all stand still.
            let Ok(stat) = fs::read_to_string(task.join("stat")) else { return true };
            // Behind the name, which stands in parentheses.
            matches!(stat.rsplit_once(") ").map(|(_, rest)| &rest[..1]), Some("T" | "D"))
        };
        until("the node stands still", async || {
            let mut tasks = fs::read_dir(&tasks).expect("it is there");
            tasks.all(|task| stands(task.expect("a task").path())).then_some(())
        })
        .await;
    }

    /// Runs `repl cluster` with these words against this node. Answers its exit code, and what it printed.
    pub(crate) async fn order(&self, words: &[&str]) -> (Option<i32>, String) {
        self.run(&[&["cluster"], words].concat()).await
    }

    /// Runs `repl` with these words against this node. Answers its exit code, and what it printed.
    pub(crate) async fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(&self.program);
        command.env_clear().args(words).arg("--data-dir").arg(self.data_dir());
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8"))
    }

    /// As [`Self::order`], until it is done: whether nodes answer in time is not up to the order. Answers what it printed.
    pub(crate) async fn ordered(&self, words: &[&str]) -> String {
        until(&format!("{words:?} is done"), async || {
            let (code, text) = self.order(words).await;
            let may_pass = MAY_PASS.iter().any(|why| text.contains(why));
            assert!(code == Some(0) || may_pass, "{words:?}: {code:?}, {text}");
            (code == Some(0)).then_some(text)
        })
        .await
    }

    /// Whether the process that was started serves, or has served.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready_file().exists()
    }

    /// Whether there is a process. It may stand still, and it may not serve yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.exited().is_none() && self.child.is_some()
    }

    /// What the process takes now.
    pub(crate) fn usage(&self) -> Usage {
        let process = format!("/proc/{}", self.child.as_ref().expect("it runs").id());
        let status = fs::read_to_string(format!("{process}/status")).expect("it runs");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Usage {
            memory_kib: memory.and_then(|text| text.parse().ok()).expect("a number"),
            descriptors: fs::read_dir(format!("{process}/fd")).expect("it runs").count() as u64,
            disk_kib: disk_bytes(&self.data_dir()) / 1024,
        }
    }

    /// Removes all that the node has stored, so that it starts as a new one.
    pub(crate) fn wipe(&self) {
        assert!(self.child.is_none(), "it runs");
        // Not the directory itself, which may be a disk.
        for entry in fs::read_dir(self.data_dir()).expect("it had data") {
            let path = entry.expect("an entry").path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.expect("removed");
        }
    }

    /// From the next start on it runs in this network namespace.
    pub(crate) fn set_namespace(&mut self, namespace: String) {
        self.namespace = Some(namespace);
    }

    /// Replaces the arguments of the next start.
    pub(crate) fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    }

    /// From the next start on it joins by way of these peers if it has no data, whatever it did at first.
    pub(crate) fn join_by_way_of(&mut self, peers: &[String]) {
        let mut words = std::mem::take(&mut self.arguments).into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--bootstrap" => {}
                "--join" => drop(words.next()),
                _ => self.arguments.push(word),
            }
        }
        self.arguments.extend(peers.iter().flat_map(|peer| ["--join".to_owned(), peer.clone()]));
    }

    /// From the next start on it uses this one.
    pub(crate) fn set_fsync(&mut self, fsync: Fsync) {
        self.fsync = Some(fsync);
    }

    /// From the next start on it runs this build of the program.
    pub(crate) fn set_program(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// From the next start on it has this variable.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// From the next start on its disk is as if it were full, or is not any more.
    pub(crate) fn limit(&mut self, limited: bool) {
        self.limited = limited;
    }

    /// From the next start on it may have so many descriptors.
    pub(crate) fn limit_descriptors(&mut self, count: u64) {
        self.descriptors = Some(count);
    }

    /// From now on it may have so many descriptors more than it has.
    pub(crate) fn leave_descriptors(&self, count: u64) {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(self.usage().descriptors + count), maximum };
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("it is our child");
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> &str {
        &self.started().url
    }

    /// What the node told when it served first.
    pub(crate) fn started(&self) -> &Started {
        self.started.as_ref().expect("it has served")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Waits until the node has said something on standard error.
    pub(crate) async fn says(&self, text: &str) {
        until(&format!("the node says: {text}"), async || self.log().contains(text).then_some(())).await;
    }

    /// All that the node's processes have said on standard error.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("it is our child")?;
        self.child = None;
        Some(status)
    }

    fn ready_file(&self) -> PathBuf {
        self.directory.join("ready.json")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }
}

/// Of all files that are there; those that go away meanwhile don't count.
fn disk_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            let log = self.log();
            let skipped = log.lines().count().saturating_sub(TAIL_LINES);
            let tail: Vec<&str> = log.lines().skip(skipped).collect();
            eprintln!("--- {}\n{}", self.log_file().display(), tail.join("\n"));
        }
    }
}

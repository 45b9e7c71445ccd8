//! Workloads, and the child processes they run in.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// A store under load.
pub(crate) trait Workload: Default {
    /// Names the workload to the child process.
    const NAME: &'static str;

    /// About how many steps make a round of a test.
    const STEPS: u64;

    /// Longer than a step takes, so that what comes a random part of it later comes anywhere in a step.
    const STEP_TIME_MAX: Duration;

    /// How many steps can be done, or begun, that the process has not acknowledged yet.
    const UNDER_WAY_MAX: u64;

    /// Runs steps until the process is killed or the store fails. The steps follow from what is in `dir` and from the
    /// seed. `acknowledge` is called with the number of a step, counted from 0, once it and all before it are durable
    /// as far as the store can tell.
    fn run(dir: &Path, seed: u64, fsync: Fsync, acknowledge: impl Fn(u64) + Clone + Send + 'static);

    /// Opens what is left of `dir` after a run with this seed, and checks that it holds the steps up to the last
    /// acknowledged one, perhaps more, and nothing else. `self` knows what was there before, and afterwards what is.
    /// Returns how many more.
    ///
    /// # Errors
    /// Something acknowledged is lost, or the store does not open.
    fn verify(&mut self, dir: &Path, seed: u64, acknowledged: Option<u64>) -> Result<u64, String>;
}

/// Whether the store calls fsync. One that doesn't shows that a test would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fsync {
    Done,
    LeftOut,
}

const WORKLOAD: &str = "REPL_DURABILITY_WORKLOAD";
const DIR: &str = "REPL_DURABILITY_DIR";
const SEED: &str = "REPL_DURABILITY_SEED";
const FSYNC: &str = "REPL_DURABILITY_FSYNC";

/// What a child process is asked to do.
pub(crate) struct Task {
    pub(crate) workload: String,
    dir: PathBuf,
    seed: u64,
    fsync: Fsync,
}

impl Task {
    /// None if this is not a child process.
    pub(crate) fn from_environment() -> Option<Self> {
        let workload = env::var(WORKLOAD).ok()?;
        let variable = |name| env::var(name).expect("set together with the workload");
        Some(Self {
            workload,
            dir: variable(DIR).into(),
            seed: variable(SEED).parse().expect("a number"),
            fsync: if variable(FSYNC) == "left out" { Fsync::LeftOut } else { Fsync::Done },
        })
    }

    /// Runs the workload; returns when its store has failed.
    pub(crate) fn run<W: Workload>(&self) {
        // The test harness leaves its line unfinished. `println` would be captured.
        let say = |text: &str| {
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
        };
        say("\n");
        W::run(&self.dir, self.seed, self.fsync, move |step| say(&format!("{ACKNOWLEDGED}{step}.\n")));
        say("\n");
    }
}

const ACKNOWLEDGED: &str = "acknowledged ";

/// A running child process.
pub(crate) struct Running {
    child: Child,
    steps: Receiver<u64>,
    acknowledged: Option<u64>,
}

impl Running {
    /// Starts a workload. `wrapper` is a command that runs the one given in its last arguments.
    pub(crate) fn start<W: Workload>(dir: &Path, seed: u64, fsync: Fsync, wrapper: &[&str]) -> Self {
        let this = env::current_exe().expect("this binary has a path");
        let mut words = wrapper.iter().map(AsRef::as_ref).chain([this.as_os_str()]);
        let mut child = Command::new(words.next().expect("this binary at least"))
            .args(words)
            .args(["--exact", "run_workload", "--nocapture", "--test-threads=1"])
            .env(WORKLOAD, W::NAME)
            .env(DIR, dir)
            .env(SEED, seed.to_string())
            .env(FSYNC, if fsync == Fsync::LeftOut { "left out" } else { "done" })
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (tell, steps) = mpsc::channel();
        thread::spawn(move || {
            // A kill may leave half a line, which acknowledges nothing: a step's number ends with its line.
            let whole = output.split(b'\n').map_while(Result::ok);
            let lines = whole.filter_map(|line| String::from_utf8(line).ok());
            lines
                .filter_map(|line| line.strip_prefix(ACKNOWLEDGED)?.strip_suffix('.')?.parse().ok())
                .try_for_each(|step| tell.send(step))
        });
        Self { child, steps, acknowledged: None }
    }

    /// Waits until so many steps are acknowledged, or the child ends. Returns the last that is by now.
    pub(crate) fn wait_for(&mut self, steps: u64) -> Option<u64> {
        while self.acknowledged < Some(steps)
            && let Ok(step) = self.steps.recv()
        {
            self.acknowledged = self.acknowledged.max(Some(step));
        }
        self.acknowledged = self.acknowledged.max(self.steps.try_iter().max());
        self.acknowledged
    }

    /// Lets the child go on for a while. Returns the last step that is acknowledged by then.
    pub(crate) fn go_on_for(&mut self, time: Duration) -> Option<u64> {
        let end = Instant::now() + time;
        while let Ok(step) = self.steps.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.acknowledged = self.acknowledged.max(Some(step));
        }
        self.acknowledged
    }

    /// Kills the child with SIGKILL. Returns the last step that it acknowledged.
    pub(crate) fn kill(mut self) -> Option<u64> {
        self.child.kill().expect("killed");
        self.end()
    }

    /// Waits until the child ends by itself because its store has failed. Returns the last step that it acknowledged.
    pub(crate) fn end(mut self) -> Option<u64> {
        self.wait_for(u64::MAX);
        self.child.wait().expect("ended");
        self.acknowledged
    }
}

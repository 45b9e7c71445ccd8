//! The servers under load: started from the program that users run, each with a directory of its own on a real disk, and
//! stopped when this is dropped.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::counts::Counters;
use crate::http::Connection;
use crate::process;
use crate::progress::say;

/// For a node to serve, or a cluster to have its voters.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two looks at something that is about to happen.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The server's program.
    pub(crate) repl: PathBuf,
    /// Where the nodes' directories are made. Its disk is what fsyncs are measured on.
    pub(crate) dir: PathBuf,
}

/// Running nodes.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    _dir: TempDir,
}

/// One running node.
#[derive(Debug)]
pub(crate) struct Node {
    process: Process,
    ready: Ready,
}

/// Of a node's ready file.
#[derive(Clone, Debug, Deserialize)]
struct Ready {
    version: String,
    node: u64,
    listen: SocketAddr,
    peer: String,
}

/// A process that doesn't outlive this.
#[derive(Debug)]
struct Process(Child);

#[derive(Debug, Deserialize)]
struct View {
    leader: Option<u64>,
    nodes: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    role: String,
}

/// What the load wants to know of a topic.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Topic {
    pub(crate) next_seq: u64,
}

impl Cluster {
    /// Starts nodes, and waits until they serve and all of them vote. `flags` are for each of them.
    pub(crate) async fn start(setup: &Setup, nodes: usize, flags: &[&str]) -> Result<Self> {
        ensure!(setup.repl.is_file(), "there is no server at {}: build it, or say --repl", setup.repl.display());
        let within = || format!("can't make a directory in {}", setup.dir.display());
        let dir = tempfile::Builder::new().prefix("repl-bench-").tempdir_in(&setup.dir).with_context(within)?;
        let mut running: Vec<Node> = Vec::new();
        for number in 1..=nodes {
            let role = match running.first() {
                Some(first) => vec!["--join", first.ready.peer.as_str()],
                None if nodes > 1 => vec!["--bootstrap"],
                None => vec![],
            };
            let node = Node::start(&setup.repl, &dir.path().join(number.to_string()), &[&role, flags].concat()).await?;
            running.push(node);
        }
        let cluster = Self { nodes: running, _dir: dir };
        cluster.wait_for_voters().await?;
        say(format_args!("{nodes} × repl {} started", cluster.version()));
        Ok(cluster)
    }

    async fn wait_for_voters(&self) -> Result<()> {
        let give_up = Instant::now() + START_TIMEOUT;
        loop {
            let view = self.view().await?;
            let voters = view.nodes.iter().filter(|member| member.role != "learner").count();
            if view.leader.is_some() && voters == self.nodes.len() {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "only {voters} of {} nodes vote", self.nodes.len());
            sleep(POLL_EVERY).await;
        }
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Where clients connect, each node once.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.ready.listen).collect()
    }

    /// Where clients of the leader connect.
    pub(crate) async fn leader(&self) -> Result<SocketAddr> {
        let leader = self.view().await?.leader.context("the cluster has no leader")?;
        let node = self.nodes.iter().find(|node| node.ready.node == leader);
        Ok(node.context("the leader is none of the nodes that were started")?.ready.listen)
    }

    /// Of the server's program.
    pub(crate) fn version(&self) -> &str {
        self.nodes.first().map_or("", |node| node.ready.version.as_str())
    }

    /// Of all nodes together.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        self.nodes.iter().map(|node| process::cpu_time(node.pid())).sum()
    }

    pub(crate) async fn create_topic(&self, name: &str) -> Result<()> {
        let mut connection = Connection::open(self.first()?.ready.listen).await?;
        let body = format!(r#"{{"name":"{name}"}}"#);
        let answer = connection.post("/topics", "content-type: application/json\r\n", &body).await?;
        answer.json::<Topic>(&[200, 201]).map(|_| ()).with_context(|| format!("can't create {name}"))
    }

    pub(crate) async fn topic(&self, name: &str) -> Result<Topic> {
        self.first()?.get(&format!("/topics/{name}")).await
    }

    async fn view(&self) -> Result<View> {
        self.first()?.get("/cluster").await
    }

    fn first(&self) -> Result<&Node> {
        self.nodes.first().context("no node was started")
    }
}

impl Node {
    async fn start(program: &Path, dir: &Path, flags: &[&str]) -> Result<Self> {
        fs::create_dir(dir).with_context(|| format!("can't make {}", dir.display()))?;
        let (ready_file, log) = (dir.join("ready.json"), dir.join("log"));
        let log_file = File::create(&log).with_context(|| format!("can't write {}", log.display()))?;
        let mut command = Command::new(program);
        // Whoever has settings for a server of his own doesn't want them here.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("REPL_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(dir.join("data")).arg("--ready-file").arg(&ready_file);
        command.args(["--listen", "127.0.0.1:0", "--log-format", "text", "--log-level", "warn"]).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file);
        let child = command.spawn().with_context(|| format!("can't start {}", program.display()))?;
        let mut process = Process(child);
        let give_up = Instant::now() + START_TIMEOUT;
        loop {
            if let Ok(text) = fs::read(&ready_file) {
                let ready = serde_json::from_slice(&text).context("a ready file that can't be read")?;
                return Ok(Self { process, ready });
            }
            if let Some(status) = process.0.try_wait().context("can't tell whether a node runs")? {
                bail!("a node ended, {status}: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            ensure!(
                Instant::now() < give_up,
                "a node does not serve: {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            sleep(POLL_EVERY).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) async fn metrics(&self) -> Result<Counters> {
        let mut connection = Connection::open(self.ready.listen).await?;
        let answer = connection.get("/metrics").await?;
        ensure!(answer.status == 200, "/metrics was answered {}", answer.status);
        Ok(Counters::parse(&String::from_utf8_lossy(answer.body)))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let mut connection = Connection::open(self.ready.listen).await?;
        connection.get(path).await?.json(&[200]).with_context(|| path.to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself. Nothing that it has is needed any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

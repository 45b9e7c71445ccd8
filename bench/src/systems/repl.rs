//! `repl`, from the program that users run, each node with a directory of its own on a real disk.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use super::Setup;
use super::server::{START_TIMEOUT, Server, free_address};
use crate::meter::counts::Counters;
use crate::wire::http::{self, Body, Connection};
use crate::wire::{Inlet, Live, Outlet};

/// Between two looks at the cluster.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Requests at once where many topics are made or counted.
const AT_ONCE: usize = 64;

/// Running nodes.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    program: PathBuf,
    dir: PathBuf,
    flags: Vec<String>,
    /// None while it is dead.
    server: Option<Server>,
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

#[derive(Debug, Deserialize)]
struct View {
    leader: Option<u64>,
    nodes: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    role: String,
    state: String,
}

/// What the load wants to know of a topic.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Topic {
    next_seq: u64,
}

impl Cluster {
    /// Starts nodes, and waits until they serve and all of them vote. `flags` are for each of them.
    pub(super) async fn start(setup: &Setup, dir: &Path, nodes: usize, flags: &[&str]) -> Result<Self> {
        ensure!(setup.repl.is_file(), "there is no server at {}: build it, or say --repl", setup.repl.display());
        let mut cluster = Self { nodes: Vec::new() };
        for number in 1..=nodes {
            let role = match cluster.nodes.first() {
                Some(first) => vec!["--join", first.ready.peer.as_str()],
                None if nodes > 1 => vec!["--bootstrap"],
                None => vec![],
            };
            let flags = [&role, flags].concat();
            let node = Node::start(&setup.repl, &dir.join(number.to_string()), &flags).await?;
            cluster.nodes.push(node);
        }
        cluster.wait_until_complete().await?;
        Ok(cluster)
    }

    /// Waits until all nodes vote and are up, as each of them sees it.
    pub(crate) async fn wait_until_complete(&self) -> Result<()> {
        let give_up = Instant::now() + START_TIMEOUT;
        for node in &self.nodes {
            loop {
                let view: View = node.get("/cluster").await?;
                let voting =
                    view.nodes.iter().filter(|member| member.role != "learner" && member.state == "up").count();
                if view.leader.is_some() && voting == self.nodes.len() {
                    break;
                }
                ensure!(Instant::now() < give_up, "only {voting} of {} nodes vote", self.nodes.len());
                sleep(POLL_EVERY).await;
            }
        }
        Ok(())
    }

    /// The number of the leader among these nodes, from 0, once there is one.
    pub(crate) async fn leader(&self) -> Result<usize> {
        let give_up = Instant::now() + START_TIMEOUT;
        let leader = loop {
            let view: View = self.living()?.get("/cluster").await?;
            if let Some(leader) = view.leader {
                break leader;
            }
            ensure!(Instant::now() < give_up, "the cluster has no leader");
            sleep(POLL_EVERY).await;
        };
        let at = self.nodes.iter().position(|node| node.ready.node == leader);
        at.context("the leader is none of the nodes that were started")
    }

    /// Kills a node as a crash would.
    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.server = None;
        }
    }

    /// Starts a node that was killed, with what it has on disk.
    pub(crate) async fn restart(&mut self, number: usize) -> Result<()> {
        self.nodes.get_mut(number).context("no such node")?.restart().await
    }

    /// Of the server's program.
    pub(crate) fn version(&self) -> &str {
        self.nodes.first().map_or("", |node| node.ready.version.as_str())
    }

    /// Of the nodes that run.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.nodes.iter().filter_map(|node| node.server.as_ref()).map(Server::pid)
    }

    /// Of `/metrics`, summed over the nodes that run.
    pub(crate) async fn counters(&self) -> Result<Counters> {
        let mut sum = Counters::default();
        for node in self.nodes.iter().filter(|node| node.server.is_some()) {
            let mut connection = Connection::open(node.ready.listen).await?;
            let answer = connection.get("/metrics").await?;
            ensure!(answer.status == 200, "/metrics was answered {}", answer.status);
            sum.add(&Counters::parse(&String::from_utf8_lossy(answer.body)));
        }
        Ok(sum)
    }

    /// Where topics of this name are published to, on the nodes that run.
    pub(crate) fn inlet(&self, name: &str) -> Inlet {
        Inlet::Http(http::Inlet {
            servers: self.addresses(),
            path: format!("/topics/{name}:{{topic}}"),
            headers: String::new(),
            body: Body::Repl,
        })
    }

    /// The same, at the leader alone.
    pub(crate) async fn inlet_of_leader(&self, name: &str) -> Result<Inlet> {
        let leader = self.nodes.get(self.leader().await?).context("no such node")?.ready.listen;
        Ok(match self.inlet(name) {
            Inlet::Http(inlet) => Inlet::Http(http::Inlet { servers: vec![leader], ..inlet }),
            other => other,
        })
    }

    /// Streams of the first topic of this name, on the nodes that run.
    pub(crate) fn outlet(&self, name: &str) -> Outlet {
        Outlet::Sse { servers: self.addresses(), path: format!("/topics/{name}:0/sse"), live: Live::Ready }
    }

    /// Where an application publishes to the first topic of this name.
    pub(super) fn url_of(&self, name: &str) -> Result<String> {
        Ok(format!("http://{}/topics/{name}:0", self.living()?.ready.listen))
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().filter(|node| node.server.is_some()).map(|node| node.ready.listen).collect()
    }

    /// Creates so many topics, `<name>:0` and so on.
    pub(crate) async fn create_topics(&self, name: &str, count: usize) -> Result<()> {
        let name = name.to_owned();
        let body = move |topic: usize| json!({ "name": format!("{name}:{topic}") }).to_string();
        self.on_topics(count, move |topic| ("/topics".to_owned(), Some(body(topic)))).await.map(drop)
    }

    /// Lets a topic keep so many messages, whatever their size.
    pub(crate) async fn keep(&self, topic: &str, messages: usize) -> Result<()> {
        let body = json!({ "name": topic, "retention": { "maxMessages": messages, "maxBytes": 1_u64 << 40 } });
        let mut connection = Connection::open(self.living()?.ready.listen).await?;
        let answer = connection.post("/topics", "content-type: application/json\r\n", &body.to_string()).await?;
        answer.json::<Topic>(&[201]).map(drop).with_context(|| format!("can't create {topic}"))
    }

    /// The cursor of the newest message of a topic.
    pub(crate) async fn last_cursor(&self, topic: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Page {
            messages: Vec<Message>,
        }
        #[derive(Deserialize)]
        struct Message {
            id: String,
        }
        let page: Page = self.living()?.get(&format!("/topics/{topic}/messages?limit=1&reverse=true")).await?;
        Ok(page.messages.into_iter().next().context("the topic is empty")?.id)
    }

    /// Messages that were ever published to these topics.
    pub(crate) async fn stored(&self, name: &str, topics: usize) -> Result<u64> {
        let name = name.to_owned();
        let topics = self.on_topics(topics, move |topic| (format!("/topics/{name}:{topic}"), None)).await?;
        Ok(topics.iter().map(|topic| topic.next_seq - 1).sum())
    }

    /// Asks something for each of so many topics: a path, and what is posted to it.
    async fn on_topics(
        &self,
        count: usize,
        request: impl Fn(usize) -> (String, Option<String>) + Clone + Send + 'static,
    ) -> Result<Vec<Topic>> {
        let address = self.living()?.ready.listen;
        let mut tasks = JoinSet::new();
        for first in 0..AT_ONCE.min(count) {
            let request = request.clone();
            tasks.spawn(async move {
                let mut connection = Connection::open(address).await?;
                let mut topics = Vec::new();
                for topic in (first..count).step_by(AT_ONCE) {
                    let (path, body) = request(topic);
                    let answer = match body {
                        Some(body) => connection.post(&path, "content-type: application/json\r\n", &body).await?,
                        None => connection.get(&path).await?,
                    };
                    topics.push(answer.json(&[200, 201]).with_context(|| format!("{path} of topic {topic}"))?);
                }
                anyhow::Ok(topics)
            });
        }
        let mut all = Vec::with_capacity(count);
        while let Some(topics) = tasks.join_next().await {
            all.extend(topics.context("a task panicked")??);
        }
        Ok(all)
    }

    /// A node that runs.
    fn living(&self) -> Result<&Node> {
        self.nodes.iter().find(|node| node.server.is_some()).context("no node runs")
    }
}

impl Node {
    async fn start(program: &Path, dir: &Path, flags: &[&str]) -> Result<Self> {
        fs::create_dir(dir).with_context(|| format!("can't make {}", dir.display()))?;
        let [listen, peer_listen] = [free_address()?, free_address()?].map(|address| address.to_string());
        let listen = ["--listen", &listen, "--peer-listen", &peer_listen];
        let flags: Vec<String> = flags.iter().chain(&listen).map(|flag| (*flag).to_owned()).collect();
        let (server, ready) = run(program, dir, &flags).await?;
        Ok(Self { program: program.to_owned(), dir: dir.to_owned(), flags, server: Some(server), ready })
    }

    async fn restart(&mut self) -> Result<()> {
        let (server, ready) = run(&self.program, &self.dir, &self.flags).await?;
        self.server = Some(server);
        self.ready = ready;
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let mut connection = Connection::open(self.ready.listen).await?;
        connection.get(path).await?.json(&[200]).with_context(|| path.to_owned())
    }
}

/// Starts a node, and waits until it serves.
async fn run(program: &Path, dir: &Path, flags: &[String]) -> Result<(Server, Ready)> {
    let ready_file = dir.join("ready.json");
    let _ = fs::remove_file(&ready_file);
    let mut command = Command::new(program);
    // Whoever has settings for a server of his own doesn't want them here.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("REPL_")) {
        command.env_remove(name);
    }
    command.arg("--data-dir").arg(dir.join("data")).arg("--ready-file").arg(&ready_file);
    command.args(["--log-format", "text", "--log-level", "warn"]).args(flags);
    // `topics` goes up to a million.
    command.args(["--max-topics", "10000000"]);
    let mut server = Server::start(command, &dir.join("log"))?;
    let ready = server.wait_for("ready file", async || fs::read(&ready_file).ok()).await?;
    Ok((server, serde_json::from_slice(&ready).context("a ready file that can't be read")?))
}

//! What is measured: `repl`, and the systems beside it.
//!
//! A [`System`] is started for one measurement, with an empty directory and a stated configuration, and is killed behind
//! it. While it runs it is where to publish, where to subscribe, and processes whose CPU time and memory are read: the
//! same load, the same window and the same checks do for all. What is special about one stands in its file here, its
//! configuration in `bench/peers`.

mod axum;
mod etcd;
mod nats;
mod nchan;
mod node;
mod redis;
mod repl;
mod server;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Serialize, Serializer};
use tempfile::TempDir;

pub(crate) use self::axum::serve as serve_axum;
pub(crate) use self::repl::Cluster;
use self::server::Server;
use crate::meter::counts::Counters;
use crate::meter::process::{self, Memory};
use crate::wire::{Inlet, Outlet};

/// A system that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum System {
    Repl,
    Repl3,
    Nchan,
    Node,
    NodeRedis,
    NodeRepl,
    Axum,
    Nats,
    JetstreamSync,
    Jetstream,
    RedisStreams,
    Etcd,
}

/// Where things are.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The server's program.
    pub(crate) repl: PathBuf,
    /// Where directories are made. Its disk is what fsyncs are measured on.
    pub(crate) dir: PathBuf,
    /// Where `bench/peers/install` has put what Debian has no package of.
    pub(crate) peers: PathBuf,
}

/// What takes turns under a load.
#[derive(Clone, Debug)]
pub(crate) struct Lineup {
    pub(crate) systems: Vec<System>,
    pub(crate) setup: Setup,
}

/// A system that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) system: System,
    pub(crate) version: String,
    pub(crate) inlet: Inlet,
    /// None if it is no system for subscribers.
    pub(crate) outlet: Option<Outlet>,
    /// Of `repl`, if it is or uses it.
    pub(crate) cluster: Option<Cluster>,
    /// All other processes.
    servers: Vec<Server>,
    _dir: TempDir,
}

impl System {
    pub(crate) const ALL: [Self; 12] = [
        Self::Repl,
        Self::Repl3,
        Self::Nchan,
        Self::Node,
        Self::NodeRedis,
        Self::NodeRepl,
        Self::Axum,
        Self::Nats,
        Self::JetstreamSync,
        Self::Jetstream,
        Self::RedisStreams,
        Self::Etcd,
    ];

    /// On the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Repl => "repl",
            Self::Repl3 => "repl-3",
            Self::Nchan => "nchan",
            Self::Node => "node",
            Self::NodeRedis => "node-redis",
            Self::NodeRepl => "node-repl",
            Self::Axum => "axum",
            Self::Nats => "nats",
            Self::JetstreamSync => "jetstream-sync",
            Self::Jetstream => "jetstream",
            Self::RedisStreams => "redis-streams",
            Self::Etcd => "etcd",
        }
    }

    /// How it was started.
    pub(crate) fn configuration(self) -> &'static str {
        match self {
            Self::Repl => "one node, defaults",
            Self::Repl3 => "three nodes, defaults",
            Self::Nchan => "nginx with Nchan, one worker, EventSource",
            Self::Node => "Node.js, one process, SSE by hand",
            Self::NodeRedis => "Node.js with Redis Pub/Sub, SSE by hand",
            Self::NodeRepl => "Node.js publishes to one node of repl, which its subscribers read",
            Self::Axum => "axum `Sse` over a tokio broadcast channel, TCP_NODELAY",
            Self::Nats => "NATS core, one server, its own protocol; acknowledged by PONG",
            Self::JetstreamSync => "three servers, R3, files, `sync_interval: always`",
            Self::Jetstream => "three servers, R3, files, default `sync_interval` (2 min: not durable)",
            Self::RedisStreams => "one server, `XADD`, `appendfsync always`",
            Self::Etcd => "three members, its JSON gateway",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|system| system.name() == name)
    }

    /// Whether it has subscribers that messages are pushed to.
    pub(crate) fn fans_out(self) -> bool {
        self < Self::JetstreamSync
    }

    /// Whether what it acknowledges is written to a log.
    pub(crate) fn is_durable(self) -> bool {
        matches!(self, Self::Repl | Self::Repl3) || !self.fans_out()
    }

    /// Nodes of `repl` that it consists of.
    pub(crate) fn repl_nodes(self) -> Option<usize> {
        match self {
            Self::Repl => Some(1),
            Self::Repl3 => Some(3),
            _ => None,
        }
    }

    /// Why it can't be had here, if it can't.
    pub(crate) fn absent(self, setup: &Setup) -> Option<String> {
        let needs: &[&str] = match self {
            Self::Repl | Self::Repl3 | Self::Axum => &[],
            Self::Nchan => nchan::NEEDS,
            Self::Node | Self::NodeRepl => node::NEEDS,
            Self::NodeRedis => node::NEEDS_WITH_REDIS,
            Self::Nats | Self::JetstreamSync | Self::Jetstream => nats::NEEDS,
            Self::RedisStreams => redis::NEEDS,
            Self::Etcd => etcd::NEEDS,
        };
        let missing: Vec<_> = needs.iter().copied().filter(|name| setup.find(name).is_none()).collect();
        (!missing.is_empty()).then(|| format!("no {} here: bench/peers/install", missing.join(", ")))
    }

    /// Starts it, ready for so many connections.
    ///
    /// # Errors
    /// It doesn't start.
    pub(crate) async fn start(self, setup: &Setup, connections: usize) -> Result<Running> {
        let within = || format!("can't make a directory in {}", setup.dir.display());
        let dir = tempfile::Builder::new().prefix("repl-bench-").tempdir_in(&setup.dir).with_context(within)?;
        let started = match self {
            Self::Repl | Self::NodeRepl | Self::Repl3 => {
                let flags = ["--max-connections", &(connections + 100).to_string()];
                let cluster = Cluster::start(setup, dir.path(), self.repl_nodes().unwrap_or(1), &flags).await?;
                cluster.create_topics("bench", 1).await?;
                match self {
                    Self::NodeRepl => node::start_with_repl(setup, dir.path(), cluster).await,
                    _ => Ok(Started::repl(cluster)),
                }
            }
            Self::Nchan => nchan::start(setup, dir.path()).await,
            Self::Node => node::start(setup, dir.path()).await,
            Self::NodeRedis => node::start_with_redis(setup, dir.path()).await,
            Self::Axum => axum::start(dir.path()).await,
            Self::Nats => nats::start_core(setup, dir.path()).await,
            Self::JetstreamSync => nats::start_jetstream(setup, dir.path(), true).await,
            Self::Jetstream => nats::start_jetstream(setup, dir.path(), false).await,
            Self::RedisStreams => redis::start(setup, dir.path()).await,
            Self::Etcd => etcd::start(setup, dir.path()).await,
        };
        let Started { version, inlet, outlet, cluster, servers } =
            started.with_context(|| format!("{} does not start", self.name()))?;
        Ok(Running { system: self, version, inlet, outlet, cluster, servers, _dir: dir })
    }
}

impl Serialize for System {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// What a system's file here makes of it.
#[derive(Debug)]
struct Started {
    version: String,
    inlet: Inlet,
    outlet: Option<Outlet>,
    cluster: Option<Cluster>,
    servers: Vec<Server>,
}

impl Started {
    fn repl(cluster: Cluster) -> Self {
        Self {
            version: cluster.version().to_owned(),
            inlet: cluster.inlet("bench"),
            outlet: Some(cluster.outlet("bench")),
            cluster: Some(cluster),
            servers: Vec::new(),
        }
    }
}

impl Running {
    /// What `repl` counts of itself, of all nodes together. Empty for others.
    pub(crate) async fn counters(&self) -> Result<Counters> {
        match &self.cluster {
            Some(cluster) => cluster.counters().await,
            None => Ok(Counters::default()),
        }
    }

    /// Of all its processes.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        self.pids().into_iter().map(process::cpu_time).sum()
    }

    /// Of all its processes.
    pub(crate) fn memory(&self) -> Result<Memory> {
        self.pids().into_iter().map(process::memory).sum()
    }

    fn pids(&self) -> Vec<u32> {
        let nodes = self.cluster.iter().flat_map(Cluster::pids);
        nodes.chain(self.servers.iter().map(Server::pid)).flat_map(process::tree).collect()
    }

    /// Where to subscribe.
    ///
    /// # Errors
    /// It is no system for subscribers.
    pub(crate) fn outlet(&self) -> Result<&Outlet> {
        self.outlet.as_ref().with_context(|| format!("{} has no subscribers", self.system.name()))
    }

    /// How many messages it says that it has, if it can tell.
    pub(crate) async fn stored(&self, topics: usize) -> Result<Option<u64>> {
        match (self.system, &self.cluster, &self.inlet) {
            (_, Some(cluster), _) => cluster.stored("bench", topics).await.map(Some),
            (System::JetstreamSync | System::Jetstream, _, Inlet::Nats { server, .. }) => {
                nats::stored(*server).await.map(Some)
            }
            (System::RedisStreams, _, Inlet::Redis { server }) => redis::stored(*server).await.map(Some),
            (System::Etcd, _, Inlet::Http(inlet)) => etcd::stored(inlet).await.map(Some),
            _ => Ok(None),
        }
    }
}

impl Setup {
    /// Beside this program.
    pub(crate) fn beside() -> Self {
        let program = env::current_exe().unwrap_or_default();
        let target = program.parent().and_then(Path::parent).unwrap_or(Path::new("."));
        Self { repl: program.with_file_name("repl"), dir: env::temp_dir(), peers: target.join("peers") }
    }

    /// A program or a file of a peer: installed for it, or by a package of Debian.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let own = [self.peers.join("bin")];
        let path = env::var_os("PATH").unwrap_or_default();
        let debian = ["/usr/sbin", "/usr/lib/nginx/modules"].map(PathBuf::from);
        let modules = [source("node/node_modules")];
        let folders = own.into_iter().chain(env::split_paths(&path)).chain(debian).chain(modules);
        folders.map(|folder| folder.join(name)).find(|file| file.exists())
    }

    fn program(&self, name: &str) -> Result<Command> {
        self.find(name).map(Command::new).with_context(|| format!("there is no {name} here"))
    }

    /// What a program says when it is asked for its version.
    fn version(&self, program: &str, argument: &str) -> Result<String> {
        let output = self.program(program)?.arg(argument).output().with_context(|| format!("can't start {program}"))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let version = |word: &&str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
        let word = said.split([' ', '\n', '/', '=', ',', '(', ')']).find(version).unwrap_or("unknown");
        Ok(word.trim_start_matches('v').to_owned())
    }
}

/// Sources and configurations that are run as they are.
fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(path)
}

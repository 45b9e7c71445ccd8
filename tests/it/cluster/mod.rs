//! A cluster of real processes, on this machine and in a temporary directory.
//!
//! Everything here sees the broker from outside: it starts the program, sends it signals, and speaks HTTP. Nothing waits
//! for time to pass: what is waited for is a condition, and only a test that fails meets the [deadline](patience).
//! When a test fails, the end of each node's log is shown; whatever happens, no process is left behind.

mod client;
mod door;
mod fsync;
mod liar;
mod network;
mod node;
mod patience;
mod place;
mod publisher;
mod sse;
mod stalled;
mod strangers;
mod subscriber;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::TempDir;

pub(crate) use self::client::{Answer, Client, Message, View};
pub(crate) use self::door::Door;
pub(crate) use self::fsync::Fsync;
pub(crate) use self::liar::{Liar, Lie};
pub(crate) use self::network::Network;
pub(crate) use self::node::{Node, Usage};
pub(crate) use self::patience::{DEADLINE, LOOK_EVERY, until, within};
pub(crate) use self::place::Place;
pub(crate) use self::publisher::Publisher;
pub(crate) use self::sse::{Event, Parser};
pub(crate) use self::stalled::Stalled;
pub(crate) use self::strangers::{Strangers, TrickledHeads};
pub(crate) use self::subscriber::{Seen, Subscriber, Subscription};
use crate::ext4::Ext4;

/// For a test that is about something else than elections: nobody calls one because a node stood still for some seconds, as it
/// does where the machine is taken away from it.
pub(crate) const LEADER_STAYS: [&str; 2] = ["--election-timeout", "5s"];

/// Some nodes, and a client to speak to them. The first one founded the cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) client: Client,
    arguments: Vec<String>,
    directory: TempDir,
    /// Where the nodes are, if not all in the network of this machine.
    network: Option<Network>,
}

impl Cluster {
    /// A cluster of so many voters, all of which know of it.
    pub(crate) async fn of(size: usize) -> Self {
        Self::with(size, &[]).await
    }

    /// No node yet; each will have these arguments.
    pub(crate) fn without_nodes(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { nodes: Vec::new(), client: Client::new(), arguments, directory, network: None }
    }

    /// A cluster whose nodes have these arguments.
    pub(crate) async fn with(size: usize, arguments: &[&str]) -> Self {
        Self::over(size, arguments, None, &[]).await
    }

    /// A cluster of so many voters, each in a network namespace of its own. None, after saying why, where there can't be
    /// one.
    pub(crate) async fn in_namespaces(size: usize) -> Option<Self> {
        Some(Self::over(size, &[], Some(Network::new(size)?), &[]).await)
    }

    /// A cluster of so many voters with these arguments, in a network of its own if there is one, the first of them on
    /// these disks.
    pub(crate) async fn over(size: usize, arguments: &[&str], network: Option<Network>, disks: &[Ext4]) -> Self {
        let mut cluster = Self::without_nodes(arguments);
        if network.is_some() {
            let secret = cluster.path("secret");
            fs::write(&secret, "a secret that is long enough").expect("written");
            let secret = secret.to_str().expect("a path of ASCII");
            cluster.arguments.extend(["--insecure", "--cluster-secret-file", secret].map(str::to_owned));
        }
        cluster.network = network;
        for number in 0..size {
            cluster.prepare_next();
            if let Some(disk) = disks.get(number) {
                symlink(disk.path(), cluster.nodes[number].data_dir()).expect("linked");
            }
            cluster.nodes[number].start().await;
        }
        cluster.all_see(&format!("{size} voters"), |view| view.voters() == size && view.leader.is_some()).await;
        cluster
    }

    /// One more node, not started yet: the founder if there is none, else one that joins by way of it.
    pub(crate) fn prepare_next(&mut self) -> usize {
        let number = self.nodes.len();
        let founder = self.nodes.first().map(|founder| founder.started().peer.clone());
        let form = founder.as_ref().map_or(vec!["--bootstrap"], |founder| vec!["--join", founder]);
        let Some(network) = &self.network else { return self.prepare(&form) };
        let (listen, peer_listen) = (network.clients(number), network.peers(number));
        let namespace = network.namespace(number);
        let places = ["--listen", &listen, "--peer-listen", &peer_listen];
        self.prepare(&[&places, &form[..]].concat());
        self.nodes[number].set_namespace(namespace);
        number
    }

    /// The wires between the nodes.
    pub(crate) fn network(&self) -> &Network {
        self.network.as_ref().expect("it has one of its own")
    }

    /// Starts one more node with these arguments besides those of all. Answers its number.
    pub(crate) async fn add(&mut self, arguments: &[&str]) -> usize {
        let number = self.prepare(arguments);
        self.nodes[number].start().await;
        number
    }

    /// One more node with these arguments besides those of all, not started yet. Answers its number.
    pub(crate) fn prepare(&mut self, arguments: &[&str]) -> usize {
        let number = self.nodes.len();
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        self.nodes.push(Node::new(&self.path(&format!("node-{}", number + 1)), &arguments));
        number
    }

    /// A path in the directory of this cluster.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts one more node that joins by way of the first. Answers its number.
    pub(crate) async fn join(&mut self) -> usize {
        let number = self.prepare_next();
        self.nodes[number].start().await;
        number
    }

    pub(crate) fn url(&self, node: usize) -> &str {
        self.nodes[node].url()
    }

    /// The URLs of all nodes, in their order.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url().to_owned()).collect()
    }

    /// The ids of all nodes, in order. One may be left out: it was allotted, and the answer lost.
    pub(crate) fn ids(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.nodes.iter().map(|node| node.started().node).collect();
        ids.sort_unstable();
        ids
    }

    /// The number of the node that leads, once all that run agree on it.
    pub(crate) async fn leader(&mut self) -> usize {
        let leader = until("one leader in the eyes of all that run", async || {
            let mut leaders = Vec::new();
            for node in self.nodes.iter_mut().filter_map(|node| node.is_running().then_some(&*node)) {
                leaders.push(self.client.view(node.url()).await?.leader?);
            }
            let leader = *leaders.first()?;
            let number = self.nodes.iter().position(|node| node.started().node == leader)?;
            (leaders.iter().all(|other| *other == leader) && self.nodes[number].is_running()).then_some(number)
        });
        leader.await
    }

    /// The number of a node that doesn't lead.
    pub(crate) async fn follower(&mut self) -> usize {
        let leader = self.leader().await;
        (leader + 1) % self.nodes.len()
    }

    /// Waits until every node sees the cluster so.
    pub(crate) async fn all_see(&self, what: &str, is: impl Fn(&View) -> bool) {
        for node in &self.nodes {
            self.client.sees(node.url(), what, &is).await;
        }
    }

    /// Waits until every node keeps exactly these messages of a topic.
    pub(crate) async fn all_keep(&self, topic: &str, messages: &[Message]) {
        for node in &self.nodes {
            self.client.keeps(node.url(), topic, messages).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            self.directory.disable_cleanup(true);
            eprintln!("--- all that the nodes have stored and said is kept in {}", self.directory.path().display());
        }
    }
}

/// Copies a directory as a backup tool does: files and directories, and no sockets.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (kind, target) = (entry.file_type().expect("a type"), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_dir(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

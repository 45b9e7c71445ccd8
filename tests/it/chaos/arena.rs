//! Three voters, and the disks and wires under them: what things are done to.

use std::collections::BTreeMap;
use std::fs;

use super::history::{Kept, Message};
use super::load;
use crate::cluster::{Cluster, Network, Node, View, until};
use crate::ext4::{Cutter, Ext4};
use rustix::process::Signal;

/// Nodes that the cluster has between faults.
pub(super) const VOTERS: usize = 3;

/// How far it may grow meanwhile.
pub(super) const NODES_MAX: usize = 5;

/// Checkpoints, and segments that are purged, in every round.
pub(super) const ARGUMENTS: [&str; 4] = ["--checkpoint-bytes", "64KiB", "--checkpoint-interval", "500ms"];

/// A cluster, and as much of what is under it as this machine lets us touch.
pub(super) struct Arena {
    pub(super) cluster: Cluster,
    /// Where publishers and subscribers find the nodes that stay.
    pub(super) urls: Vec<String>,
    /// One for each voter, or none.
    pub(super) disks: Vec<Ext4>,
    pub(super) has_network: bool,
}

impl Arena {
    /// Enough for a node, and soon full.
    const DISK_BYTES: u64 = 96 << 20;

    pub(super) async fn new() -> Self {
        let disks = Self::disks();
        let network = Network::new(NODES_MAX);
        let has_network = network.is_some();
        let cluster = Cluster::over(VOTERS, &ARGUMENTS, network, &disks).await;
        let mut arena = Self { urls: cluster.urls(), cluster, disks, has_network };
        arena.let_anybody_come_anew();
        arena
    }

    /// One for each voter, or none where there are not so many.
    pub(super) fn disks() -> Vec<Ext4> {
        let disks: Option<Vec<Ext4>> = (0..VOTERS).map(|_| Ext4::new(Self::DISK_BYTES)).collect();
        disks.unwrap_or_default()
    }

    /// Whoever loses its disk joins anew, the founder too.
    pub(super) fn let_anybody_come_anew(&mut self) {
        let nodes = &mut self.cluster.nodes;
        let peers: Vec<String> = nodes.iter().map(|node| node.started().peer.clone()).collect();
        for (number, node) in nodes.iter_mut().enumerate() {
            let others: Vec<String> = peers.iter().filter(|peer| **peer != peers[number]).cloned().collect();
            node.join_by_way_of(&others);
        }
    }

    /// Nothing but a cluster.
    pub(super) fn of(cluster: Cluster) -> Self {
        Self { urls: cluster.urls(), cluster, disks: Vec::new(), has_network: false }
    }

    pub(super) fn others(&self, node: usize) -> [usize; VOTERS - 1] {
        [(node + 1) % VOTERS, (node + 2) % VOTERS]
    }

    /// Waits until all are as well as they get.
    pub(super) async fn recovers(&mut self) {
        let voters = self.cluster.ids();
        let is_whole = |view: &View| view.leader.is_some() && view.ids(|member| member.role != "learner") == voters;
        self.cluster.all_see("all vote", is_whole).await;
        for node in &self.cluster.nodes {
            self.cluster.client.readiness(node.url(), 200).await;
        }
    }

    /// Takes away from every node at once what no fsync has covered. All stand still before the first disk is cut off, so
    /// that nobody is told of an fsync that came too late.
    pub(super) async fn cut_power(&mut self) {
        let cutters: Vec<_> = self.disks.iter().map(Ext4::cutter).collect();
        let nodes = &mut self.cluster.nodes;
        nodes.iter().for_each(|node| node.signal(Signal::STOP));
        for node in &*nodes {
            node.stands_still().await;
        }
        cutters.into_iter().for_each(Cutter::cut_power);
        nodes.iter_mut().for_each(Node::kill);
        self.disks.iter().for_each(Ext4::restart);
    }

    /// Starts nodes that need each other.
    pub(super) async fn start_together(&mut self, nodes: &[usize]) {
        nodes.iter().for_each(|node| self.cluster.nodes[*node].spawn());
        for node in nodes {
            self.cluster.nodes[*node].serves().await;
        }
    }

    /// What every node keeps, once it has the last message of each of these topics.
    pub(super) async fn kept(&self, topics: &[&String]) -> BTreeMap<String, Kept> {
        let digests = self.digests().await;
        let mut nodes = BTreeMap::new();
        for node in &self.cluster.nodes {
            let mut kept = Kept { digest: digests[&node.started().node].clone(), ..Kept::default() };
            for topic in self.topics(node.url()).await {
                let last = load::last_key(&topic);
                let is_awaited = topics.contains(&&topic);
                let messages = until("the last message of each topic on each node", async || {
                    let messages = self.cluster.client.messages(node.url(), &topic).await?;
                    let has_last = messages.iter().any(|message| message.value["key"] == last.as_str());
                    (has_last || !is_awaited).then_some(messages)
                });
                let messages: Vec<Message> = messages.await.iter().map(load::stored).collect();
                kept.topics.insert(topic, messages);
            }
            nodes.insert(node.url().to_owned(), kept);
        }
        nodes
    }

    /// The names of all topics that a node knows of.
    async fn topics(&self, url: &str) -> Vec<String> {
        let page = self.cluster.client.get(url, "/topics?limit=1000").await.expect(200).json();
        let topics = page["topics"].as_array().expect("a list");
        topics.iter().map(|topic| topic["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// What `repl cluster verify` says of each node, by id, once it could compare all of them.
    async fn digests(&self) -> BTreeMap<u64, String> {
        until("all nodes can be compared", async || {
            let (_, text) = self.cluster.nodes[0].order(&["verify"]).await;
            let digest = |line: &str| {
                let (node, digest) = line.strip_prefix("node ")?.split_once("  ")?;
                Some((node.parse().ok()?, digest.to_owned()))
            };
            let digests: BTreeMap<_, _> = text.lines().filter_map(digest).collect();
            let all_are_there = self.cluster.ids().iter().all(|node| digests.contains_key(node));
            (all_are_there && !text.contains("not all nodes")).then_some(digests)
        })
        .await
    }

    /// A file that stays if a test fails.
    pub(super) fn note(&self, name: &str, text: &str) {
        fs::write(self.cluster.path(name), text).expect("written");
    }
}

//! What happens to the cluster.

use fastrand::Rng;
use rustix::process::Signal;

use super::arena::{Arena, NODES_MAX, VOTERS};
use super::history::{Clock, Isolation};
use super::load::{Draft, Load, Publisher, Topics};
use crate::cluster::{Cluster, View};
use crate::damage::{Damage, kinds};

/// Messages that are acknowledged while something is amiss, as long as a majority is left.
const MEANWHILE: usize = 20;

/// One kind of trouble. In the end all are there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strike {
    /// `kill -9`.
    KillLeader,
    KillFollower,
    /// Two of three.
    KillMajority,
    KillAll,
    /// It stands still.
    PauseLeader,
    PauseFollower,
    /// SIGTERM, after which it ends in order.
    StopLeader,
    StopFollower,
    /// The same for one that is chosen, which comes back with the build that it is to have by then: no trouble, and none of
    /// [all kinds](Self::ALL).
    Restart(usize),
    /// Nothing of what it sends arrives, and nothing reaches it.
    IsolateLeader,
    IsolateFollower,
    /// The leader is heard, and hears nobody.
    DeafenLeader,
    /// The leader and a follower don't hear each other; the third hears both.
    Bridge,
    /// What no fsync has covered is gone, on every node at once.
    PowerCut,
    FullDisk,
    /// One bit of a follower's newest segment.
    DamageLog,
    /// One bit of a follower's checkpoint.
    DamageCheckpoint,
    /// A follower loses all that it has stored, and a new node takes its place.
    LoseDisk,
    /// A node is removed, whichever it is, and comes back as a new one.
    Remove,
    /// Two more join, and are removed again.
    GrowAndShrink,
    TransferLeader,
    Backup,
    /// Subscribers stop reading while much is published.
    Stall,
}

impl Strike {
    const ALL: [Self; 22] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::KillMajority,
        Self::KillAll,
        Self::PauseLeader,
        Self::PauseFollower,
        Self::StopLeader,
        Self::StopFollower,
        Self::IsolateLeader,
        Self::IsolateFollower,
        Self::DeafenLeader,
        Self::Bridge,
        Self::PowerCut,
        Self::FullDisk,
        Self::DamageLog,
        Self::DamageCheckpoint,
        Self::LoseDisk,
        Self::Remove,
        Self::GrowAndShrink,
        Self::TransferLeader,
        Self::Backup,
        Self::Stall,
    ];

    /// Those that this machine allows.
    pub(super) fn possible(arena: &Arena) -> Vec<Self> {
        let is_possible = |strike: &Self| match strike {
            Self::IsolateLeader | Self::IsolateFollower | Self::DeafenLeader | Self::Bridge => arena.has_network,
            Self::PowerCut | Self::FullDisk => !arena.disks.is_empty(),
            _ => true,
        };
        Self::ALL.into_iter().filter(is_possible).collect()
    }
}

/// What a strike may touch, and where it writes down what it did.
pub(super) struct Scene<'a> {
    pub(super) arena: &'a mut Arena,
    pub(super) load: &'a mut Load,
    pub(super) publisher: &'a mut Publisher,
    pub(super) topics: &'a Topics,
    pub(super) clock: &'a Clock,
    pub(super) rng: &'a mut Rng,
    pub(super) isolations: &'a mut Vec<Isolation>,
}

impl Scene<'_> {
    pub(super) async fn strike(&mut self, strike: Strike) {
        let leader = self.arena.cluster.leader().await;
        let [one, other] = self.arena.others(leader);
        let follower = if self.rng.bool() { one } else { other };
        match strike {
            Strike::KillLeader => self.kill(leader).await,
            Strike::KillFollower => self.kill(follower).await,
            Strike::KillMajority => self.kill_together(&[leader, follower]).await,
            Strike::KillAll => self.kill_together(&[leader, one, other]).await,
            Strike::PauseLeader => self.pause(leader).await,
            Strike::PauseFollower => self.pause(follower).await,
            Strike::StopLeader => self.stop(leader).await,
            Strike::StopFollower => self.stop(follower).await,
            Strike::Restart(node) => self.stop(node).await,
            Strike::IsolateLeader => self.isolate(leader).await,
            Strike::IsolateFollower => self.isolate(follower).await,
            Strike::DeafenLeader => {
                [one, other].iter().for_each(|node| self.cluster().network().cut_one_way(*node, leader));
                self.goes_on_and_heals().await;
            }
            Strike::Bridge => {
                self.cluster().network().cut(leader, follower);
                self.goes_on_and_heals().await;
            }
            Strike::PowerCut => {
                self.arena.cut_power().await;
                self.arena.start_together(&[leader, one, other]).await;
            }
            Strike::FullDisk => {
                let node = self.rng.usize(..VOTERS);
                self.arena.disks[node].fill();
                self.load.acknowledges(5 * MEANWHILE).await;
                self.arena.disks[node].free();
            }
            Strike::DamageLog => self.damage(follower, "log/.seg, the newest").await,
            Strike::DamageCheckpoint => self.damage(follower, "state/db").await,
            Strike::LoseDisk => {
                self.cluster().nodes[follower].kill();
                self.load.acknowledges(MEANWHILE).await;
                self.comes_anew(follower).await;
            }
            Strike::Remove => {
                let node = self.rng.usize(..VOTERS);
                let [by, _] = self.arena.others(node);
                self.remove(node, by).await;
                self.load.acknowledges(MEANWHILE).await;
                self.comes_anew(node).await;
            }
            Strike::GrowAndShrink => self.grow_and_shrink(leader).await,
            Strike::TransferLeader => {
                for node in [one, other, leader] {
                    let id = self.cluster().nodes[node].started().node.to_string();
                    self.cluster().nodes[follower].ordered(&["transfer-leader", &id]).await;
                    self.load.acknowledges(MEANWHILE).await;
                }
            }
            Strike::Backup => self.back_up(follower).await,
            Strike::Stall => {
                for number in 0..Self::BURST {
                    let (topic, key) = (self.topics.bounded.clone(), format!("burst-{number}"));
                    let draft = Draft { topic, key, bytes: Self::BURST_BYTES, gives_up: false };
                    self.publisher.publish(&draft).await;
                }
            }
        }
    }

    /// More than the network holds for one who doesn't read.
    const BURST: usize = 150;
    const BURST_BYTES: usize = 60_000;

    fn cluster(&mut self) -> &mut Cluster {
        &mut self.arena.cluster
    }

    async fn kill(&mut self, node: usize) {
        self.cluster().nodes[node].kill();
        // Sometimes it is back before anybody has noticed.
        if self.rng.bool() {
            self.load.acknowledges(MEANWHILE).await;
        }
        self.cluster().nodes[node].start().await;
    }

    async fn kill_together(&mut self, nodes: &[usize]) {
        nodes.iter().for_each(|node| self.cluster().nodes[*node].kill());
        self.arena.start_together(nodes).await;
    }

    async fn pause(&mut self, node: usize) {
        self.cluster().nodes[node].signal(Signal::STOP);
        self.load.acknowledges(MEANWHILE).await;
        self.cluster().nodes[node].signal(Signal::CONT);
    }

    async fn stop(&mut self, node: usize) {
        assert_eq!(self.cluster().nodes[node].stop().await, Some(0));
        self.load.acknowledges(MEANWHILE).await;
        self.cluster().nodes[node].start().await;
    }

    async fn isolate(&mut self, node: usize) {
        self.cluster().network().isolate(node);
        let begun = self.clock.now();
        self.load.acknowledges(MEANWHILE).await;
        let ended = self.clock.now();
        self.cluster().network().heal();
        let node = self.cluster().url(node).to_owned();
        self.isolations.push(Isolation { node, begun, ended });
    }

    async fn goes_on_and_heals(&mut self) {
        self.load.acknowledges(MEANWHILE).await;
        self.cluster().network().heal();
    }

    /// It heals, or refuses to start and is replaced.
    async fn damage(&mut self, node: usize, kind: &str) {
        self.cluster().nodes[node].kill();
        let mut files = kinds(&self.cluster().nodes[node].data_dir());
        if let Some(file) = files.remove(kind) {
            Damage::BitInMiddle.strike(&file);
        }
        self.load.acknowledges(MEANWHILE).await;
        if !self.cluster().nodes[node].comes_up().await {
            self.comes_anew(node).await;
        } else {
            self.cluster().nodes[node].serves().await;
        }
    }

    /// A node that does not run comes back with an empty disk, and votes under a new id.
    async fn comes_anew(&mut self, node: usize) {
        self.cluster().nodes[node].wipe();
        let new = self.cluster().nodes[node].start().await.node;
        let url = self.cluster().url(node).to_owned();
        let votes = |view: &View| view.ids(|member| member.role != "learner").contains(&new);
        self.cluster().client.sees(&url, "the new node votes", votes).await;
    }

    async fn remove(&mut self, node: usize, by: usize) {
        let id = self.cluster().nodes[node].started().node.to_string();
        self.cluster().nodes[by].ordered(&["remove", &id]).await;
        assert_eq!(self.cluster().nodes[node].ends().await.0, Some(3));
    }

    async fn grow_and_shrink(&mut self, by: usize) {
        for node in VOTERS..NODES_MAX {
            assert_eq!(self.cluster().join().await, node);
        }
        self.cluster().all_see("all vote", |view: &View| view.voters() == NODES_MAX).await;
        self.load.acknowledges(MEANWHILE).await;
        for node in VOTERS..NODES_MAX {
            self.remove(node, by).await;
            self.cluster().nodes[node].wipe();
        }
        self.cluster().nodes.truncate(VOTERS);
    }

    async fn back_up(&mut self, node: usize) {
        let file = self.cluster().path("backup");
        let file = file.to_str().expect("ASCII").to_owned();
        for words in [&["backup", "save", "--force", &file][..], &["backup", "verify", &file]] {
            let (code, text) = self.cluster().nodes[node].run(words).await;
            assert_eq!(code, Some(0), "{text}");
        }
    }
}

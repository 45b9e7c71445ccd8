//! What the nodes know of one another: each asks every other once a second how it is.
//!
//! This is hearsay for people and load balancers. Nothing that matters for safety depends on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use super::Node;
use crate::consensus::wire::{self, kind};
use crate::consensus::{Member, Role};
use crate::domain::{NodeId, Position};
use crate::rpc::Lane;

/// How often the others are asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How often those are asked that have never answered.
const ASK_NEWCOMERS_EVERY: Duration = Duration::from_millis(200);

/// Unheard of for this long, a node is suspect: it has missed two questions.
const SUSPECT_AFTER: Duration = Duration::from_millis(2_200);

/// Unheard of for this long, a node counts as down.
pub(super) const DOWN_AFTER: Duration = Duration::from_secs(3);

/// What a node says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    position: Position,
    cpu: Option<f64>,
    cores: u32,
    connections: u64,
    version: String,
    draining: bool,
}

/// Whether a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It does.
    Up,
    /// It has missed two questions, or has not answered yet.
    Suspect,
    /// It has not answered for three seconds; or, if it was about to stop, as soon as it would be suspect.
    Down,
    /// It does, and is about to stop.
    Draining,
}

impl NodeState {
    /// Whether what a node in this state said last still holds.
    #[must_use]
    pub fn answers(self) -> bool {
        match self {
            Self::Up | Self::Draining => true,
            Self::Suspect | Self::Down => false,
        }
    }
}

/// A member of the cluster, as this node sees it.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// What it is to the cluster.
    pub role: Role,
    /// The URL at which clients reach it.
    pub client_url: String,
    /// `host:port` at which other nodes reach it.
    pub peer_addr: String,
    /// Whether it answers.
    pub state: NodeState,
    /// The last message it has applied, when it was asked last.
    pub applied: Position,
    /// Since this node heard of it last, or was started; `None` if it answers.
    pub silence: Option<Duration>,
    /// Messages it is behind the furthest node heard of; `None` if it doesn't answer.
    pub lag: Option<u64>,
    /// The share of all its processors that it uses, 0 to 1; `None` if not known, or if it doesn't answer.
    pub cpu: Option<f64>,
    /// Its processors; 0 if it has never answered.
    pub cores: u32,
    /// Open client connections; 0 if it doesn't answer.
    pub connections: u64,
    /// Of the program; empty if it has never answered.
    pub version: String,
}

/// The cluster, as this node sees it.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// The cluster's id.
    pub cluster: Uuid,
    /// This node's id.
    pub node: NodeId,
    /// The leader, if this node hears from one.
    pub leader: Option<NodeId>,
    /// Raft's current term.
    pub term: u64,
    /// All members.
    pub nodes: Vec<NodeView>,
}

impl ClusterView {
    /// The nodes that vote.
    pub fn voters(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(|node| node.role != Role::Learner)
    }

    /// How many nodes vote, and which of them don't answer, if the others are no majority.
    pub(super) fn lost_majority(&self) -> Option<(usize, Vec<NodeId>)> {
        let voters = self.voters().count();
        let missing: Vec<NodeId> = self.voters().filter(|node| !node.state.answers()).map(|node| node.id).collect();
        (2 * missing.len() >= voters.max(1)).then_some((voters, missing))
    }
}

/// What was heard from the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    heard: Arc<Mutex<Hearsay>>,
    cpu: Arc<Mutex<CpuMeter>>,
}

/// What was heard of each node, by the clock of this one: while that stands still itself nobody is silent, or else all the
/// others would be down to a node that had no processor for some seconds.
#[derive(Clone, Debug, Default)]
struct Hearsay {
    nodes: BTreeMap<NodeId, Heard>,
    /// When this node was about to ask last, which it is [all the time](ASK_NEWCOMERS_EVERY).
    looked: Option<Instant>,
}

impl Hearsay {
    /// What time it is as far as silence goes.
    fn now(&self) -> Instant {
        let now = Instant::now();
        self.looked.map_or(now, |looked| now.min(looked + ASK_EVERY))
    }

    /// This node is about to ask. Takes what it has stood still since the last time from everybody's silence.
    fn look(&mut self) {
        let now = Instant::now();
        let stood_still = now - self.now();
        self.looked = Some(now);
        for heard in self.nodes.values_mut() {
            heard.at = now.min(heard.at + stood_still);
        }
    }
}

/// When a node was heard of last, or first known of, and what it said.
#[derive(Clone, Debug)]
struct Heard {
    at: Instant,
    status: Option<Status>,
}

impl Directory {
    /// How long a node has not been heard of.
    pub(super) fn silence(&self, node: NodeId) -> Option<Duration> {
        let heard = self.heard.lock().expect(LOCK);
        heard.nodes.get(&node).map(|of_node| heard.now().duration_since(of_node.at))
    }
}

impl Node {
    /// The cluster, as this node sees it.
    #[must_use]
    pub fn cluster(&self) -> ClusterView {
        let consensus = &self.inner.consensus;
        let members = consensus.roles();
        let leader = members.iter().find(|(.., role)| *role == Role::Leader).map(|(id, ..)| *id);
        let hearsay = self.inner.directory.heard.lock().expect(LOCK).clone();
        let (heard, now) = (&hearsay.nodes, hearsay.now());
        let own = self.status();
        let furthest = heard.values().filter_map(|heard| heard.status.as_ref());
        let furthest = furthest.map(|status| status.position).chain([own.position]).max();
        let view = |(id, member, role): (NodeId, Member, Role)| {
            let (status, state) = if id == consensus.node() {
                (Some(own.clone()), if own.draining { NodeState::Draining } else { NodeState::Up })
            } else {
                let heard = heard.get(&id);
                (heard.and_then(|heard| heard.status.clone()), state(heard, now))
            };
            let applied = status.as_ref().map(|status| status.position).unwrap_or_default();
            // What holds only as long as it is there.
            let present = status.as_ref().filter(|_| state.answers());
            let silence = heard.get(&id).filter(|_| !state.answers()).map(|heard| now.duration_since(heard.at));
            NodeView {
                id,
                role,
                client_url: member.client,
                peer_addr: member.peer,
                state,
                applied,
                silence,
                lag: present.map(|_| furthest.unwrap_or_default().get().saturating_sub(applied.get())),
                cpu: present.and_then(|status| status.cpu),
                cores: status.as_ref().map_or(0, |status| status.cores),
                connections: present.map_or(0, |status| status.connections),
                version: status.map(|status| status.version).unwrap_or_default(),
            }
        };
        ClusterView {
            cluster: consensus.cluster(),
            node: consensus.node(),
            leader,
            term: consensus.leadership().term,
            nodes: members.into_iter().map(view).collect(),
        }
    }

    /// What this node says of itself.
    pub(crate) fn status(&self) -> Status {
        Status {
            position: self.inner.consensus.progress().borrow().position,
            cpu: self.inner.directory.cpu.lock().expect(LOCK).share,
            cores: cores(),
            connections: self.inner.settings.connections.count(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            draining: self.is_stopping(),
        }
    }

    /// Asks the others how they are, until the node stops.
    pub(super) async fn ask_others(self) {
        let mut ticks = interval(ASK_NEWCOMERS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.inner.stop.cancelled() => return,
            }
            let (consensus, directory) = (&self.inner.consensus, &self.inner.directory);
            let now = Instant::now();
            let ask_all = asked.is_none_or(|asked| now.duration_since(asked) >= ASK_EVERY);
            if ask_all {
                asked = Some(now);
                directory.cpu.lock().expect(LOCK).measure();
            }
            let members = consensus.roles();
            let mut hearsay = directory.heard.lock().expect(LOCK);
            hearsay.look();
            let heard = &mut hearsay.nodes;
            heard.retain(|id, _| members.iter().any(|(member, ..)| member == id));
            for (id, member, _) in members.into_iter().filter(|(id, ..)| *id != consensus.node()) {
                let known = heard.entry(id).or_insert(Heard { at: now, status: None });
                if ask_all || known.status.is_none() {
                    self.inner.tasks.spawn(self.clone().ask(id, member));
                }
            }
        }
    }

    async fn ask(self, id: NodeId, member: Member) {
        let peer = self.inner.consensus.peers().connect(&member.peer, Some(id), Lane::Status);
        if let Ok(reply) = peer.call(kind::STATUS, Bytes::new(), ASK_EVERY).await
            && let Ok(status) = wire::decode::<Status>(&reply)
        {
            let heard = Heard { at: Instant::now(), status: Some(status) };
            self.inner.directory.heard.lock().expect(LOCK).nodes.insert(id, heard);
        }
    }
}

const LOCK: &str = "nothing in here panics while it is held";

fn state(heard: Option<&Heard>, now: Instant) -> NodeState {
    let Some(Heard { at, status }) = heard else { return NodeState::Suspect };
    match (now.duration_since(*at), status) {
        (age, _) if age >= DOWN_AFTER => NodeState::Down,
        (age, Some(status)) if age >= SUSPECT_AFTER && status.draining => NodeState::Down,
        (age, _) if age >= SUSPECT_AFTER => NodeState::Suspect,
        (_, None) => NodeState::Suspect,
        (_, Some(status)) if status.draining => NodeState::Draining,
        (_, Some(_)) => NodeState::Up,
    }
}

/// This process's share of all processors between two measurements.
#[derive(Debug, Default)]
struct CpuMeter {
    last: Option<(Instant, Duration)>,
    share: Option<f64>,
}

impl CpuMeter {
    fn measure(&mut self) {
        let Some(used) = cpu_time() else { return };
        let now = Instant::now();
        if let Some((then, before)) = self.last.replace((now, used)) {
            let available = now.duration_since(then).as_secs_f64() * f64::from(cores());
            self.share = Some((used.saturating_sub(before).as_secs_f64() / available).clamp(0.0, 1.0));
        }
    }
}

/// The processors that this process may use.
fn cores() -> u32 {
    std::thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok()).unwrap_or(1)
}

/// User and system time of this process; `None` where there is no `/proc`.
fn cpu_time() -> Option<Duration> {
    /// `USER_HZ`, which Linux has fixed at 100 for user space on all common architectures.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name, may hold spaces and parentheses. Counted behind it, utime and stime are the
    // 12th and 13th (proc(5)).
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(TICK * user.saturating_add(system))
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A node that serves nobody, at a URL that is its id.
    pub(in crate::node) fn node(id: u64, state: NodeState) -> NodeView {
        NodeView {
            id: NodeId::new(id),
            role: Role::Follower,
            client_url: id.to_string(),
            peer_addr: String::new(),
            state,
            applied: Position::ZERO,
            silence: None,
            lag: None,
            cpu: None,
            cores: 2,
            connections: 0,
            version: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// After so long without a look: how long another node has been silent, before the next look and after it.
    async fn silence_after(stood_still: Duration) -> [Duration; 2] {
        let (directory, node) = (Directory::default(), NodeId::new(2));
        let heard = || directory.heard.lock().expect(LOCK);
        heard().look();
        heard().nodes.insert(node, Heard { at: Instant::now(), status: None });
        advance(stood_still).await;
        let before = directory.silence(node).expect("it is known");
        heard().look();
        [before, directory.silence(node).expect("it is known")]
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_silent_while_this_node_stands_still() {
        let [looks, stands] = [ASK_NEWCOMERS_EVERY, Duration::from_secs(60)];
        assert_eq!(silence_after(looks).await, [looks; 2]);
        assert_eq!(silence_after(stands).await, [ASK_EVERY; 2]);
    }

    #[test]
    fn a_node_that_falls_silent_is_suspect_then_down() {
        let status = |draining| Status {
            position: Position::default(),
            cpu: None,
            cores: 2,
            connections: 0,
            version: String::new(),
            draining,
        };
        let at = Instant::now();
        let after = |age_ms, status| state(Some(&Heard { at, status }), at + Duration::from_millis(age_ms));
        let states = [0, 2_100, 2_300, 2_900, 3_000].map(|age_ms| after(age_ms, Some(status(false))));
        assert_eq!(states, [NodeState::Up, NodeState::Up, NodeState::Suspect, NodeState::Suspect, NodeState::Down]);

        let states = [0, 2_100, 2_300].map(|age_ms| after(age_ms, Some(status(true))));
        assert_eq!(states, [NodeState::Draining, NodeState::Draining, NodeState::Down]);
        assert_eq!((after(0, None), after(3_000, None)), (NodeState::Suspect, NodeState::Down));
        assert_eq!(state(None, at), NodeState::Suspect);
    }
}

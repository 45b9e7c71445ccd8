//! Founding a cluster together (`--bootstrap-expect`): equal nodes find each other, and one cluster comes of it.
//!
//! Each empty node asks all addresses that it is told of who is there, and answers the same to others. Who finds a node of
//! a cluster joins that. Otherwise, as soon as as many as are expected see each other, the one with the lowest address, the
//! *founder*, makes a plan: an id for the cluster, and its first voters. It collects a promise from each of them, and once
//! it has all, it decides, by writing down who it is. Whoever has promised and sees that the cluster is there takes its seat.
//!
//! Why there are never two:
//! - A plan needs the promises of all its voters; nobody promises twice, and nobody that belongs to a cluster promises.
//!   A promise is on disk before it is given, and ends only when the founder itself, asked *after* it was given, has not
//!   decided and collects for another plan or none. (Who has lost its disk doesn't know what it promised: it comes as a new
//!   node, and never takes the seat.)
//! - Only the founder decides, one plan at most, and not if it has promised something itself.
//! - Even a founder that was given up for dead and decides late is alone: all voters of the plan are voters from the first
//!   entry on, so that nothing is acknowledged without a majority of those that took their seats.
//!
//! What it can't know: a cluster none of whose nodes is reached while all that are expected are new. So as many are to be
//! expected as there are nodes at first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep};
use tracing::{info, warn};
use uuid::Uuid;

use super::admission::{KNOCK_EVERY, ask};
use super::discovery::{Seed, find};
use super::{NodeError, Settings};
use crate::consensus::wire::{Candidate, Meet, Met, Plan, kind};
use crate::consensus::{Member, Peers};
use crate::domain::NodeId;
use crate::rpc::Lane;
use crate::storage::{DataDirError, Identity, PlanFile};

/// For an answer. Who takes longer is asked again.
const MEET_TIMEOUT: Duration = Duration::from_secs(2);

/// For an answer to who is not asked again.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// A node that belongs to no cluster, in the eyes of others that look for one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Meeting {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    member: Member,
    instance: [u8; 16],
    /// How many are to found a cluster; `None` if this node only joins one.
    expected: Option<usize>,
    /// Whether others are to be answered.
    open: watch::Sender<bool>,
    table: Mutex<Table>,
}

/// Locked for a few lines, and for the writing of a promise: that is done before anything else.
#[derive(Debug, Default)]
struct Table {
    /// Where promises are kept, as long as any are given.
    file: Option<PlanFile>,
    /// Who was there in the last round, besides this node.
    seen: BTreeSet<String>,
    /// What this node has promised, and since when.
    promise: Option<(Plan, Option<Instant>)>,
    /// What this node collects promises for, or has decided.
    collecting: Option<Plan>,
    /// The cluster that this node belongs to now.
    cluster: Option<[u8; 16]>,
}

/// Who was there when this node asked around.
#[derive(Debug, Default)]
struct Round {
    candidates: BTreeMap<String, Candidate>,
    clusters: BTreeSet<[u8; 16]>,
}

impl Meeting {
    /// Nobody is answered yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let inner = Inner {
            member: settings.member.clone(),
            instance: *Uuid::new_v4().as_bytes(),
            expected: settings.expected,
            open: watch::Sender::new(false),
            table: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Waits until it is known that this node belongs to no cluster, and others are to be told so.
    pub async fn opened(&self) {
        // The sender is ours.
        let _ = self.inner.open.subscribe().wait_for(|open| *open).await;
    }

    pub(super) fn open(&self) {
        self.inner.open.send_replace(true);
    }

    /// From now on others are told that this node belongs to a cluster.
    pub(super) fn settled(&self, cluster: Uuid) {
        self.table().cluster = Some(*cluster.as_bytes());
    }

    /// Answers another node that looks for others. `None`: this one founds nothing.
    pub(crate) fn answer(&self, meet: &Meet) -> Option<Met> {
        let mut table = self.table();
        if let Some(cluster) = table.cluster {
            return Some(Met::Member { cluster });
        }
        if let Some(offer) = &meet.offer
            && self.may_promise(&table, offer, &meet.candidate)
            && let Some(file) = &table.file
        {
            match write(file, offer) {
                Ok(()) => table.promise = Some((offer.clone(), Some(Instant::now()))),
                Err(error) => warn!(error = &error as &dyn std::error::Error, "can't promise to found a cluster"),
            }
        }
        self.inner.expected.map(|_| Met::Candidate(self.candidate(&table)))
    }

    /// Looks for others until a cluster comes of it: answers the plan in which this node has a seat. `None`: there is a
    /// cluster to join.
    ///
    /// # Errors
    /// The directory can't be read or written.
    pub(super) async fn found(&self, seeds: &[Seed], peers: &Peers, file: PlanFile) -> Result<Option<Plan>, NodeError> {
        let Some(expected) = self.inner.expected else { return Ok(None) };
        {
            let mut table = self.table();
            table.promise = read(&file)?.map(|plan| (plan, None));
            table.file = Some(file.clone());
        }
        let mut told = None;
        loop {
            let begun = Instant::now();
            let round = self.look_around(seeds, peers).await;
            if let Some(plan) = self.take_note(&round, begun) {
                return Ok(Some(plan));
            }
            if !round.clusters.is_empty() {
                // It joins, and promises nothing more.
                self.table().file = None;
                return Ok(None);
            }
            let here: BTreeSet<_> = round.candidates.keys().cloned().collect();
            if told.as_ref() != Some(&here) {
                info!("{} of {expected} nodes are here to found a cluster, with this one", here.len() + 1);
                told = Some(here);
            }
            if let Some(plan) = self.propose(&round, expected)
                && self.collect(&plan, peers).await
                && self.decide(&plan)
            {
                write(&file, &plan)?;
                return Ok(Some(plan));
            }
            self.table().collecting = None;
            sleep(KNOCK_EVERY).await;
        }
    }

    /// The cluster that the seeds lead to, if it is not `own`, and who says so. Silence says nothing: where all nodes start
    /// at once, nobody answers yet. Nor do those that contradict each other: one of `own` is enough.
    pub(super) async fn other_cluster(&self, seeds: &[Seed], peers: &Peers, own: Uuid) -> Option<(String, Uuid)> {
        let addresses = find(seeds).await.into_iter().filter(|address| *address != self.inner.member.peer);
        let ask = async |address: String| (self.ask(peers, &address, None, LOOK_TIMEOUT).await, address);
        let mut answers: FuturesUnordered<_> = addresses.map(ask).collect();
        let mut other = None;
        while let Some((answer, address)) = answers.next().await {
            match answer {
                Some(Met::Member { cluster }) if cluster == *own.as_bytes() => return None,
                Some(Met::Member { cluster }) => other = Some((address, Uuid::from_bytes(cluster))),
                Some(Met::Candidate(_)) | None => {}
            }
        }
        other
    }

    /// Asks everybody who is there.
    async fn look_around(&self, seeds: &[Seed], peers: &Peers) -> Round {
        let mut addresses = find(seeds).await;
        if let Some((plan, _)) = &self.table().promise {
            addresses.extend(plan.voters.iter().map(|voter| voter.peer.clone()));
        }
        let answers = join_all(addresses.iter().map(|address| self.ask(peers, address, None, MEET_TIMEOUT))).await;
        let mut round = Round::default();
        for answer in answers.into_iter().flatten() {
            match answer {
                Met::Member { cluster } => drop(round.clusters.insert(cluster)),
                Met::Candidate(candidate) if candidate.instance == self.inner.instance => {}
                Met::Candidate(candidate) => {
                    round.candidates.insert(candidate.member.peer.clone(), candidate);
                }
            }
        }
        round
    }

    /// Remembers who is there. Answers what this node has promised, if that has come about; forgets it if it never will.
    fn take_note(&self, round: &Round, begun: Instant) -> Option<Plan> {
        let mut table = self.table();
        table.seen = round.candidates.keys().cloned().collect();
        let (plan, since) = table.promise.as_ref()?;
        if round.clusters.contains(&plan.cluster) {
            let plan = plan.clone();
            table.file = None;
            return Some(plan);
        }
        let founder = plan.founder()?;
        let given_up = if founder == self.inner.member.peer {
            // It ended before it had written down who it is, so that nobody was told that it had decided.
            round.clusters.is_empty()
        } else {
            let asked_after = since.is_none_or(|since| since < begun);
            let answer = round.candidates.get(founder);
            asked_after && answer.is_some_and(|answer| answer.plan.as_ref() != Some(plan))
        };
        if given_up {
            table.promise = None;
        }
        None
    }

    /// What to found, if it is for this node to say.
    fn propose(&self, round: &Round, expected: usize) -> Option<Plan> {
        let Inner { member, instance, .. } = &*self.inner;
        let others = round.candidates.values();
        if let Some(other) = others.clone().find(|other| usize::try_from(other.expected) != Ok(expected)) {
            let (peer, theirs) = (&other.member.peer, other.expected);
            warn!(
                peer,
                "not founded: {theirs} nodes are expected there, and {expected} here: give all the same number"
            );
            return None;
        }
        if let Some(double) = round.candidates.get(&member.peer).filter(|other| other.instance != *instance) {
            let peer = &double.member.peer;
            warn!(peer, "not founded: another node says that it is where this one is: see --advertise-peer");
            return None;
        }
        let voters: BTreeMap<&str, &Member> =
            others.map(|other| &other.member).chain([member]).map(|member| (member.peer.as_str(), member)).collect();
        let voters: Vec<Member> = voters.into_values().take(expected).cloned().collect();
        let mut table = self.table();
        let is_first = voters.first() == Some(member);
        if voters.len() < expected || !is_first || table.promise.is_some() {
            return None;
        }
        let plan = Plan { cluster: *Uuid::new_v4().as_bytes(), voters };
        table.collecting = Some(plan.clone());
        Some(plan)
    }

    /// Asks all others of a plan for their promise. Whether all have given it.
    async fn collect(&self, plan: &Plan, peers: &Peers) -> bool {
        let others = plan.voters.iter().filter(|voter| **voter != self.inner.member);
        let answers = join_all(others.map(|voter| self.ask(peers, &voter.peer, Some(plan), MEET_TIMEOUT))).await;
        let promises = |answer: &Option<Met>| matches!(answer, Some(Met::Candidate(candidate)) if candidate.plan.as_ref() == Some(plan));
        answers.iter().all(promises)
    }

    /// Decides, unless this node has promised something meanwhile.
    fn decide(&self, plan: &Plan) -> bool {
        let mut table = self.table();
        let is_free = table.promise.is_none();
        if is_free {
            info!(cluster = %Uuid::from_bytes(plan.cluster), "founding a cluster of {} nodes", plan.voters.len());
            table.file = None;
        }
        is_free
    }

    /// Whether this node gives its word. The founder may have given up an earlier plan of its own.
    fn may_promise(&self, table: &Table, offer: &Plan, founder: &Candidate) -> bool {
        let own = |voter: &Member| *voter == self.inner.member;
        let is_free = match &table.promise {
            Some((promise, _)) => promise.founder() == offer.founder(),
            None => true,
        };
        is_free
            && offer.founder() == Some(founder.member.peer.as_str())
            && founder.member != self.inner.member
            && self.inner.expected == Some(offer.voters.len())
            && usize::try_from(founder.expected).ok() == self.inner.expected
            && offer.voters.iter().any(own)
            && offer.voters.iter().all(|voter| own(voter) || table.seen.contains(&voter.peer))
    }

    /// What this node says of itself. Who founds nothing expects nobody.
    fn candidate(&self, table: &Table) -> Candidate {
        let Inner { member, instance, expected, .. } = &*self.inner;
        let promise = table.promise.as_ref().map(|(plan, _)| plan);
        Candidate {
            member: member.clone(),
            instance: *instance,
            expected: expected.map_or(0, |expected| expected as u64),
            plan: promise.or(table.collecting.as_ref()).cloned(),
        }
    }

    /// `None` if nobody answers who is to be reckoned with.
    async fn ask(&self, peers: &Peers, address: &str, offer: Option<&Plan>, time: Duration) -> Option<Met> {
        let meet = Meet { candidate: self.candidate(&self.table()), offer: offer.cloned() };
        ask(peers, address, Lane::Join, kind::MEET, &meet, time).await.ok()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.inner.table.lock().expect("nothing panics under this lock")
    }
}

/// Who a node is to be by its seat in a plan.
pub(super) fn seat(plan: &Plan, member: &Member) -> Option<Identity> {
    let node: NodeId = plan.seat(member)?;
    Some(Identity { cluster: Uuid::from_bytes(plan.cluster), node })
}

/// The plan that is kept.
///
/// # Errors
/// It can't be read.
pub(super) fn read(file: &PlanFile) -> Result<Option<Plan>, DataDirError> {
    let Some(bytes) = file.read()? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| file.damaged(error.to_string()))
}

fn write(file: &PlanFile, plan: &Plan) -> Result<(), DataDirError> {
    file.write(&serde_json::to_vec(plan).expect("a plan is JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::DataDir;

    fn member(peer: &str) -> Member {
        Member { peer: peer.to_owned(), ..Member::default() }
    }

    fn plan<const N: usize>(cluster: u8, voters: [&str; N]) -> Plan {
        Plan { cluster: [cluster; 16], voters: voters.map(member).into() }
    }

    fn candidate(peer: &str, plan: Option<&Plan>) -> Candidate {
        Candidate { member: member(peer), instance: [9; 16], expected: 3, plan: plan.cloned() }
    }

    /// The node `b`, which has begun to look for others and keeps its promises there.
    fn node(dir: &DataDir) -> Meeting {
        let inner = Inner {
            member: member("b"),
            instance: [2; 16],
            expected: Some(3),
            open: watch::Sender::new(true),
            table: Mutex::default(),
        };
        let meeting = Meeting { inner: Arc::new(inner) };
        let promise = read(&dir.plan_file()).expect("readable").map(|plan| (plan, None));
        *meeting.table() = Table { file: Some(dir.plan_file()), promise, ..Table::default() };
        meeting
    }

    fn round<const N: usize>(candidates: [Candidate; N]) -> Round {
        let candidates = candidates.map(|candidate| (candidate.member.peer.clone(), candidate)).into();
        Round { candidates, ..Round::default() }
    }

    /// Whether it promises this to that node.
    fn promises(meeting: &Meeting, founder: &str, offer: &Plan) -> bool {
        let meet = Meet { candidate: candidate(founder, Some(offer)), offer: Some(offer.clone()) };
        match meeting.answer(&meet) {
            Some(Met::Candidate(answer)) => answer.plan.as_ref() == Some(offer),
            Some(Met::Member { .. }) | None => false,
        }
    }

    #[test]
    fn a_promise_is_given_once_and_outlives_the_process() {
        let temporary = tempfile::tempdir().expect("a directory");
        let dir = DataDir::open(temporary.path()).expect("ours");
        let meeting = node(&dir);
        let (first, second) = (plan(1, ["a", "b", "c"]), plan(2, ["aa", "b", "c"]));
        assert!(!promises(&meeting, "a", &first), "it has not seen them itself");
        let here = ["a", "aa", "c", "d"].map(|peer| candidate(peer, None));
        meeting.take_note(&round(here), Instant::now());
        assert!(!promises(&meeting, "c", &first), "it is not the founder who asks");
        assert!(!promises(&meeting, "a", &plan(1, ["a", "c", "d"])), "it has no seat");
        assert!(!promises(&meeting, "a", &plan(1, ["a", "b"])), "it expects three");

        assert!(promises(&meeting, "a", &first));
        assert!(!promises(&meeting, "aa", &second), "it has promised");
        let renewed = plan(3, ["a", "b", "d"]);
        assert!(promises(&meeting, "a", &renewed), "the founder knows whether it has decided");

        drop(meeting);
        let meeting = node(&dir);
        meeting.take_note(&round(["a", "aa", "c"].map(|peer| candidate(peer, None))), Instant::now() - KNOCK_EVERY);
        assert_eq!(read(&dir.plan_file()).expect("readable"), Some(renewed));
    }

    #[test]
    fn a_promise_ends_when_its_founder_has_given_it_up_and_is_kept_once_the_cluster_is_there() {
        let temporary = tempfile::tempdir().expect("a directory");
        let dir = DataDir::open(temporary.path()).expect("ours");
        let meeting = node(&dir);
        let (first, second) = (plan(1, ["a", "b", "c"]), plan(2, ["aa", "b", "c"]));
        let here = || ["a", "aa", "c"].map(|peer| candidate(peer, None));
        let before = Instant::now();
        meeting.take_note(&round(here()), before);
        assert!(promises(&meeting, "a", &first));

        meeting.take_note(&round(here()), before);
        assert!(!promises(&meeting, "aa", &second), "its founder was asked before");
        let mut collects = here();
        collects[0].plan = Some(first.clone());
        meeting.take_note(&round(collects), Instant::now() + KNOCK_EVERY);
        assert!(!promises(&meeting, "aa", &second), "its founder still collects");
        meeting.take_note(&round([candidate("aa", None), candidate("c", None)]), Instant::now() + KNOCK_EVERY);
        assert!(!promises(&meeting, "aa", &second), "its founder is silent");
        let there = Round { clusters: [first.cluster].into(), ..Round::default() };
        meeting.take_note(&round(here()), Instant::now() + KNOCK_EVERY);
        assert!(promises(&meeting, "aa", &second));

        assert_eq!(meeting.take_note(&there, Instant::now()), None, "another cluster");
        let there = Round { clusters: [second.cluster].into(), ..Round::default() };
        assert_eq!(meeting.take_note(&there, Instant::now()), Some(second.clone()));
        assert_eq!(seat(&second, &member("b")).map(|identity| identity.node), Some(NodeId::new(2)));
        assert!(!promises(&meeting, "a", &first), "it takes its seat");
    }

    #[test]
    fn only_the_first_of_those_that_see_each_other_proposes_and_nobody_that_has_promised_decides() {
        let temporary = tempfile::tempdir().expect("a directory");
        let dir = DataDir::open(temporary.path()).expect("ours");
        let meeting = node(&dir);
        let here = |peers: [&str; 2]| round(peers.map(|peer| candidate(peer, None)));
        assert_eq!(meeting.propose(&here(["a", "c"]), 3), None);
        assert_eq!(meeting.propose(&round([candidate("c", None)]), 3), None);
        let own = meeting.propose(&here(["d", "c"]), 3).expect("it is the first");
        let peers: Vec<_> = own.voters.iter().map(|voter| voter.peer.as_str()).collect();
        assert_eq!(peers, ["b", "c", "d"]);

        meeting.take_note(&here(["a", "c"]), Instant::now());
        assert!(promises(&meeting, "a", &plan(1, ["a", "b", "c"])));
        assert!(!meeting.decide(&own));
    }
}

//! Coming into the cluster: asking to be let in, and telling where this node is reached.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant, sleep};
use tracing::{info, warn};
use uuid::Uuid;

use super::Node;
use super::discovery::{Seed, find};
use crate::consensus::wire::{self, Announce, AnnounceReply, Join, JoinReply, kind};
use crate::consensus::{Member, Peers};
use crate::rpc::Lane;
use crate::storage::Identity;

/// Between two attempts to join or to announce.
pub(super) const KNOCK_EVERY: Duration = Duration::from_millis(500);

/// For an answer to either: the leader commits an entry for it.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a trouble that goes on is told again.
const REMIND_EVERY: Duration = Duration::from_secs(30);

impl Node {
    /// Tells the leader where this node is reached until the membership says so, and remembers where the others are.
    pub(super) async fn announce(self) {
        let (consensus, dir) = (&self.inner.consensus, &self.inner.dir);
        let mut known = Vec::new();
        let mut troubles = Troubles::default();
        while !self.inner.stop.is_cancelled() {
            let members = consensus.roles();
            let others: Vec<String> = members
                .iter()
                .filter(|(id, ..)| *id != consensus.node())
                .map(|(_, member, _)| member.peer.clone())
                .collect();
            if !others.is_empty() && others != known {
                match dir.save_peers(&others) {
                    Ok(()) => known = others,
                    Err(error) if troubles.is_news("", &chain(&error)) => {
                        warn!(error = &error as &dyn std::error::Error, "could not note the other nodes");
                    }
                    Err(_) => {}
                }
            }
            let own = members.iter().find(|(id, ..)| *id == consensus.node());
            let announced = own.is_some_and(|(_, member, _)| member.is_where(consensus.member()));
            // Who hears from nobody may have been removed meanwhile.
            if !announced || !consensus.hears_leader() {
                let troubles = (!announced).then_some(&mut troubles);
                self.announce_once(&known, troubles).await;
            }
            tokio::select! {
                () = sleep(KNOCK_EVERY) => {}
                () = self.inner.stop.cancelled() => {}
            }
        }
    }

    /// Asks one node after the other until one knows what becomes of this one.
    async fn announce_once(&self, others: &[String], mut troubles: Option<&mut Troubles>) {
        let consensus = &self.inner.consensus;
        let announce = Announce { node: consensus.node(), member: consensus.member().clone() };
        if consensus.leads() {
            return self.heed(consensus.announce(announce).await);
        }
        let leader = consensus.leader().map(|(_, member)| member.peer);
        let mut addresses = find(&self.inner.settings.join).await;
        addresses.extend(leader.into_iter().chain(others.iter().cloned()));
        for address in &addresses {
            let ask = |address| ask(consensus.peers(), address, Lane::Status, kind::ANNOUNCE, &announce, KNOCK_TIMEOUT);
            match ask(address).await {
                Ok(AnnounceReply::Elsewhere { leader: None }) => {}
                Ok(AnnounceReply::Elsewhere { leader: Some(leader) }) => {
                    if let Ok(reply) = ask(&leader).await {
                        return self.heed(reply);
                    }
                }
                Ok(reply) => return self.heed(reply),
                Err(error) => {
                    if troubles.as_mut().is_some_and(|troubles| troubles.is_news(address, &error)) {
                        warn!(peer = address, error, "not announced yet, still trying");
                    }
                }
            }
        }
    }

    /// Leaves if the cluster wants no more of this node.
    fn heed(&self, reply: AnnounceReply) {
        match reply {
            AnnounceReply::Expelled(reason) => {
                let _ = self.inner.expelled.set(reason);
                self.inner.stop.cancel();
            }
            AnnounceReply::Done | AnnounceReply::Elsewhere { .. } => {}
        }
    }
}

/// Asks until a cluster lets this node in.
pub(super) async fn join(peers: &Peers, seeds: &[Seed], member: &Member) -> Identity {
    let request = Join { member: member.clone() };
    let mut asked = find(seeds).await;
    let mut troubles = Troubles::default();
    loop {
        let mut leader = None;
        for address in &asked {
            let trouble = match ask(peers, address, Lane::Join, kind::JOIN, &request, KNOCK_TIMEOUT).await {
                Ok(JoinReply::Accepted { cluster, node }) => {
                    let cluster = Uuid::from_bytes(cluster);
                    info!(%cluster, node = node.get(), "let in");
                    return Identity { cluster, node };
                }
                Ok(JoinReply::Elsewhere { leader: Some(address) }) => {
                    leader = Some(address);
                    continue;
                }
                Ok(JoinReply::Elsewhere { leader: None }) => "it knows of no leader".to_owned(),
                Err(error) => error,
            };
            if troubles.is_news(address, &trouble) {
                warn!(peer = address, error = trouble, "not let in yet, still trying");
            }
        }
        sleep(KNOCK_EVERY).await;
        asked = leader.into_iter().chain(find(seeds).await).collect();
    }
}

/// What was told of each address, so that what goes on for hours doesn't fill the log.
#[derive(Default)]
struct Troubles(BTreeMap<String, (String, Instant)>);

impl Troubles {
    /// Whether to tell: it is another trouble than last time, or was told [long ago](REMIND_EVERY).
    fn is_news(&mut self, address: &str, trouble: &str) -> bool {
        let told = self.0.get(address);
        let is_news = told.is_none_or(|(last, at)| last != trouble || at.elapsed() >= REMIND_EVERY);
        if is_news {
            self.0.insert(address.to_owned(), (trouble.to_owned(), Instant::now()));
        }
        is_news
    }
}

/// One question to one address, whoever answers there.
pub(super) async fn ask<T: serde::de::DeserializeOwned>(
    peers: &Peers,
    address: &str,
    lane: Lane,
    kind: u8,
    request: &impl serde::Serialize,
    time: Duration,
) -> Result<T, String> {
    let peer = peers.connect(address, None, lane);
    let reply = peer.call(kind, wire::encode(request), time).await.map_err(|error| chain(&error))?;
    wire::decode(&reply).map_err(|error| chain(&error))
}

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_trouble_is_told_when_it_changes_and_now_and_then() {
        let mut troubles = Troubles::default();
        assert!(troubles.is_news("a", "refused"));
        assert!(!troubles.is_news("a", "refused"));
        assert!(troubles.is_news("b", "refused"), "each address for itself");
        assert!(troubles.is_news("a", "silent"));

        advance(REMIND_EVERY / 2).await;
        assert!(!troubles.is_news("a", "silent"));
        advance(REMIND_EVERY / 2).await;
        assert!(troubles.is_news("a", "silent"));
        assert!(!troubles.is_news("a", "silent"));
    }
}

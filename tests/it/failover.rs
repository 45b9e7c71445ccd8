//! How a cluster goes on without its leader: after it was killed, stood still, was stopped, or was cut off.
//!
//! Each test publishes right after the fault, by way of every node that is left, and waits until the first is acknowledged.
//! `REPL_FAILOVER_ROUNDS` makes it more than a round or two, and `make failover` shows how long it took.

use std::env;
use std::io::Write;
use std::time::{Duration, Instant};

use futures_util::future::select_ok;
use rustix::process::Signal;
use serde_json::json;

use crate::cluster::{Client, Cluster, Message, View, until, within};

/// Rounds of each test.
fn rounds() -> usize {
    env::var("REPL_FAILOVER_ROUNDS").map_or(2, |text| text.parse().expect("a number"))
}

/// What can happen to a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// `kill -9`.
    Kill,
    /// It stands still.
    Pause,
    /// SIGTERM.
    Stop,
    /// Nothing of what it sends arrives, and nothing reaches it; nobody is told.
    Isolate,
    /// It hears nothing, but is heard.
    Deafen,
    /// It and one of the others don't hear each other; the third hears both.
    Bridge,
}

/// What is known of a cluster that goes through faults.
struct Trial {
    cluster: Cluster,
    acknowledged: Vec<Message>,
    took: Vec<Duration>,
}

impl Trial {
    async fn run(cluster: Cluster, fault: Fault) {
        let mut trial = Self { cluster, acknowledged: Vec::new(), took: Vec::new() };
        trial.cluster.client.make_keeping(trial.cluster.url(0), "orders", 1_000_000).await;
        for _ in 0..rounds() {
            trial.round(fault).await;
        }
        trial.ends_well().await;
        trial.report(fault);
    }

    async fn round(&mut self, fault: Fault) {
        let leader = self.cluster.leader().await;
        // Everybody is as well as it gets before anything happens.
        for url in self.cluster.urls() {
            self.cluster.client.readiness(&url, 200).await;
            self.acknowledged.push(self.cluster.client.publish(&url, "orders", json!("before")).await);
        }
        let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
        let begun = Instant::now();
        match fault {
            Fault::Kill => self.cluster.nodes[leader].kill(),
            Fault::Pause => self.cluster.nodes[leader].signal(Signal::STOP),
            Fault::Stop => self.cluster.nodes[leader].signal(Signal::TERM),
            Fault::Isolate => self.cluster.network().isolate(leader),
            Fault::Deafen => [one, other].iter().for_each(|node| self.cluster.network().cut_one_way(*node, leader)),
            Fault::Bridge => self.cluster.network().cut(leader, one),
        }
        let urls = [one, other].map(|node| self.cluster.url(node).to_owned());
        let first = select_ok(urls.map(|url| Box::pin(publish(self.cluster.client.clone(), url))));
        let (message, rest) = within("an acknowledgement", first).await.expect("it is repeated until there is one");
        self.took.push(begun.elapsed());
        self.acknowledged.push(message);
        self.mend(fault, leader, one).await;
        for publish in rest {
            self.acknowledged.push(within("the other acknowledgement", publish).await.expect("as above"));
        }
    }

    async fn mend(&mut self, fault: Fault, leader: usize, one: usize) {
        match fault {
            Fault::Kill => {
                self.cluster.nodes[leader].start().await;
            }
            Fault::Pause => self.cluster.nodes[leader].signal(Signal::CONT),
            Fault::Stop => {
                assert_eq!(self.cluster.nodes[leader].ends().await.0, Some(0));
                self.cluster.nodes[leader].start().await;
            }
            Fault::Isolate => {
                let (client, url) = (self.cluster.client.clone(), self.cluster.url(leader).to_owned());
                let answer = client.send(client.publication(&url, "orders", &json!("by nobody's leave"))).await;
                assert!(matches!(answer.status, 503 | 504), "it acknowledges nothing: {answer:?}");
                client.readiness(&url, 503).await;
                self.cluster.network().heal();
            }
            Fault::Deafen | Fault::Bridge => {
                // Whoever can reach a majority goes on, and nobody is deposed again and again.
                for _ in 0..5 {
                    let url = self.cluster.url((one + 1) % 3);
                    self.acknowledged.push(self.cluster.client.publish(url, "orders", json!("during")).await);
                }
                self.cluster.network().heal();
            }
        }
    }

    /// Every node keeps all that was acknowledged, and the same.
    async fn ends_well(&self) {
        let client = &self.cluster.client;
        let mut kept = Vec::new();
        for node in &self.cluster.nodes {
            let all = until("all that was acknowledged", async || {
                let kept = client.messages(node.url(), "orders").await?;
                self.acknowledged.iter().all(|message| kept.contains(message)).then_some(kept)
            });
            kept = all.await;
        }
        self.cluster.all_keep("orders", &kept).await;
        self.cluster.all_see("three voters", |view: &View| view.voters() == 3 && view.leader.is_some()).await;
    }

    fn report(mut self, fault: Fault) {
        self.took.sort_unstable();
        let at = |share: usize| self.took[(self.took.len() * share / 100).min(self.took.len() - 1)].as_millis();
        // Not `eprintln`, which the test harness would keep to itself.
        let _ = writeln!(
            std::io::stderr(),
            "{fault:?}: {} rounds, acknowledged again within p50 {} ms, p99 {} ms, max {} ms",
            self.took.len(),
            at(50),
            at(99),
            at(100),
        );
    }
}

/// Publishes by way of one node until it is acknowledged.
async fn publish(client: Client, url: String) -> Result<Message, ()> {
    Ok(client.publish(&url, "orders", json!("after")).await)
}

#[tokio::test]
async fn writes_go_on_after_a_leader_was_killed() {
    Trial::run(Cluster::of(3).await, Fault::Kill).await;
}

#[tokio::test]
async fn writes_go_on_while_a_leader_stands_still() {
    Trial::run(Cluster::of(3).await, Fault::Pause).await;
}

#[tokio::test]
async fn writes_go_on_when_a_leader_is_stopped() {
    Trial::run(Cluster::of(3).await, Fault::Stop).await;
}

#[tokio::test]
async fn writes_go_on_without_a_leader_that_is_cut_off_and_acknowledges_nothing() {
    let Some(cluster) = Cluster::in_namespaces(3).await else { return };
    Trial::run(cluster, Fault::Isolate).await;
}

#[tokio::test]
async fn writes_go_on_without_a_leader_that_hears_nobody() {
    let Some(cluster) = Cluster::in_namespaces(3).await else { return };
    Trial::run(cluster, Fault::Deafen).await;
}

#[tokio::test]
async fn writes_go_on_over_a_bridge_between_nodes_that_do_not_hear_each_other() {
    let Some(cluster) = Cluster::in_namespaces(3).await else { return };
    Trial::run(cluster, Fault::Bridge).await;
}

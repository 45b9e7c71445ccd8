//! Equal nodes that found a cluster together (`--bootstrap-expect`).

use std::collections::BTreeSet;

use serde_json::json;

use crate::cluster::{Cluster, Node, Place, until};

/// Nodes that are all started in the same way, but for where they are. None is started yet.
struct Equals {
    cluster: Cluster,
    peers: Vec<Place>,
}

impl Equals {
    /// So many, of which so many are to found the cluster.
    fn of(size: usize, expected: usize) -> Self {
        let mut cluster = Cluster::without_nodes(&[]);
        let peers: Vec<Place> = (0..size).map(|_| Place::new()).collect();
        let addresses: Vec<&str> = peers.iter().map(|peer| peer.address.as_str()).collect();
        let (expected, all) = (expected.to_string(), addresses.join(","));
        for peer in addresses {
            cluster.prepare(&["--peer-listen", peer, "--bootstrap-expect", &expected, "--join", &all]);
        }
        Self { cluster, peers }
    }

    fn node(&mut self, number: usize) -> &mut Node {
        &mut self.cluster.nodes[number]
    }

    fn spawn(&mut self, numbers: impl IntoIterator<Item = usize>) {
        numbers.into_iter().for_each(|number| self.node(number).spawn());
    }

    /// Waits until all serve, and asserts that they are one cluster of so many voters, which stores what is published.
    async fn are_one(&mut self, voters: usize) {
        let mut clusters = BTreeSet::new();
        for node in &mut self.cluster.nodes {
            clusters.insert(node.serves().await.cluster);
        }
        assert_eq!(clusters.len(), 1, "{clusters:?}");
        let is_voter = |role: &str| role == "leader" || role == "follower";
        self.cluster.all_see("so many voters", |view| view.ids(|node| is_voter(&node.role)).len() == voters).await;
        let client = self.cluster.client.clone();
        client.make(self.cluster.url(0), "orders").await;
        let message = client.publish(self.cluster.url(0), "orders", json!("first")).await;
        self.cluster.all_keep("orders", &[message]).await;
    }
}

#[tokio::test]
async fn three_that_start_at_once_are_one_cluster_and_a_fourth_joins_it() {
    let mut equals = Equals::of(4, 3);
    equals.spawn(0..3);
    for number in 0..3 {
        equals.node(number).serves().await;
    }
    let ids: BTreeSet<u64> = (0..3).map(|number| equals.node(number).started().node).collect();
    assert_eq!(ids, BTreeSet::from([1, 2, 3]));

    equals.spawn([3]);
    assert!(equals.node(3).serves().await.node > 3);
    equals.are_one(4).await;
}

#[tokio::test]
async fn all_that_are_expected_have_to_be_there() {
    let mut equals = Equals::of(3, 3);
    equals.spawn([2]);
    equals.node(2).says("1 of 3 nodes are here").await;
    equals.spawn([0]);
    equals.node(0).says("2 of 3 nodes are here").await;
    equals.node(2).says("2 of 3 nodes are here").await;
    assert!(!equals.node(0).is_ready() && !equals.node(2).is_ready());
    equals.spawn([1]);
    equals.are_one(3).await;
}

#[tokio::test]
async fn one_that_dies_meanwhile_is_waited_for() {
    let mut equals = Equals::of(3, 3);
    equals.spawn(0..2);
    equals.node(0).says("2 of 3 nodes are here").await;
    equals.node(1).kill();
    equals.spawn([2]);
    equals.node(2).says("2 of 3 nodes are here").await;
    assert!(!equals.node(0).is_ready() && !equals.node(2).is_ready());
    equals.spawn([1]);
    equals.are_one(3).await;
}

/// About when it has promised, has decided, or serves.
#[tokio::test]
async fn whoever_is_killed_while_a_cluster_is_founded_there_is_one() {
    for file in ["plan.json", "node.json", "peers"] {
        for victim in 0..3 {
            let mut equals = Equals::of(3, 3);
            equals.spawn(0..3);
            let sign = equals.node(victim).data_dir().join(file);
            let node = equals.node(victim).data_dir().join("node.json");
            until("it is so far, or further", async || (sign.exists() || node.exists()).then_some(())).await;
            equals.node(victim).kill();
            equals.spawn([victim]);
            equals.are_one(3).await;
        }
    }
}

#[tokio::test]
async fn one_whose_disk_is_lost_never_founds_a_second_cluster() {
    let mut equals = Equals::of(3, 3);
    equals.spawn(0..3);
    equals.are_one(3).await;
    // The one that would say what is founded, as far as anybody is left.
    let first = (0..3).min_by_key(|number| equals.peers[*number].address.clone()).expect("three");
    let others: Vec<usize> = (0..3).filter(|number| *number != first).collect();
    let cluster = equals.node(first).started().cluster.clone();

    (0..3).for_each(|number| equals.node(number).kill());
    equals.node(first).wipe();
    equals.spawn([first]);
    until("it looks for the others again", async || {
        let log = equals.node(first).log();
        log.rsplit_once("serving").filter(|(_, since)| since.contains("1 of 3 nodes are here")).map(drop)
    })
    .await;
    assert!(!equals.node(first).is_ready());

    equals.spawn(others.iter().copied());
    for number in [first, others[0], others[1]] {
        assert_eq!(equals.node(number).serves().await.cluster, cluster);
    }
    assert!(equals.node(first).started().node > 3, "it comes as a new one");
    equals.cluster.all_see("three voters", |view| view.ids(|node| node.role != "learner").len() == 3).await;
}

#[tokio::test]
async fn nodes_that_expect_different_numbers_found_nothing() {
    let mut cluster = Cluster::without_nodes(&[]);
    let (first, second) = (Place::new(), Place::new());
    let all = format!("{},{}", first.address, second.address);
    cluster.prepare(&["--peer-listen", &first.address, "--bootstrap-expect", "2", "--join", &all]);
    cluster.prepare(&["--peer-listen", &second.address, "--bootstrap-expect", "3", "--join", &all]);
    cluster.nodes.iter_mut().for_each(Node::spawn);
    cluster.nodes[0].says("give all the same number").await;
    assert!(!cluster.nodes[0].is_ready());
}

//! More than a node can or may take.

use bytes::Bytes;
use repl::domain::NodeId;
use repl::rpc::{Endpoint, Lane, Peer, Target};
use serde_json::json;

use crate::cluster::{Client, Cluster, DEADLINE, Stalled, Strangers, TrickledHeads, until};

/// Half of them are for clients.
const DESCRIPTORS: u64 = 300;

/// How many connections a node has closed at once because it had as many as it may have.
const FULL: &str = r#"repl_http_connections_closed_total{reason="full"}"#;

/// How many connections a node has from others.
const PEERS_MAX: usize = 1_000;

/// What they ask a node how it fares by.
const STATUS: u8 = 11;

#[tokio::test]
async fn strangers_that_take_every_descriptor_hold_up_neither_publishes_nor_other_nodes() {
    let mut cluster = Cluster::without_nodes(&[]);
    for number in 0..3 {
        let founder = cluster.nodes.first().map(|founder| founder.started().peer.clone());
        cluster.prepare(&founder.as_ref().map_or(vec!["--bootstrap"], |founder| vec!["--join", founder]));
        cluster.nodes[number].limit_descriptors(DESCRIPTORS);
        cluster.nodes[number].start().await;
    }
    cluster.all_see("3 voters", |view| view.voters() == 3 && view.leader.is_some()).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let peers: Vec<_> = cluster.nodes.iter().map(|node| Strangers::at(&node.started().peer, 100)).collect();
    let clients = Strangers::at(cluster.url(0), 200);
    until("there is no room for clients", async || client.metric(cluster.url(0), FULL).await.filter(|full| *full > 0))
        .await;

    // Over the connection that is open.
    let mut messages = client.publish_all(cluster.url(0), "orders", 0..20).await;
    cluster.nodes[2].kill();
    messages.extend(client.publish_all(cluster.url(0), "orders", 20..25).await);
    cluster.nodes[2].start().await;
    client.keeps(cluster.url(2), "orders", &messages).await;
    for node in &cluster.nodes {
        assert!(!node.log().contains("can't accept"), "there were descriptors left");
    }

    drop((peers, clients));
    let newcomer = Client::new();
    newcomer.readiness(cluster.url(0), 200).await;
    messages.push(newcomer.publish(cluster.url(0), "orders", json!("there is room")).await);
    cluster.all_keep("orders", &messages).await;
}

#[tokio::test]
async fn a_node_without_descriptors_serves_those_who_are_there_and_others_once_there_are_some() {
    // A checkpoint takes descriptors, too.
    let cluster = Cluster::with(1, &["--checkpoint-interval", "1h"]).await;
    let (client, node) = (cluster.client.clone(), &cluster.nodes[0]);
    client.make(node.url(), "orders").await;
    node.leave_descriptors(2);
    let strangers = [Strangers::at(node.url(), 5), Strangers::at(&node.started().peer, 5)];
    node.says("can't accept connections").await;
    node.says("can't accept peers").await;
    let mut messages = client.publish_all(node.url(), "orders", 0..5).await;

    drop(strangers);
    let newcomer = Client::new();
    newcomer.readiness(node.url(), 200).await;
    node.says("accepting connections again").await;
    messages.push(newcomer.publish(node.url(), "orders", json!("again")).await);
    newcomer.keeps(node.url(), "orders", &messages).await;
}

#[tokio::test]
async fn heads_that_trickle_and_streams_that_nobody_reads_are_ended_and_publishes_go_on() {
    let cluster = Cluster::of(1).await;
    let (client, node) = (cluster.client.clone(), cluster.url(0));
    client.make(node, "orders").await;
    let heads = TrickledHeads::at(node, 300).await;
    let mut streams = Vec::new();
    for _ in 0..30 {
        streams.push(Stalled::open(node, "/topics/orders/sse").await);
    }
    let large = json!("x".repeat(60_000));
    for _ in 0..20 {
        client.publish(node, "orders", large.clone()).await;
    }
    let stalled = r#"repl_http_connections_closed_total{reason="stalled"}"#;
    until("streams are ended", async || client.metric(node, stalled).await.filter(|count| *count == 30)).await;
    heads.are_gone().await;
    client.publish(node, "orders", json!("they are gone")).await;
}

#[tokio::test]
async fn a_node_has_so_many_connections_of_others_and_hangs_up_on_those_that_come_then() {
    let cluster = Cluster::of(1).await;
    let (client, node) = (cluster.client.clone(), &cluster.nodes[0]);
    client.make(node.url(), "orders").await;
    let id = node.started().cluster.parse().expect("an id");
    let member = Endpoint { cluster: Some(id), node: Some(NodeId::new(2)), ..Endpoint::default() };
    let target = Target { address: node.started().peer.clone(), node: None, lane: Lane::Status };
    let answers = async |peer: &Peer| peer.call(STATUS, Bytes::new(), DEADLINE).await.is_ok();
    let connected = async || {
        let peer = Peer::new(member.clone(), target.clone());
        answers(&peer).await.then_some(peer)
    };
    let mut peers = Vec::new();
    while peers.len() < PEERS_MAX {
        peers.push(connected().await.expect("there is room"));
    }
    assert!(connected().await.is_none());
    let turned_away = r#"repl_peer_callers_turned_away_total{reason="full"}"#;
    assert_eq!(client.metric(node.url(), turned_away).await, Some(1));
    assert!(answers(&peers[0]).await, "those that are there go on");
    client.publish(node.url(), "orders", json!("so do clients")).await;

    drop(peers.pop());
    until("there is room again", connected).await;
}

//! The proof of the proof: real runs of a cluster that breaks its promises, each in one way, which must be found.
//!
//! Nothing of this is in the broker. Lies are told on the [way](crate::cluster::Liar) to it, and an fsync is left out in
//! [libc](crate::cluster::Fsync) under it, so no build and no setting of what users run can have them.

use fastrand::Rng;

use super::arena::{Arena, VOTERS};
use super::checker::{Fault, check};
use super::history::{Clock, History};
use super::load::{Draft, Publisher, last_key};
use super::round::Run;
use super::strike::Strike;
use crate::cluster::{Cluster, Fsync, Liar, Lie, Node, until};

/// Few, so that a fault doesn't drown in its consequences.
const MESSAGES: usize = 100;

/// One round of a cluster that lies to everybody.
async fn faults_of(lie: Lie) -> Vec<Fault> {
    let mut arena = Arena::of(Cluster::of(VOTERS).await);
    let mut liars = Vec::new();
    for url in &arena.urls {
        liars.push(Liar::before(url, lie, &arena.cluster.client).await);
    }
    arena.urls = liars.iter().map(|liar| liar.url.clone()).collect();
    let (_, faults) = Run::new(arena, Rng::new(), MESSAGES).round(Strike::TransferLeader).await;
    faults
}

#[tokio::test]
async fn a_message_that_is_not_delivered_is_noticed() {
    let faults = faults_of(Lie::DropsDelivery).await;
    // One for each node.
    assert!((1..=VOTERS).contains(&faults.len()), "{faults:#?}");
    assert!(
        faults.iter().all(|fault| matches!(fault, Fault::SilentHole { missing, .. } if missing.len() == 1)),
        "{faults:#?}"
    );
}

#[tokio::test]
async fn a_stream_that_resumes_too_early_is_noticed() {
    let faults = faults_of(Lie::ReplaysResume).await;
    assert!(!faults.is_empty() && faults.iter().all(|fault| matches!(fault, Fault::Repeated { .. })), "{faults:#?}");
}

#[tokio::test]
async fn a_key_that_is_ignored_is_noticed() {
    let faults = faults_of(Lie::IgnoresKeys).await;
    assert!(faults.iter().any(|fault| matches!(fault, Fault::KeyMoved { .. })), "{faults:#?}");
    assert!(faults.iter().any(|fault| matches!(fault, Fault::Duplicated { .. })), "{faults:#?}");
}

/// Publishes, cuts the power, and tells what is wrong then. None: a node has noticed by itself, and doesn't start.
async fn faults_after_power_cut(arena: &mut Arena, topic: &str) -> Option<Vec<Fault>> {
    let mut publisher = Publisher {
        client: arena.cluster.client.clone(),
        nodes: arena.urls.clone(),
        clock: Clock::default(),
        rng: Rng::new(),
        attempts: Vec::new(),
    };
    let draft = |key: String| Draft { topic: topic.to_owned(), key, bytes: 0, gives_up: false };
    for number in 0..MESSAGES {
        publisher.publish(&draft(format!("{topic}-{number}"))).await;
    }
    arena.cut_power().await;
    let nodes = &mut arena.cluster.nodes;
    nodes.iter_mut().for_each(Node::spawn);
    let all_serve = until("all serve, or one does not start", async || {
        let one_ended = nodes.iter_mut().any(|node| !node.is_running());
        (one_ended || nodes.iter().all(Node::is_ready)).then_some(!one_ended)
    });
    if !all_serve.await {
        return None;
    }
    publisher.publish(&draft(last_key(topic))).await;
    let mut nodes = arena.kept(&[&topic.to_owned()]).await;
    nodes.values_mut().for_each(|kept| kept.topics.retain(|name, _| name == topic));
    Some(check(&History { attempts: publisher.attempts, nodes, ..History::default() }))
}

#[tokio::test]
async fn an_fsync_that_is_left_out_is_noticed_when_the_power_fails() {
    let disks = Arena::disks();
    if disks.is_empty() {
        return;
    }
    let mut cluster = Cluster::over(VOTERS, &[], None, &disks).await;
    let Some(fsync) = Fsync::new(&cluster.path("")) else { return };
    for node in &mut cluster.nodes {
        node.set_fsync(fsync.clone());
        assert_eq!(node.stop().await, Some(0));
        node.start().await;
    }
    for topic in ["before", "after"] {
        cluster.client.make(cluster.url(0), topic).await;
    }
    let mut arena = Arena { disks, ..Arena::of(cluster) };
    assert_eq!(faults_after_power_cut(&mut arena, "before").await, Some(Vec::new()));
    fsync.leave_out();
    if let Some(faults) = faults_after_power_cut(&mut arena, "after").await {
        assert!(faults.iter().any(|fault| matches!(fault, Fault::Lost { .. })), "{faults:#?}");
    }
}

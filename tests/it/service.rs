//! What a service manager is told (sd_notify).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, SocketAddr};

use rustix::process::Signal;
use tokio::net::UnixDatagram;

use crate::cluster::{Cluster, Node, within};

/// A service manager: it hears what a node has to say.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    /// Listens at an address, and has the node told of it under a name.
    fn of(node: &mut Node, address: &SocketAddr, name: &str) -> Self {
        let socket = net::UnixDatagram::bind_addr(address).expect("a socket");
        socket.set_nonblocking(true).expect("it can");
        node.set_variable("NOTIFY_SOCKET", name);
        Self { socket: UnixDatagram::from_std(socket).expect("a socket"), heard: Vec::new() }
    }

    /// Waits for a line that ends so. Answers what it was told up to there, since it was asked last.
    async fn hears(&mut self, end: &str) -> Vec<String> {
        let heard = async {
            loop {
                if let Some(at) = self.heard.iter().position(|heard| heard.ends_with(end)) {
                    let after = self.heard.split_off(at + 1);
                    return std::mem::replace(&mut self.heard, after);
                }
                let mut news = [0; 4096];
                let length = self.socket.recv(&mut news).await.expect("it is open");
                let news = std::str::from_utf8(&news[..length]).expect("UTF-8");
                self.heard.extend(news.lines().map(str::to_owned));
            }
        };
        within(end, heard).await
    }
}

#[tokio::test]
async fn a_service_manager_is_told_when_the_node_serves_and_when_it_stops() {
    for is_abstract in [false, true] {
        let mut cluster = Cluster::without_nodes(&[]);
        let number = cluster.prepare(&[]);
        let path = cluster.path("notify").to_str().expect("a path of ASCII").to_owned();
        let (address, name) = if is_abstract {
            (SocketAddr::from_abstract_name(&path).expect("an address"), format!("@{path}"))
        } else {
            (SocketAddr::from_pathname(&path).expect("an address"), path)
        };
        let node = &mut cluster.nodes[number];
        let mut manager = Manager::of(node, &address, &name);
        node.set_variable("WATCHDOG_USEC", "60000000");

        node.spawn();
        assert_eq!(manager.hears("STATUS=starting").await, ["WATCHDOG=1", "STATUS=starting"]);
        manager.hears("READY=1").await;
        assert!(node.is_ready(), "the ready file is there as soon");
        node.serves().await;
        manager.hears("STATUS=node 1, leader, ready").await;
        manager.hears("WATCHDOG=1").await;

        node.signal(Signal::TERM);
        assert!(!manager.hears("STOPPING=1").await.contains(&"READY=1".to_owned()), "it is told once");
        assert_eq!(node.ends().await.0, Some(0));
    }
}

#[tokio::test]
async fn a_service_manager_is_told_why_a_node_is_not_ready() {
    let mut cluster = Cluster::of(2).await;
    let address = cluster.path("notify");
    let name = address.to_str().expect("a path of ASCII").to_owned();
    let address = SocketAddr::from_pathname(&address).expect("an address");
    let node = &mut cluster.nodes[1];
    // Either may lead afterwards.
    assert_eq!(node.stop().await, Some(0));
    let mut manager = Manager::of(node, &address, &name);
    node.start().await;
    manager.hears("r, ready").await;

    cluster.nodes[0].kill();
    // What it says first depends on who is missed first.
    manager.hears("not ready: 1 of 2 voters answer, and 2 are needed; no answer from node 1").await;
}

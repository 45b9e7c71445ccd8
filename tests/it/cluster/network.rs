//! A network of our own, whose wires can be cut: each node in a network namespace, all on one bridge.
//!
//! A wire is cut by a neighbour entry that leads nowhere, in one direction at a time. Nothing is reset and nobody is told,
//! as when a switch dies. Whoever tests stands beside the bridge, and reaches every node all the time.

use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// Where clients connect, in each namespace.
const CLIENTS: u16 = 7375;

/// Frames to this address reach nobody.
const NOBODY: &str = "02:00:00:00:ff:ff";

/// Makes the names and addresses of each network its own, among those of this process.
static NETWORKS: AtomicU8 = AtomicU8::new(0);

/// A bridge with namespaces on it. It is gone with this handle, which must outlive the nodes.
#[derive(Debug)]
pub(crate) struct Network {
    name: String,
    subnet: String,
    size: usize,
}

impl Network {
    /// None, after saying why, if this machine can't make one.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let (pid, number) = (std::process::id(), NETWORKS.fetch_add(1, Ordering::Relaxed));
        // Names of interfaces have at most 15 bytes.
        let name = format!("r{pid}x{number}");
        let subnet = format!("10.{}.{}", 64 + pid % 128, (pid / 128).wrapping_add(number.into()) % 256);
        let network = Self { name, subnet, size };
        match network.make() {
            Ok(()) => Some(network),
            Err(reason) => {
                // Not `eprintln`, which the test harness would keep to itself.
                let _ = writeln!(std::io::stderr(), "skipped, as there are no network namespaces: {reason}");
                None
            }
        }
    }

    fn make(&self) -> Result<(), String> {
        let bridge = &self.name;
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {}.254/24 dev {bridge}", self.subnet))?;
        ip(&format!("link set {bridge} up"))?;
        for node in 0..self.size {
            let (namespace, wire, address) = (self.namespace(node), format!("{bridge}v{node}"), self.address(node));
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("link add {wire} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("link set {wire} master {bridge} up"))?;
            ip(&format!("-n {namespace} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(())
    }

    /// The name of a node's namespace.
    pub(crate) fn namespace(&self, node: usize) -> String {
        format!("{}n{node}", self.name)
    }

    fn address(&self, node: usize) -> String {
        format!("{}.{}", self.subnet, node + 1)
    }

    /// Where a node listens for clients.
    pub(crate) fn clients(&self, node: usize) -> String {
        format!("{}:{CLIENTS}", self.address(node))
    }

    /// Where a node listens for the others.
    pub(crate) fn peers(&self, node: usize) -> String {
        format!("{}:{}", self.address(node), CLIENTS + 1)
    }

    /// What one node sends to another one gets lost.
    pub(crate) fn cut_one_way(&self, from: usize, to: usize) {
        self.neighbour(from, &format!("replace {} lladdr {NOBODY} nud permanent", self.address(to)));
    }

    /// Two nodes hear nothing of each other.
    pub(crate) fn cut(&self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// One node hears nothing of the others, and they nothing of it.
    pub(crate) fn isolate(&self, node: usize) {
        (0..self.size).filter(|other| *other != node).for_each(|other| self.cut(node, other));
    }

    /// All wires are whole again.
    pub(crate) fn heal(&self) {
        for from in 0..self.size {
            let namespace = self.namespace(from);
            ip(&format!("-n {namespace} neigh flush dev eth0 nud permanent")).expect("healed");
        }
    }

    fn neighbour(&self, node: usize, change: &str) {
        ip(&format!("-n {} neigh {change} dev eth0", self.namespace(node))).expect("the namespace is there");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in 0..self.size {
            let _ = ip(&format!("netns del {}", self.namespace(node)));
        }
        let _ = ip(&format!("link del {}", self.name));
    }
}

/// Runs `ip` with these words.
fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

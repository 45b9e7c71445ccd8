//! Load: who takes a newcomer, and which streams move when some nodes have more than their share.
//!
//! All of it rests on what nodes tell of themselves once a second. So a small difference is none: else every newcomer of
//! a second would go to the same node, and streams would move for ever.

use std::cmp::Ordering;

use super::Node;
use super::status::{ClusterView, NodeState, NodeView};

/// Shares of all processors that differ by less are equal.
const CPU_TOLERANCE: f64 = 0.15;

/// Connections for each processor that differ by less than this part are equal,
const CONNECTIONS_TOLERANCE: f64 = 0.1;

/// or by less than so many.
const CONNECTIONS_FEW: f64 = 8.0;

impl Node {
    /// The nodes that take streams, the best for a newcomer first. Each time another order, so that those who all take the
    /// first don't all go to one node.
    #[must_use]
    pub fn nodes_for_stream(&self) -> Vec<NodeView> {
        for_newcomer(self.cluster().nodes)
    }

    /// Sends streams to nodes that have fewer, if this one has more than its share. They move within
    /// [`Settings::move_window`](super::Settings::move_window).
    pub(super) fn rebalance_streams(&self) {
        if let Some(Excess { share, nodes }) = excess(&self.cluster()) {
            self.inner.departures.begin(nodes, share, self.inner.settings.move_window);
        }
    }
}

/// The power of two choices, for each place in turn: of two that are drawn, the less loaded one. (Mitzenmacher, The power
/// of two choices in randomized load balancing, 2001.)
fn for_newcomer(nodes: Vec<NodeView>) -> Vec<NodeView> {
    let mut left: Vec<NodeView> = nodes.into_iter().filter(|node| node.state == NodeState::Up).collect();
    fastrand::shuffle(&mut left);
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(one) = left.pop() {
        let place = fastrand::usize(..left.len().max(1));
        ordered.push(match left.get_mut(place) {
            Some(other) if compare(other, &one) == Ordering::Less => std::mem::replace(other, one),
            _ => one,
        });
    }
    ordered
}

/// Which of two has less to do.
fn compare(one: &NodeView, other: &NodeView) -> Ordering {
    if let (Some(one), Some(other)) = (one.cpu, other.cpu)
        && (one - other).abs() > CPU_TOLERANCE
    {
        return one.total_cmp(&other);
    }
    let (one, other) = (per_core(one), per_core(other));
    let tolerance = CONNECTIONS_FEW.max(CONNECTIONS_TOLERANCE * one.max(other));
    if (one - other).abs() > tolerance { one.total_cmp(&other) } else { Ordering::Equal }
}

fn per_core(node: &NodeView) -> f64 {
    real(node.connections) / f64::from(node.cores.max(1))
}

#[expect(clippy::cast_precision_loss, reason = "counts of connections are far below 2^52")]
fn real(count: u64) -> f64 {
    count as f64
}

/// What a node has too much.
#[derive(Debug, PartialEq)]
struct Excess {
    /// Of its streams.
    share: f64,
    /// The URLs of those that have less than their share.
    nodes: Vec<String>,
}

/// Of the node whose view it is: what it has beyond its share by processors.
fn excess(view: &ClusterView) -> Option<Excess> {
    let (own, others): (Vec<&NodeView>, Vec<_>) =
        view.nodes.iter().filter(|node| node.state == NodeState::Up).partition(|node| node.id == view.node);
    let own = *own.first()?;
    let nodes = || others.iter().copied().chain([own]);
    let connections = real(nodes().map(|node| node.connections).sum());
    let cores: f64 = nodes().map(|node| f64::from(node.cores.max(1))).sum();
    let fair = connections / cores;
    let surplus = per_core(own) - fair;
    if surplus <= CONNECTIONS_FEW.max(CONNECTIONS_TOLERANCE * fair) {
        return None;
    }
    let takers = others.iter().filter(|node| per_core(node) < fair);
    Some(Excess { share: surplus / per_core(own), nodes: takers.map(|node| node.client_url.clone()).collect() })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::NodeId;
    use crate::node::status::testing::node;

    /// Nodes that are up, by connections, processors, and the share of those in use.
    fn nodes(loads: &[(u64, u32, f64)]) -> Vec<NodeView> {
        let view = |(id, (connections, cores, cpu)): (u64, &(u64, u32, f64))| NodeView {
            connections: *connections,
            cores: *cores,
            cpu: Some(*cpu),
            ..node(id, NodeState::Up)
        };
        (1..).zip(loads).map(view).collect()
    }

    /// How often each node stands first, of 1,000 newcomers.
    fn firsts(nodes: &[NodeView]) -> Vec<usize> {
        let firsts: Vec<u64> = (0..1_000).map(|_| for_newcomer(nodes.to_vec())[0].id.get()).collect();
        nodes.iter().map(|node| firsts.iter().filter(|first| **first == node.id.get()).count()).collect()
    }

    #[test]
    fn newcomers_spread_over_nodes_that_are_about_equal() {
        for loads in [[(0, 2, 0.0); 3], [(1_000, 2, 0.3), (1_050, 2, 0.2), (1_080, 2, 0.3)]] {
            let firsts = firsts(&nodes(&loads));
            assert!(firsts.iter().all(|first| (200..470).contains(first)), "{firsts:?}");
        }
    }

    #[test]
    fn a_node_that_has_more_to_do_gets_fewer_newcomers() {
        // It is the first of two draws only if it is drawn twice.
        let busy = firsts(&nodes(&[(100, 2, 0.9), (100, 2, 0.2), (100, 2, 0.2)]));
        let crowded = firsts(&nodes(&[(9_000, 2, 0.2), (1_000, 2, 0.2), (1_000, 2, 0.2)]));
        let small = firsts(&nodes(&[(1_000, 1, 0.2), (1_000, 4, 0.2), (1_000, 4, 0.2)]));
        for firsts in [busy, crowded, small] {
            assert!(firsts[0] == 0 && firsts[1].min(firsts[2]) > 300, "{firsts:?}");
        }
    }

    #[test]
    fn only_nodes_that_are_up_are_offered_and_each_once() {
        let mut nodes = nodes(&[(1, 2, 0.1), (2, 2, 0.2), (3, 2, 0.3)]);
        nodes.extend([NodeState::Suspect, NodeState::Down, NodeState::Draining].map(|state| node(9, state)));
        let mut offered: Vec<u64> = for_newcomer(nodes).iter().map(|node| node.id.get()).collect();
        offered.sort_unstable();
        assert_eq!(offered, [1, 2, 3]);
    }

    fn excess_of_first(loads: &[(u64, u32, f64)]) -> Option<(u32, Vec<String>)> {
        let view =
            ClusterView { cluster: Uuid::nil(), node: NodeId::new(1), leader: None, term: 1, nodes: nodes(loads) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 100")]
        excess(&view).map(|Excess { share, nodes }| ((share * 100.0).round() as u32, nodes))
    }

    #[test]
    fn a_node_gives_what_it_has_beyond_its_share_to_those_that_have_less() {
        assert_eq!(
            excess_of_first(&[(300, 2, 0.1), (0, 2, 0.1), (0, 2, 0.1)]),
            Some((67, vec!["2".into(), "3".into()]))
        );
        // The second has more than its share as well.
        assert_eq!(excess_of_first(&[(400, 2, 0.1), (200, 2, 0.1), (0, 2, 0.1)]), Some((50, vec!["3".into()])));
        // Twice the processors, twice the streams.
        assert_eq!(excess_of_first(&[(400, 4, 0.1), (200, 2, 0.1)]), None);
        assert_eq!(excess_of_first(&[(300, 2, 0.1), (600, 4, 0.1), (0, 4, 0.1)]), Some((40, vec!["3".into()])));
        // Hardly more, hardly any, alone.
        assert_eq!(excess_of_first(&[(1_050, 2, 0.1), (1_000, 2, 0.1)]), None);
        assert_eq!(excess_of_first(&[(12, 2, 0.1), (0, 2, 0.1)]), None);
        assert_eq!(excess_of_first(&[(1_000, 2, 0.1)]), None);
    }
}

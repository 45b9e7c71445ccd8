//! From one build to the next, node by node, while publishers and subscribers go on.

use std::env;
use std::path::PathBuf;

use fastrand::Rng;

use super::arena::{ARGUMENTS, Arena, VOTERS};
use super::round::Run;
use super::strike::Strike;
use super::{say, setting};
use crate::cluster::Cluster;

/// `REPL_UPGRADE_FROM` is the program of the build before (`make upgrade`); without it, both are the present one, and what is
/// shown is that a cluster can be restarted node by node.
#[tokio::test]
async fn a_cluster_goes_over_to_the_next_build_node_by_node_and_keeps_its_promises() {
    let next = PathBuf::from(env!("CARGO_BIN_EXE_repl"));
    let before = env::var_os("REPL_UPGRADE_FROM").map_or_else(|| next.clone(), PathBuf::from);
    let messages = setting("REPL_CHAOS_MESSAGES", 100).try_into().expect("a number");
    let seed = setting("REPL_CHAOS_SEED", fastrand::u64(..1_000_000));
    say(&format!("seed {seed}: from {} to {}", before.display(), next.display()));

    let mut cluster = Cluster::without_nodes(&ARGUMENTS);
    for _ in 0..VOTERS {
        let node = cluster.prepare_next();
        cluster.nodes[node].set_program(&before);
        cluster.nodes[node].start().await;
    }
    let mut arena = Arena::of(cluster);
    arena.let_anybody_come_anew();
    arena.recovers().await;
    let mut run = Run::new(arena, Rng::with_seed(seed), messages);
    for node in 0..VOTERS {
        run.arena.cluster.nodes[node].set_program(&next);
        // Each leads once, and one takes a snapshot over, whichever builds they are.
        for strike in [Strike::Restart(node), Strike::TransferLeader, Strike::LoseDisk] {
            let (_, faults) = run.round(strike).await;
            assert!(faults.is_empty(), "seed {seed}, {strike:?} once {} are over: {faults:#?}", node + 1);
        }
    }
}

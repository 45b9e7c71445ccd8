//! The whole of it, under fire: publishers on random nodes, subscribers that wander between them, and one
//! [strike](strike) after another in the midst of it. After each, [`checker`] goes through the [`history`] of the round.
//!
//! `REPL_CHAOS_ROUNDS`, `_MESSAGES` (acknowledged in each round, at least), `_SEED` and `_KINDS` (names of strikes, with
//! commas) say what is done; `make chaos` makes it long. The same seed strikes in the same order, no more: the processes,
//! the kernel and the disk are real.

mod arena;
mod checker;
mod checker_tests;
mod history;
mod load;
mod planted;
mod round;
mod strike;
mod upgrade;

use std::collections::BTreeMap;
use std::env;
use std::io::Write;

use fastrand::Rng;

use self::arena::Arena;
use self::round::{Figures, Run};
use self::strike::Strike;

/// A number from the environment, or the one for the tests of every day.
fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Not `eprintln`, which the test harness would keep to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[tokio::test]
async fn whatever_happens_to_a_cluster_its_promises_are_kept() {
    let seed = setting("REPL_CHAOS_SEED", fastrand::u64(..1_000_000));
    let rounds = setting("REPL_CHAOS_ROUNDS", 6);
    let messages = setting("REPL_CHAOS_MESSAGES", 150).try_into().expect("a number");
    let mut rng = Rng::with_seed(seed);
    let arena = Arena::new().await;
    let wanted = env::var("REPL_CHAOS_KINDS").ok();
    let is_wanted = |strike: &Strike| {
        wanted.as_ref().is_none_or(|wanted| wanted.split(',').any(|name| name == format!("{strike:?}")))
    };
    let kinds: Vec<Strike> = Strike::possible(&arena).into_iter().filter(is_wanted).collect();
    assert!(!kinds.is_empty(), "no such kind, or not on this machine");
    say(&format!("seed {seed}: {rounds} rounds of {} kinds", kinds.len()));

    let mut run = Run::new(arena, rng.fork(), messages);
    let mut tally: BTreeMap<Strike, Figures> = BTreeMap::new();
    let mut deck = Vec::new();
    for round in 1..=rounds {
        if deck.is_empty() {
            deck.clone_from(&kinds);
            rng.shuffle(&mut deck);
        }
        let strike = deck.pop().expect("it is not empty");
        let (figures, faults) = run.round(strike).await;
        tally.entry(strike).or_default().add(figures);
        assert!(
            faults.is_empty(),
            "seed {seed}, round {round}, {strike:?}: {} faults, among them {:#?}",
            faults.len(),
            &faults[..faults.len().min(10)]
        );
    }
    report(seed, &tally);
}

fn report(seed: u64, tally: &BTreeMap<Strike, Figures>) {
    let row = |name: &str, figures: &Figures| {
        let Figures { rounds, acknowledged, unknown, refused, hops } = figures;
        format!("{name:<17} {rounds:>6} {acknowledged:>12} {unknown:>8} {refused:>8} {hops:>7}\n")
    };
    let mut total = Figures::default();
    let mut table = format!("{:<17} rounds acknowledged  unknown  refused    hops\n", format!("seed {seed}"));
    for (strike, figures) in tally {
        table += &row(&format!("{strike:?}"), figures);
        total.add(*figures);
    }
    table += &row("all", &total);
    say(&format!("{table}0 lost, duplicated, reordered, diverged, or otherwise than promised"));
}

//! A minute in the life of a cluster, under simulated time, and again exactly so from the same seed. `make simulate` goes
//! through a hundred.
//!
//! Three to five nodes run in one thread, whose clock moves on when nobody has anything to do. Consensus, proposer, state
//! machine and broker are the product's. What is simulated is beneath them: [`wires`] that delay, lose and are cut, and a
//! [`disk`] that takes its time and forgets what was not flushed. Nodes crash and come back; new ones become [`members`], and
//! others leave for good. In the end the [checker](checker) that also judges real processes goes through the history.
//!
//! What it is *not*: it has no checkpoints, no snapshots, no sockets and no HTTP. Those have threads and files of their own,
//! and are tried as real processes, in `tests/it/chaos`.
//!
//! A seed decides everything. What random numbers the kernel gives out, and what time it tells, would decide as well, so
//! the child process that runs a seed has both from `random.c`, in the place of libc.

#[path = "../../../tests/it/chaos/checker.rs"]
mod checker;
mod clients;
mod disk;
#[allow(dead_code, reason = "nobody is behind retention here")]
#[path = "../../../tests/it/chaos/history.rs"]
mod history;
mod members;
mod wires;
mod world;

use std::collections::BTreeSet;
use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::checker::check;
use self::clients::{Publisher, Reader, Record, kept};
use self::history::{History, Isolation, Kept};
use self::world::{Answer, World};
use crate::domain::{LogIndex, NodeId, Position, Selection, TopicName};
use crate::state::{self, Reply};

const PUBLISHERS: usize = 4;

const READERS: usize = 4;

/// The smallest cluster in which one node can be spared, and the largest.
const MEMBERS_MIN: usize = 3;
const MEMBERS_MAX: usize = 5;

/// What is left to do when the time of the faults is over takes no longer, unless the cluster is stuck.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What child processes run.
const CHILD: &str = "consensus::simulation::one_seed";

/// The seed that a child process is to run, which also feeds its random numbers; how many seconds; and whether its disks
/// lie.
const SEED: &str = "SIMULATION_SEED";
const SECONDS: &str = "SIMULATION_SECONDS";
const DISKS_LIE: &str = "SIMULATION_DISKS_LIE";

/// Where a child process finds an empty directory. It would give one of its own the name that others with its seed choose,
/// and draw once more if they are there.
const DIR: &str = "SIMULATION_DIR";

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Goes through it. Answers all that was written down, and how many nodes have come or gone.
async fn simulate(seed: u64, seconds: u64, disks_lie: bool, dir: PathBuf) -> (History, usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::new(rng.u64(..), disks_lie, dir);
    world.found().await;
    let topics = ["a", "b", "c"].map(str::to_owned);
    let (record, stop) = (Record::default(), CancellationToken::new());
    let wires = world.wires.clone();
    let publisher = |name: String, rng| Publisher {
        wires: wires.clone(),
        record: record.clone(),
        rng,
        name,
        topics: topics.to_vec(),
    };
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| tokio::spawn(publisher(number.to_string(), rng.fork()).run(stop.clone())))
        .collect();
    let readers: Vec<_> = (0..READERS)
        .map(|number| {
            let topics: BTreeSet<String> = topics[..1 + number % topics.len()].iter().cloned().collect();
            let (wires, lasts) = (world.wires.clone(), topics.len());
            tokio::spawn(Reader { wires, rng: rng.fork(), topics, lasts }.run(format!("reader {number}")))
        })
        .collect();

    let mut isolations = Vec::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        sleep(Duration::from_millis(rng.u64(200..3_000))).await;
        world.bury();
        // What comes next meets it halfway.
        if world.wires.settled() && rng.u32(..3) == 0 {
            change_members(&mut world, &mut rng).await;
        }
        let nodes = shuffled(&world, &mut rng);
        let [one, two, ..] = nodes[..] else { unreachable!("there are three at least") };
        let lasts = Duration::from_millis(rng.u64(50..3_000));
        match rng.u32(..7) {
            0 => down(&mut world, &[one], lasts).await,
            1 => down(&mut world, &[one, two], lasts).await,
            2 => down(&mut world, &nodes, lasts).await,
            3 => {
                world.wires.cut_off(one);
                let begun = record.clock.now();
                sleep(lasts).await;
                isolations.push(Isolation { node: one.to_string(), begun, ended: record.clock.now() });
                world.wires.heal();
            }
            4 => {
                // It is heard, and hears nobody.
                nodes[1..].iter().for_each(|other| world.wires.cut_one_way(*other, one));
                sleep(lasts).await;
                world.wires.heal();
            }
            5 => {
                // A bridge, if they are three.
                world.wires.cut_one_way(one, two);
                world.wires.cut_one_way(two, one);
                sleep(lasts).await;
                world.wires.heal();
            }
            _ => {
                // One that has left for good asks for votes again.
                if let Some(node) = rng.choice(world.departed()) {
                    world.start(node).await;
                    sleep(lasts).await;
                    world.crash(node);
                }
            }
        }
    }
    stop.cancel();
    for publisher in publishers {
        publisher.await.expect("no panic");
    }
    while !world.wires.settled() {
        sleep(Duration::from_millis(100)).await;
    }
    world.bury();
    let nodes = world.wires.wanted();
    let mut last = publisher("last".to_owned(), rng.fork());
    for topic in &topics {
        last.publish(topic, &format!("last-{topic}"), false).await;
    }
    let mut history = History { isolations, ..History::default() };
    for reader in readers {
        history.subscribers.push(reader.await.expect("no panic"));
    }
    let mark = loop {
        let any = *nodes.first().expect("there are three at least");
        if let Answer::Done(Reply::Marked { entry }) = world.wires.write(any, &state::Command::Mark).await {
            break entry;
        }
    };
    for node in nodes {
        history.nodes.insert(node.to_string(), all(&world, node, &topics, mark).await);
    }
    history.attempts = std::mem::take(&mut *record.attempts.lock().expect("nobody panicked"));
    (history, world.changes())
}

/// Has a new node come, or a member go for good.
async fn change_members(world: &mut World, rng: &mut fastrand::Rng) {
    let members = world.wires.wanted();
    if members.len() == MEMBERS_MIN || members.len() < MEMBERS_MAX && rng.bool() {
        world.add().await;
    } else if let Some(node) = rng.choice(members) {
        world.wires.want_no_more(node);
    }
}

async fn down(world: &mut World, nodes: &[NodeId], lasts: Duration) {
    nodes.iter().for_each(|node| world.crash(*node));
    sleep(lasts).await;
    for node in nodes {
        world.start(*node).await;
    }
}

fn shuffled(world: &World, rng: &mut fastrand::Rng) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = world.wires.wanted().into_iter().collect();
    rng.shuffle(&mut nodes);
    nodes
}

/// What a node keeps, once it has applied the mark.
async fn all(world: &World, node: NodeId, topics: &[String], mark: LogIndex) -> Kept {
    let process = world.wires.process(node).expect("it runs");
    let mut progress = process.replica.progress();
    progress.wait_for(|progress| progress.index >= Some(mark)).await.expect("it runs");
    let of = |topic: &String| {
        let selection = Selection::topic(TopicName::parse(topic).expect("a name"));
        (topic.clone(), kept(&process, &selection, Position::ZERO, Position::new(u64::MAX)))
    };
    let digest = process.replica.read(|machine| machine.marked(mark).map(|mark| format!("{:?}", mark.digest)));
    Kept { topics: topics.iter().map(of).collect(), digest: digest.expect("it is remembered") }
}

/// What a child process does; nothing if this is none.
#[test]
fn one_seed() {
    let Some(seed) = setting(SEED) else { return };
    fastrand::seed(seed);
    let (seconds, dir) = (setting(SECONDS).expect("set together"), env::var_os(DIR).expect("set together"));
    let simulation = simulate(seed, seconds, setting(DISKS_LIE).is_some(), dir.into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let simulation = async { timeout(Duration::from_secs(seconds) + ENDS_WITHIN, simulation).await };
    let (history, changes) = runtime.expect("a runtime").block_on(simulation).expect("the cluster is not stuck");
    let faults = check(&history);
    assert!(
        faults.is_empty(),
        "seed {seed}: {} faults, among them {:#?}",
        faults.len(),
        &faults[..faults.len().min(5)]
    );
    let mut hasher = DefaultHasher::new();
    format!("{history:?}").hash(&mut hasher);
    let acknowledged = history.acknowledged().count();
    let (history_hash, attempts) = (hasher.finish(), history.attempts.len());
    let _ = writeln!(std::io::stdout(), "history {history_hash:016x} {acknowledged} {attempts} {changes}");
}

/// What came of a seed.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    /// Identifies the history.
    history: String,
    acknowledged: u64,
    attempts: u64,
    /// Nodes that have come or gone.
    changes: u64,
}

/// Runs a seed in a process of its own.
///
/// # Errors
/// What that process has said. A promise was broken, or something else went wrong.
fn run(library: &Path, seed: u64, seconds: u64, disks_lie: bool) -> Result<Ran, String> {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let mut command = Command::new(env::current_exe().expect("this binary has a path"));
    command.args(["--exact", CHILD, "--nocapture", "--test-threads=1"]).env("LD_PRELOAD", library);
    command
        .env(SEED, seed.to_string())
        .env(SECONDS, seconds.to_string())
        .env(DIR, dir.path())
        .env("RUST_BACKTRACE", "0");
    if disks_lie {
        command.env(DISKS_LIE, "1");
    }
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().find_map(|line| line.split_once("history ")).map(|(_, found)| found.split(' '));
    match found.map(Iterator::collect::<Vec<_>>).as_deref() {
        Some([history, acknowledged, attempts, changes]) => Ok(Ran {
            history: (*history).to_owned(),
            acknowledged: acknowledged.parse().expect("a number"),
            attempts: attempts.parse().expect("a number"),
            changes: changes.parse().expect("a number"),
        }),
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The kernel's random numbers, made from a seed. None, after saying why, without a C compiler.
fn random(dir: &Path) -> Option<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/consensus/simulation/random.c");
    let library = dir.join("random.so");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).output();
    if made.is_ok_and(|output| output.status.success()) {
        return Some(library);
    }
    let _ = writeln!(std::io::stderr(), "skipped, as cc makes no library to load before libc");
    None
}

/// Seconds that a seed is run for in the tests of every day.
const SHORT: u64 = 15;

#[test]
fn what_happens_under_a_seed_keeps_the_promises_and_happens_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(library) = random(dir.path()) else { return };
    let first = setting("REPL_SIMULATION_SEED").unwrap_or(1);
    let seeds = setting("REPL_SIMULATION_SEEDS").unwrap_or(1);
    let seconds = setting("REPL_SIMULATION_SECONDS").unwrap_or(SHORT);
    let (mut acknowledged, mut attempts, mut changes) = (0, 0, 0);
    for seed in first..first + seeds {
        let ran = run(&library, seed, seconds, false).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        acknowledged += ran.acknowledged;
        attempts += ran.attempts;
        changes += ran.changes;
        if seed == first {
            assert_eq!(run(&library, seed, seconds, false), Ok(ran), "the same seed, the same history");
        }
    }
    // Not `eprintln`, which the test harness would keep to itself.
    let _ = writeln!(
        std::io::stderr(),
        "{seeds} seeds from {first} on, {seconds} simulated seconds each: {acknowledged} of {attempts} attempts were \
         acknowledged, {changes} nodes came or went, no promise was broken"
    );
}

#[test]
fn a_disk_that_lies_is_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(library) = random(dir.path()) else { return };
    let broken = |seed| run(&library, seed, SHORT, true).is_err_and(|error| error.contains(" faults, among them"));
    assert!((1..=5).any(broken), "disks that forget what they have acknowledged go unnoticed");
}

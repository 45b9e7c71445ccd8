//! Streams that read one topic, and check what they read.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::message::{Clock, Values};
use super::sequence::{Faults, Sequences};
use super::window::Window;
use crate::meter::histogram::{Latencies, Summary};
use crate::meter::process;
use crate::progress::say;
use crate::wire::{Event, Outlet, Stream};

/// Streams that are being opened at once.
const OPENING: usize = 64;

/// Streams from one address of this machine. It has some 28,000 ports to connect from.
const STREAMS_PER_ADDRESS: usize = 10_000;

/// Descriptors for all that is no stream: publishers, libraries, files.
const OTHER_FILES: u64 = 400;

/// Of how many messages on a stream at most one is looked at closely: its value and its latency.
const SAMPLE_MAX: usize = 64;

/// For the last messages to arrive.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Between two looks whether they have.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Streams at work.
#[derive(Debug)]
pub(crate) struct Subscribers {
    tasks: JoinSet<Result<()>>,
    sequences: Vec<Arc<Mutex<Sequences>>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    values: Values,
    clock: Clock,
    window: Arc<Window>,
    /// One of so many messages is a sample. Each message is one on some stream.
    sample: u64,
    measuring: AtomicBool,
    reads: AtomicU64,
    latencies: Mutex<Latencies>,
}

/// What all streams together have seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) faults: Faults,
    /// In how many different orders messages came, of which there should be one.
    pub(crate) orders: usize,
    /// Streams that broke.
    pub(crate) broken: usize,
}

/// Opens streams, and waits until what comes on each is live.
///
/// # Errors
/// One of them can't be opened.
pub(crate) async fn open(outlet: &Outlet, count: usize) -> Result<Vec<Stream>> {
    ensure_descriptors(count)?;
    let mut openers = JoinSet::new();
    for opener in 0..OPENING.min(count) {
        let outlet = outlet.clone();
        openers.spawn(async move {
            let mut streams = Vec::new();
            for number in (opener..count).step_by(OPENING) {
                let mut stream = outlet.open(source(number)?, number).await?;
                stream.until_live(|_| ()).await?;
                streams.push(stream);
            }
            anyhow::Ok(streams)
        });
    }
    let mut streams = Vec::with_capacity(count);
    while let Some(opened) = openers.join_next().await {
        streams.extend(opened.context("an opener panicked")??);
    }
    Ok(streams)
}

/// # Errors
/// There can't be so many streams.
pub(crate) fn ensure_descriptors(streams: usize) -> Result<()> {
    let files = process::open_files_max()?;
    let enough = u64::try_from(streams)? + OTHER_FILES <= files;
    ensure!(enough, "{streams} streams need more than the {files} open files that `ulimit -n` allows");
    Ok(())
}

/// Where the stream of this number connects from. Each address of 127/8 is this machine.
pub(crate) fn source(number: usize) -> Result<IpAddr> {
    let last = u8::try_from(1 + number / STREAMS_PER_ADDRESS).context("too many streams")?;
    Ok(Ipv4Addr::new(127, 0, 0, last).into())
}

impl Subscribers {
    /// Reads streams of a topic that nothing has been published to.
    pub(crate) fn start(
        streams: Vec<Stream>,
        publishers: usize,
        values: Values,
        clock: Clock,
        window: Arc<Window>,
    ) -> Self {
        let sample = streams.len().clamp(1, SAMPLE_MAX);
        let shared = Arc::new(Shared {
            values,
            clock,
            window,
            sample: u64::try_from(sample).unwrap_or(1),
            measuring: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            latencies: Mutex::new(Latencies::new()),
        });
        let sequences: Vec<_> = streams.iter().map(|_| Arc::new(Mutex::new(Sequences::new(publishers)))).collect();
        let numbered = (0..).zip(streams).zip(&sequences);
        let tasks = numbered
            .map(|((number, stream), sequences)| follow(number, stream, Arc::clone(sequences), Arc::clone(&shared)));
        Self { tasks: tasks.collect(), sequences, shared }
    }

    /// Begins or ends to note latencies.
    pub(crate) fn measure(&self, measure: bool) {
        self.shared.measuring.store(measure, Ordering::Relaxed);
    }

    /// Reads from sockets so far.
    pub(crate) fn reads(&self) -> u64 {
        self.shared.reads.load(Ordering::Relaxed)
    }

    /// From when a message was sent, or should have been, to its event; of a sample of the deliveries while measuring.
    pub(crate) fn latencies(&self) -> Summary {
        lock(&self.shared.latencies).summary()
    }

    /// Waits until all that the publishers have published has arrived everywhere, or for long enough, and tells what was
    /// wrong. `published` is the number of the last message of each of them.
    pub(crate) async fn finish(mut self, published: &[u64]) -> Result<Seen> {
        let give_up = Instant::now() + DRAIN_TIMEOUT;
        let mut broken = 0;
        while !self.sequences.iter().all(|sequences| lock(sequences).has_all(published)) && Instant::now() < give_up {
            while let Some(ended) = self.tasks.try_join_next() {
                if let Err(error) = ended.context("a reader panicked")? {
                    say(format_args!("a stream: {error:#}"));
                    broken += 1;
                }
            }
            if self.tasks.is_empty() {
                break;
            }
            sleep(POLL_EVERY).await;
        }
        let mut faults = Faults::default();
        let mut orders = BTreeSet::new();
        for sequences in &self.sequences {
            let sequences = lock(sequences);
            faults += sequences.faults(published);
            orders.insert(sequences.order());
        }
        Ok(Seen { faults, orders: orders.len(), broken })
    }
}

/// Reads a stream until it breaks.
async fn follow(number: u64, mut stream: Stream, sequences: Arc<Mutex<Sequences>>, shared: Arc<Shared>) -> Result<()> {
    let Shared { values, clock, window, sample, .. } = &*shared;
    loop {
        let mut count = 0;
        let mut latencies = Vec::new();
        stream
            .read(|event| {
                let Event::Message(lines) = event else { return };
                let mut sequences = lock(&sequences);
                let Some(tag) = values.tag(lines) else { return sequences.damaged() };
                count += 1;
                sequences.see(tag);
                if (sequences.count() + number).is_multiple_of(*sample) {
                    match values.sent_us(lines) {
                        Some(sent_us) => latencies.push(clock.now_us().saturating_sub(sent_us)),
                        None => sequences.damaged(),
                    }
                }
            })
            .await?;
        shared.reads.fetch_add(1, Ordering::Relaxed);
        window.delivered(count);
        if !latencies.is_empty() && shared.measuring.load(Ordering::Relaxed) {
            let mut all = lock(&shared.latencies);
            latencies.into_iter().for_each(|latency_us| all.record(latency_us));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

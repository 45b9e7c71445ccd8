//! Streams that read one topic, and check what they read.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::latency::{Latencies, Summary};
use crate::message::{self, Clock, Values};
use crate::process;
use crate::progress::say;
use crate::sequence::{Faults, Sequence};
use crate::sse::{Event, Stream};
use crate::window::Window;

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
    sequences: Vec<Arc<Mutex<Sequence>>>,
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

/// Opens streams, and waits until each is told that what comes now is live.
///
/// # Errors
/// One of them can't be opened.
pub(crate) async fn open(nodes: &[SocketAddr], path: &str, count: usize) -> Result<Vec<Stream>> {
    let files = process::open_files_max()?;
    let enough = u64::try_from(count)? + OTHER_FILES <= files;
    ensure!(enough, "{count} streams need more than the {files} open files that `ulimit -n` allows");
    let mut openers = JoinSet::new();
    for opener in 0..OPENING.min(count) {
        let (nodes, path) = (nodes.to_vec(), path.to_owned());
        openers.spawn(async move {
            let mut streams = Vec::new();
            for number in (opener..count).step_by(OPENING) {
                let node = *nodes.get(number % nodes.len()).context("no node to read from")?;
                let mut stream = Stream::open(source(number)?, node, &path).await?;
                stream.open_up(|event| event == Event::Control(b"ready")).await?;
                streams.push(stream);
            }
            anyhow::Ok(streams)
        });
    }
    let mut streams = Vec::with_capacity(count);
    while let Some(opened) = openers.join_next().await {
        streams.extend(opened.context("an opener panicked")??);
    }
    say(format_args!("{count} streams opened"));
    Ok(streams)
}

/// Where the stream of this number connects from. Each address of 127/8 is this machine.
fn source(number: usize) -> Result<IpAddr> {
    let last = u8::try_from(1 + number / STREAMS_PER_ADDRESS).context("too many streams")?;
    Ok(Ipv4Addr::new(127, 0, 0, last).into())
}

impl Subscribers {
    /// Reads streams of a topic that nothing has been published to.
    pub(crate) fn start(streams: Vec<Stream>, values: Values, clock: Clock, window: Arc<Window>) -> Self {
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
        let sequences: Vec<_> = streams.iter().map(|_| Arc::default()).collect();
        let numbered = (0..).zip(streams).zip(&sequences);
        let tasks = numbered
            .map(|((number, stream), sequence)| follow(number, stream, Arc::clone(sequence), Arc::clone(&shared)));
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

    /// From before the request to the event, of a sample of the deliveries while measuring.
    pub(crate) fn latencies(&self) -> Summary {
        self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).summary()
    }

    /// Waits until all that was published has arrived everywhere, or for long enough, and tells what was wrong.
    ///
    /// # Errors
    /// A stream broke.
    pub(crate) async fn finish(mut self, published: u64) -> Result<Faults> {
        let give_up = Instant::now() + DRAIN_TIMEOUT;
        let look = |sequence: &Arc<Mutex<Sequence>>| {
            let sequence = sequence.lock().unwrap_or_else(PoisonError::into_inner);
            (sequence.last() >= published, sequence.faults(published))
        };
        while !self.sequences.iter().all(|sequence| look(sequence).0) && Instant::now() < give_up {
            if let Some(ended) = self.tasks.try_join_next() {
                ended.context("a reader panicked")??;
            }
            sleep(POLL_EVERY).await;
        }
        let mut sum = Faults::default();
        self.sequences.iter().for_each(|sequence| sum += look(sequence).1);
        Ok(sum)
    }
}

/// Reads a stream until it breaks.
async fn follow(number: u64, mut stream: Stream, sequence: Arc<Mutex<Sequence>>, shared: Arc<Shared>) -> Result<()> {
    let Shared { values, clock, window, sample, .. } = &*shared;
    loop {
        let mut count = 0;
        let mut latencies = Vec::new();
        stream
            .read(|event| {
                let Event::Message(lines) = event else { return };
                let mut sequence = sequence.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(seq) = message::seq(lines) else { return sequence.damaged() };
                count += 1;
                sequence.see(seq);
                if (seq + number).is_multiple_of(*sample) {
                    match values.read(lines) {
                        Some(sent_us) => latencies.push(clock.now_us().saturating_sub(sent_us)),
                        None => sequence.damaged(),
                    }
                }
            })
            .await?;
        shared.reads.fetch_add(1, Ordering::Relaxed);
        window.delivered(count);
        if !latencies.is_empty() && shared.measuring.load(Ordering::Relaxed) {
            let mut all = shared.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            latencies.into_iter().for_each(|latency_us| all.record(latency_us));
        }
    }
}

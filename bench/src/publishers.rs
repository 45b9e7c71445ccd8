//! Connections that publish: each sends a request, waits for its answer, and sends the next.
//!
//! A closed loop: a slow server is sent less. So the latencies are those of clients that wait, not those that an
//! independent stream of requests would see.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::Connection;
use crate::latency::Latencies;
use crate::message::{Clock, Values};
use crate::progress::say;
use crate::threads::Threads;
use crate::window::Window;

/// Before a publisher whose request failed tries another.
const PAUSE: Duration = Duration::from_millis(20);

/// Failures in a row after which a publisher gives up, and the measurement with it.
const FAILURES_MAX: u32 = 100;

/// For the last answers after the load has ended.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// What to publish, and how.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) publishers: usize,
    /// Where they connect, in turn.
    pub(crate) nodes: Vec<SocketAddr>,
    /// What they publish to, in turn.
    pub(crate) topics: Vec<String>,
    /// Messages of a request. More than one go as NDJSON.
    pub(crate) batch: usize,
    /// Whether each message has an idempotency key.
    pub(crate) keys: bool,
    pub(crate) values: Values,
    pub(crate) clock: Clock,
    /// Bounds the messages under way, if anything but the number of publishers does.
    pub(crate) window: Option<Arc<Window>>,
}

/// Publishers at work.
#[derive(Debug)]
pub(crate) struct Publishers {
    tasks: JoinSet<Result<Tally>>,
    shared: Arc<Shared>,
    /// Where they run, as long as this lives.
    _threads: Threads,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    acknowledged: AtomicU64,
    measuring: AtomicBool,
    stopping: AtomicBool,
}

/// What became of the messages.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Answered as stored.
    pub(crate) acknowledged: u64,
    /// Not answered, or in a way that doesn't tell.
    pub(crate) unknown: u64,
    /// Answered as not stored.
    pub(crate) refused: u64,
    /// From request to answer, of what was acknowledged while measuring.
    pub(crate) latencies: Latencies,
}

/// What became of a request.
enum Outcome {
    Acknowledged,
    Refused(anyhow::Error),
    Unknown(anyhow::Error),
}

impl Publishers {
    /// Starts them.
    ///
    /// # Errors
    /// There are no threads for them.
    pub(crate) fn start(load: Load) -> Result<Self> {
        let publishers = load.publishers;
        let threads = Threads::start("publishers")?;
        let shared = Arc::new(Shared {
            load,
            acknowledged: AtomicU64::new(0),
            measuring: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for number in 0..publishers {
            tasks.spawn_on(publish(number, Arc::clone(&shared)), threads.handle());
        }
        Ok(Self { tasks, shared, _threads: threads })
    }

    /// Messages acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Begins or ends to note latencies.
    pub(crate) fn measure(&self, measure: bool) {
        self.shared.measuring.store(measure, Ordering::Relaxed);
    }

    /// Lets requests under way come to an end, and no new ones begin.
    ///
    /// # Errors
    /// One of the publishers has given up.
    pub(crate) async fn stop(mut self) -> Result<Tally> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        if let Some(window) = &self.shared.load.window {
            window.close();
        }
        let mut sum = Tally::new();
        let all = async {
            while let Some(tally) = self.tasks.join_next().await {
                sum.add(&tally.context("a publisher panicked")??);
            }
            anyhow::Ok(())
        };
        timeout(STOP_TIMEOUT, all).await.context("the last answers do not come")??;
        Ok(sum)
    }
}

impl Tally {
    fn new() -> Self {
        Self { acknowledged: 0, unknown: 0, refused: 0, latencies: Latencies::new() }
    }

    fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.latencies.add(&other.latencies);
    }
}

async fn publish(number: usize, shared: Arc<Shared>) -> Result<Tally> {
    let Shared { load, .. } = &*shared;
    let node = *load.nodes.get(number % load.nodes.len()).context("no node to publish to")?;
    let topic = load.topics.get(number % load.topics.len()).context("no topic to publish to")?;
    let path = format!("/topics/{topic}");
    let count = u64::try_from(load.batch)?;
    let (mut tally, mut connection, mut body, mut sent, mut failures) = (Tally::new(), None, String::new(), 0, 0);
    while !shared.stopping.load(Ordering::Relaxed) {
        if let Some(window) = &load.window
            && window.enter(load.batch).await.is_err()
        {
            break;
        }
        let first_key = load.keys.then_some((number, sent));
        sent += load.batch;
        let started = Instant::now();
        let error = match request(load, node, &path, first_key, &mut connection, &mut body).await {
            Outcome::Acknowledged => {
                tally.acknowledged += count;
                shared.acknowledged.fetch_add(count, Ordering::Relaxed);
                if shared.measuring.load(Ordering::Relaxed) {
                    tally.latencies.record(u64::try_from(started.elapsed().as_micros())?);
                }
                failures = 0;
                continue;
            }
            Outcome::Refused(error) => {
                tally.refused += count;
                error
            }
            Outcome::Unknown(error) => {
                tally.unknown += count;
                error
            }
        };
        if let Some(window) = &load.window {
            window.take_back(load.batch);
        }
        failures += 1;
        if failures == 1 {
            say(format_args!("publisher {number}: {error:#}"));
        }
        if failures == FAILURES_MAX {
            return Err(error.context(format!("publisher {number} gives up after {FAILURES_MAX} failures")));
        }
        sleep(PAUSE).await;
    }
    Ok(tally)
}

async fn request(
    load: &Load,
    node: SocketAddr,
    path: &str,
    first_key: Option<(usize, usize)>,
    connection: &mut Option<Connection>,
    body: &mut String,
) -> Outcome {
    let open = match connection {
        Some(open) => open,
        None => match Connection::open(node).await {
            Ok(opened) => connection.insert(opened),
            Err(error) => return Outcome::Refused(error.into()),
        },
    };
    let headers = write_request(load, first_key, body);
    match open.post(path, headers, body).await {
        Ok(answer) if matches!(answer.status, 200 | 201) => Outcome::Acknowledged,
        Ok(answer) => {
            let error = anyhow!("{}: {}", answer.status, String::from_utf8_lossy(answer.body));
            if answer.status == 504 { Outcome::Unknown(error) } else { Outcome::Refused(error) }
        }
        Err(error) => {
            *connection = None;
            Outcome::Unknown(error)
        }
    }
}

/// Writes the body, and answers the headers that go with it.
fn write_request(load: &Load, first_key: Option<(usize, usize)>, body: &mut String) -> &'static str {
    body.clear();
    let sent_us = load.clock.now_us();
    for line in 0..load.batch {
        body.push_str(r#"{"value":"#);
        load.values.write(sent_us, body);
        if let Some((publisher, first)) = first_key {
            let _ = write!(body, r#","key":"{publisher}-{}""#, first + line);
        }
        body.push('}');
        if load.batch > 1 {
            body.push('\n');
        }
    }
    if load.batch > 1 { "content-type: application/x-ndjson\r\n" } else { "content-type: application/json\r\n" }
}

//! One load on one topic, from publishers to subscribers, whatever the system: what `fanout` and `latency` measure.

use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;

use super::{pass, pass_and_measure};
use crate::load::message::{Clock, Values};
use crate::load::pace::Pace;
use crate::load::publishers::{Load, Publishers};
use crate::load::sequence::Faults;
use crate::load::subscribers::{self, Seen, Subscribers};
use crate::load::window::Window;
use crate::meter::counts::{Snapshot, ratio, real};
use crate::meter::histogram::Summary;
use crate::systems::{Running, System};

/// How many, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) subscribers: usize,
    pub(crate) publishers: usize,
    pub(crate) drive: Drive,
    /// Messages of a request.
    pub(crate) batch: usize,
    pub(crate) value_bytes: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
}

/// What bounds the load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Drive {
    /// Messages that were sent and have not reached the subscribers.
    InFlight(usize),
    /// Messages a second.
    Rate(f64),
}

/// What one load came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) system: System,
    pub(crate) subscribers: usize,
    pub(crate) publishes_per_second: f64,
    pub(crate) deliveries_per_second: f64,
    /// CPU seconds a second, of all its processes.
    pub(crate) server_cores: f64,
    pub(crate) publishes_per_server_cpu_second: f64,
    pub(crate) deliveries_per_server_cpu_second: f64,
    pub(crate) server_us_per_delivery: f64,
    /// Messages that a subscriber found in one read.
    pub(crate) frames_per_read: f64,
    /// From when a message was sent, or should have been, to its event.
    pub(crate) delivery: Summary,
    /// The same, to the answer.
    pub(crate) ack: Summary,
    /// Of `repl`: messages that were handed to one subscriber at once, by its counters.
    pub(crate) frames_per_batch: f64,
    pub(crate) bytes_per_delivery: f64,
    pub(crate) elections: f64,
    /// CPU seconds a second, of the load.
    pub(crate) load_cores: f64,
    /// From beginning to end, not only while measuring.
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    /// What the system says that it has, if it can tell.
    pub(crate) stored: Option<u64>,
    pub(crate) faults: Faults,
    /// In how many different orders the subscribers saw the messages.
    pub(crate) orders: usize,
    /// Streams that broke.
    pub(crate) broken: usize,
}

/// Puts the load on a system that has just been started.
pub(crate) async fn measure(running: &Running, shape: Shape) -> Result<Found> {
    let Shape { subscribers, publishers, batch, .. } = shape;
    let (values, clock) = (Values::new(shape.value_bytes), Clock::start());
    let each = u64::try_from(subscribers)?;
    let window = Arc::new(match shape.drive {
        Drive::InFlight(messages) => Window::new(messages, each),
        Drive::Rate(_) => Window::unbounded(each),
    });
    let streams = subscribers::open(running.outlet()?, subscribers).await?;
    let readers = Subscribers::start(streams, publishers, values.clone(), clock, Arc::clone(&window));
    let load = Publishers::start(Load {
        inlet: running.inlet.clone(),
        publishers,
        topics: 1,
        batch,
        keys: None,
        values,
        clock,
        pace: match shape.drive {
            Drive::InFlight(_) => Pace::Window(Arc::clone(&window)),
            Drive::Rate(rate) => Pace::Rate(rate),
        },
    })?;
    pass(shape.warm_up_seconds).await;
    let progress = || (load.acknowledged(), window.deliveries(), readers.reads());
    let (before, (published, delivered, reads)) = (Snapshot::take(running).await?, progress());
    readers.measure(true);
    load.measure(true);
    pass_and_measure(shape.seconds, || load.acknowledged() > published && window.deliveries() > delivered).await;
    readers.measure(false);
    load.measure(false);
    let (published_after, delivered_after, reads_after) = progress();
    let interval = before.until(Snapshot::take(running).await?);
    let (published, delivered) = (published_after - published, delivered_after - delivered);

    let tally = load.stop().await?;
    let delivery = readers.latencies();
    let Seen { faults, orders, broken } = readers.finish(&tally.last).await?;
    Ok(Found {
        system: running.system,
        subscribers,
        publishes_per_second: interval.per_second(published),
        deliveries_per_second: interval.per_second(delivered),
        server_cores: interval.server_cores(),
        publishes_per_server_cpu_second: interval.per_server_cpu_second(published),
        deliveries_per_server_cpu_second: interval.per_server_cpu_second(delivered),
        server_us_per_delivery: interval.server_us_per(delivered),
        frames_per_read: ratio(real(delivered), real(reads_after - reads)),
        delivery,
        ack: tally.latencies.summary(),
        frames_per_batch: ratio(interval.grown("fanout_frames_total"), interval.grown("fanout_batches_total")),
        bytes_per_delivery: ratio(
            interval.grown("messages_delivered_bytes_total"),
            interval.grown("messages_delivered_total"),
        ),
        elections: interval.elections(running.system.repl_nodes().unwrap_or(1)),
        load_cores: interval.load_cores(),
        acknowledged: tally.acknowledged,
        refused: tally.refused,
        unknown: tally.unknown,
        stored: running.stored(1).await?,
        faults,
        orders,
        broken,
    })
}

impl Found {
    /// What went wrong, in a word for a table.
    pub(crate) fn trouble(&self) -> String {
        let Faults { missing, repeated, out_of_order, damaged } = self.faults;
        let counts = [
            (missing, "missing"),
            (repeated, "repeated"),
            (out_of_order, "out of order"),
            (damaged, "damaged"),
            (self.refused, "refused"),
            (self.unknown, "unknown"),
            (self.broken as u64, "broken"),
        ];
        let told: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if told.is_empty() { "–".to_owned() } else { told.join(", ") }
    }

    /// What is not as `repl` promises. Others promise other things; for them it stands in the table.
    pub(crate) fn wrong(&self) -> Option<String> {
        let Self { system, subscribers, acknowledged, stored, orders, .. } = self;
        system.repl_nodes()?;
        let right = self.faults == Faults::default() && self.refused + self.unknown + self.broken as u64 == 0;
        (!right || *orders != 1 || *stored != Some(*acknowledged)).then(|| {
            let stored = stored.unwrap_or_default();
            format!(
                "{subscribers} subscribers of {acknowledged} messages, {stored} stored: {}; {orders} orders",
                self.trouble()
            )
        })
    }
}

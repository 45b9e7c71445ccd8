//! The node's counts in the form of Prometheus. Nothing is kept here: each scrape asks the node.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::node::{Counts, Node};
use crate::tls::{Acceptor, Mutual};

/// Asks a node what it counts.
#[derive(Debug)]
pub(super) struct NodeCollector {
    node: Node,
}

impl NodeCollector {
    pub(super) fn new(node: Node) -> Self {
        Self { node }
    }
}

impl Collector for NodeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.node.counts();
        let mut page = Page(&mut encoder);
        raft(&counts, &mut page)?;
        log(&counts, &mut page)?;
        broker(&counts, &mut page)
    }
}

/// Asks until when certificates are valid.
#[derive(Debug)]
pub(super) struct CertificateCollector {
    clients: Option<Acceptor>,
    peers: Option<Mutual>,
}

impl CertificateCollector {
    pub(super) fn new(clients: Option<Acceptor>, peers: Option<Mutual>) -> Self {
        Self { clients, peers }
    }
}

impl Collector for CertificateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let certificates = [
            ("http_certificate_expiry_timestamp_seconds", self.clients.as_ref().map(Acceptor::expires)),
            ("peer_certificate_expiry_timestamp_seconds", self.peers.as_ref().map(Mutual::expires)),
        ];
        for (name, expires) in certificates {
            if let Some(expires) = expires {
                let help = "When the certificate that this port shows expires, in seconds since 1970";
                Page(&mut encoder).gauge(name, help, u64::try_from(expires.as_second()).unwrap_or(0))?;
            }
        }
        Ok(())
    }
}

fn raft(counts: &Counts, page: &mut Page<'_, '_>) -> fmt::Result {
    let leadership = &counts.leadership;
    page.gauge("raft_term", "Current term", leadership.term)?;
    page.gauge("raft_is_leader", "1 if this node leads", u64::from(counts.is_leader))?;
    page.gauge("raft_has_leader", "1 if this node hears from a leader", u64::from(counts.hears_leader))?;
    page.gauge("raft_last_log_index", "Index of the last entry of the log", leadership.last.unwrap_or(0))?;
    page.gauge("raft_purged_index", "Index of the last entry dropped from the log", leadership.purged.unwrap_or(0))?;
    page.gauge(
        "raft_committed_index",
        "Index of the last entry known as committed",
        leadership.committed.unwrap_or(0),
    )?;
    page.gauge("position", "Position of the last message applied", counts.position.get())?;
    page.gauge("topics", "Topics", u64::try_from(counts.topics).unwrap_or(u64::MAX))?;
    page.gauge("presence_members", "Members of topics with presence", u64::try_from(counts.members).unwrap_or(u64::MAX))
}

fn log(counts: &Counts, page: &mut Page<'_, '_>) -> fmt::Result {
    let log = &counts.log;
    page.counter("log_entries", "Entries written to the log", None, log.entries)?;
    page.counter("log_written", "Bytes written to the log", Some(&Unit::Bytes), log.bytes)?;
    page.counter("log_fsyncs", "Fsyncs of the log", None, log.fsyncs)?;
    page.counter("log_fsync", "Time spent in fsyncs of the log", Some(&Unit::Seconds), log.fsync_time.as_secs_f64())?;
    page.gauge("log_segments", "Segments of the log on disk", log.segments)?;
    page.gauge("log_disk_bytes", "Size of the log on disk", log.disk_bytes)?;
    page.gauge("log_cached_bytes", "Entries of the log held in memory", log.cached_bytes)
}

fn broker(counts: &Counts, page: &mut Page<'_, '_>) -> fmt::Result {
    let broker = &counts.broker;
    page.gauge("subscriptions", "Subscriptions", broker.subscriptions)?;
    page.gauge("fanout_kept_bytes", "Batches kept for subscriptions that have not taken them", broker.kept_bytes)?;
    page.counter("fanout_batches", "Batches sealed", None, broker.batches)?;
    page.counter("fanout_frames", "Frames sealed", None, broker.frames)?;
    page.counter("fanout_rounds_cut", "Rounds ended before all had come back", None, broker.rounds_cut)?;
    page.counter("messages_delivered", "Frames handed to subscriptions", None, broker.delivered_frames)?;
    page.counter("messages_delivered", "Bytes handed to subscriptions", Some(&Unit::Bytes), broker.delivered_bytes)?;
    page.counter("subscriptions_behind", "Times a subscription fell back to history", None, broker.behind)
}

/// What is written into.
struct Page<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Page<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let encoder = self.0.encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Gauge)?;
        gauge.encode(encoder)
    }

    fn counter<N>(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: N) -> fmt::Result
    where
        ConstCounter<N>: EncodeMetric,
    {
        let counter = ConstCounter::new(value);
        let encoder = self.0.encode_descriptor(name, help, unit, prometheus_client::metrics::MetricType::Counter)?;
        counter.encode(encoder)
    }
}

//! The node's counts in the form of Prometheus. Nothing is kept here: each scrape asks the node.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::durations::Durations;
use crate::node::{ClusterView, Counts, Node};
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
        members(&self.node.cluster(), &mut page)?;
        log(&counts, &mut page)?;
        broker(&counts, &mut page)?;
        streams(&counts, &mut page)?;
        let given_up = self.node.endpoint().given_up.load(Ordering::Relaxed);
        page.counter("peer_connections_given_up", "Connections of other nodes given up as broken", None, given_up)
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
            // Without a certificate there is a description, and no value.
            let help = "When the certificate that this port shows expires, in seconds since 1970";
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            if let Some(expires) = expires {
                ConstGauge::new(expires.as_second()).encode(encoder)?;
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
    let help = "Time from a command's arrival at the leader until it was applied there";
    page.durations("commit_duration", help, &counts.commits)?;
    page.counter("messages_evicted", "Messages that left retention", None, counts.evicted)?;
    page.gauge("position", "Position of the last message applied", counts.position.get())?;
    page.gauge("topics", "Topics", u64::try_from(counts.topics).unwrap_or(u64::MAX))?;
    page.gauge("presence_members", "Members of topics with presence", u64::try_from(counts.members).unwrap_or(u64::MAX))
}

fn members(view: &ClusterView, page: &mut Page<'_, '_>) -> fmt::Result {
    let voters: Vec<bool> = view.voters().map(|node| node.state.answers()).collect();
    let up = voters.iter().filter(|answers| **answers).count();
    page.gauge("voters", "Nodes that vote", voters.len() as u64)?;
    page.gauge("voters_up", "Nodes that vote and answer, with this one", up as u64)?;
    let others = view.nodes.iter().filter(|node| node.id != view.node);
    let others: Vec<_> = others.map(|node| (node.id.to_string(), u64::from(node.state.answers()))).collect();
    page.gauges("node_up", "1 if this other member answers this node", "node", &others)
}

fn log(counts: &Counts, page: &mut Page<'_, '_>) -> fmt::Result {
    let log = &counts.log;
    page.counter("log_entries", "Entries written to the log", None, log.entries)?;
    page.counter("log_written", "Bytes written to the log", Some(&Unit::Bytes), log.bytes)?;
    page.durations("log_fsync_duration", "Time of one fsync of the log", &log.fsyncs)?;
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

fn streams(counts: &Counts, page: &mut Page<'_, '_>) -> fmt::Result {
    let streams = &counts.streams;
    let results = [("gap", streams.resumed_with_gap), ("whole", streams.resumed_whole)];
    page.counters("stream_resumes", "Streams that went on from a cursor and are up to date", "result", &results)?;
    page.gauge("slow_subscribers", "Streams that catch up because they were too slow", streams.slow)?;
    let help = "Time from the leader's taking a message up until a subscriber's connection takes it";
    page.durations("publish_to_deliver", help, &counts.deliveries)
}

/// The bounds of a histogram's buckets: every second power of two, in microseconds, from 64 to 67 s.
const BOUNDS_MICROS: [u64; 11] =
    [1 << 6, 1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26];

/// What is written into.
struct Page<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Page<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        gauge.encode(encoder)
    }

    /// One for each value of a label.
    fn gauges(&mut self, name: &str, help: &str, label: &str, values: &[(String, u64)]) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (of, value) in values {
            let gauge = ConstGauge::new(i64::try_from(*value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_family(&[(label, of.as_str())])?)?;
        }
        Ok(())
    }

    /// The same of counters.
    fn counters(&mut self, name: &str, help: &str, label: &str, counts: &[(&str, u64)]) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in counts {
            ConstCounter::new(*count).encode(encoder.encode_family(&[(label, *value)])?)?;
        }
        Ok(())
    }

    /// As a histogram, in seconds.
    fn durations(&mut self, name: &str, help: &str, durations: &Durations) -> fmt::Result {
        let counts = durations.counts();
        let mut lower = 0;
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(BOUNDS_MICROS.len() + 1);
        for upper in BOUNDS_MICROS {
            let within = counts.iter().filter(|(end, _)| (lower + 1..=upper).contains(end));
            buckets.push((Duration::from_micros(upper).as_secs_f64(), within.map(|(_, count)| count).sum()));
            lower = upper;
        }
        let beyond = counts.iter().filter(|(end, _)| *end > lower);
        buckets.push((f64::INFINITY, beyond.map(|(_, count)| count).sum()));
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut encoder = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(durations.total().as_secs_f64(), count, &buckets, None)
    }

    fn counter<N>(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: N) -> fmt::Result
    where
        ConstCounter<N>: EncodeMetric,
    {
        let counter = ConstCounter::new(value);
        let encoder = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        counter.encode(encoder)
    }
}

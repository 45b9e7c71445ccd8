//! What there is to show: the newest sample, and what has changed since the one before.

use serde_json::{Value, json};

use crate::cli::admin::member;
use crate::cli::cluster::fares;

/// How much is going on.
#[derive(Debug, Default)]
pub(super) struct Load {
    now: Option<Value>,
    before: Option<Value>,
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) id: u64,
    pub(super) role: String,
    pub(super) state: String,
    /// The same in words.
    pub(super) fares: String,
    /// How long nothing was heard of it, if it doesn't answer.
    pub(super) silent_ms: Option<u64>,
    pub(super) lag: Option<u64>,
    /// The share of its processors that is in use.
    pub(super) cpu: Option<f64>,
    pub(super) connections: Option<u64>,
    /// Messages that it applies in a second.
    pub(super) rate: Option<f64>,
    pub(super) url: String,
}

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Topic {
    pub(super) name: String,
    /// Messages that are published in a second.
    pub(super) rate: Option<f64>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// Streams of it on the node that is asked.
    pub(super) subscribers: u64,
}

/// By what topics are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Rate,
    Messages,
    Bytes,
    Subscribers,
    Name,
}

impl Sort {
    const ALL: [Self; 5] = [Self::Rate, Self::Messages, Self::Bytes, Self::Subscribers, Self::Name];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Messages => "messages",
            Self::Bytes => "bytes",
            Self::Subscribers => "subscribers",
            Self::Name => "name",
        }
    }

    /// So many further on, around the end.
    pub(super) fn step(self, by: usize) -> Self {
        let here = Self::ALL.iter().position(|sort| *sort == self).unwrap_or_default();
        Self::ALL.get((here + by) % Self::ALL.len()).copied().unwrap_or_default()
    }

    pub(super) fn step_back(self) -> Self {
        self.step(Self::ALL.len() - 1)
    }
}

impl Load {
    pub(super) fn take(&mut self, sample: Value) {
        self.before = self.now.replace(sample);
    }

    /// Whether there are rates: two samples of one node.
    pub(super) fn has_rates(&self) -> bool {
        self.seconds().is_some()
    }

    pub(super) fn cluster(&self) -> &Value {
        self.now.as_ref().map_or(&Value::Null, |now| member(now, "cluster"))
    }

    /// The node that is asked.
    pub(super) fn asked(&self) -> &Value {
        member(self.cluster(), "node")
    }

    /// Of the node that is asked: a member of what it counts.
    pub(super) fn count(&self, name: &str) -> u64 {
        of_node(self.now.as_ref(), name)
    }

    /// The same, for each second.
    pub(super) fn rate(&self, name: &str) -> Option<f64> {
        self.per_second(of_node(self.before.as_ref(), name), self.count(name))
    }

    /// How many topics there are. Those that come with a sample may be fewer.
    pub(super) fn topic_count(&self) -> u64 {
        self.now.as_ref().and_then(|now| member(now, "topicCount").as_u64()).unwrap_or_default()
    }

    pub(super) fn nodes(&self) -> Vec<Node> {
        let before = list(self.before.as_ref().map(|before| member(before, "cluster")), "nodes");
        let node = |node: &Value| {
            let then = before.iter().find(|then| member(then, "id") == member(node, "id"));
            let rate = then.and_then(|then| self.per_second(number(then, "applied"), number(node, "applied")));
            let text = |name: &str| member(node, name).as_str().unwrap_or_default().to_owned();
            let lag = member(node, "lag").as_u64();
            Node {
                id: number(node, "id"),
                role: text("role"),
                state: text("state"),
                fares: fares(node),
                silent_ms: member(node, "silentMs").as_u64(),
                lag,
                // One that doesn't answer is not known to do anything.
                cpu: member(node, "cpu").as_f64().filter(|_| lag.is_some()),
                connections: member(node, "connections").as_u64().filter(|_| lag.is_some()),
                rate: rate.filter(|_| lag.is_some()),
                url: text("clientUrl"),
            }
        };
        list(Some(self.cluster()), "nodes").iter().map(node).collect()
    }

    pub(super) fn topics(&self, sort: Sort) -> Vec<Topic> {
        let before = list(self.before.as_ref(), "topics");
        let topic = |topic: &Value| {
            let then = before.iter().find(|then| member(then, "name") == member(topic, "name"));
            Topic {
                name: member(topic, "name").as_str().unwrap_or_default().to_owned(),
                // One that was not there had published nothing.
                rate: self.per_second(then.map_or(1, |then| number(then, "nextSeq")), number(topic, "nextSeq")),
                messages: number(topic, "messages"),
                bytes: number(topic, "bytes"),
                subscribers: number(topic, "subscribers"),
            }
        };
        let mut topics: Vec<Topic> = list(self.now.as_ref(), "topics").iter().map(topic).collect();
        // They come by name, which is what decides between equals.
        match sort {
            Sort::Rate => topics.sort_by(|a, b| b.rate.unwrap_or_default().total_cmp(&a.rate.unwrap_or_default())),
            Sort::Messages => topics.sort_by_key(|topic| std::cmp::Reverse(topic.messages)),
            Sort::Bytes => topics.sort_by_key(|topic| std::cmp::Reverse(topic.bytes)),
            Sort::Subscribers => topics.sort_by_key(|topic| std::cmp::Reverse(topic.subscribers)),
            Sort::Name => {}
        }
        topics
    }

    pub(super) fn document(&self, sort: Sort, topics_max: usize) -> Value {
        let nodes: Vec<Value> = self
            .nodes()
            .into_iter()
            .map(|Node { id, role, state, fares: _, silent_ms, lag, cpu, connections, rate, url }| {
                json!({
                    "id": id, "role": role, "state": state, "silentMs": silent_ms, "lag": lag, "cpu": cpu, "connections": connections,
                    "messagesPerSecond": rate, "clientUrl": url,
                })
            })
            .collect();
        let topics: Vec<Value> = self
            .topics(sort)
            .into_iter()
            .take(topics_max)
            .map(|Topic { name, rate, messages, bytes, subscribers }| {
                json!({
                    "name": name, "messagesPerSecond": rate, "messages": messages, "bytes": bytes,
                    "subscribers": subscribers,
                })
            })
            .collect();
        json!({
            "cluster": member(self.cluster(), "cluster"),
            "term": member(self.cluster(), "term"),
            "leader": member(self.cluster(), "leader"),
            "node": self.asked(),
            "messagesPerSecond": self.rate("position"),
            "deliveriesPerSecond": self.rate("deliveries"),
            "streams": self.count("streams"),
            "nodes": nodes,
            "topicCount": self.topic_count(),
            "topics": topics,
        })
    }

    fn per_second(&self, before: u64, now: u64) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let more = now.saturating_sub(before) as f64;
        Some(more / self.seconds()?)
    }

    /// Between the two samples, if one node has sent both since its start.
    fn seconds(&self) -> Option<f64> {
        let (now, before) = (self.now.as_ref()?, self.before.as_ref()?);
        let node = |sample| member(member(sample, "cluster"), "node");
        let time_ms = |sample| member(sample, "timeMs").as_u64();
        let ms = time_ms(now)?.checked_sub(time_ms(before)?).filter(|ms| *ms > 0 && node(now) == node(before))?;
        Some(std::time::Duration::from_millis(ms).as_secs_f64())
    }
}

fn of_node(sample: Option<&Value>, name: &str) -> u64 {
    sample.map_or(0, |sample| number(member(sample, "node"), name))
}

fn list<'a>(of: Option<&'a Value>, name: &str) -> &'a [Value] {
    of.and_then(|of| member(of, name).as_array()).map(Vec::as_slice).unwrap_or_default()
}

fn number(of: &Value, name: &str) -> u64 {
    member(of, name).as_u64().unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A cluster of two, the second of which is down, after so many seconds with so many messages in `a`.
    pub(in crate::cli::remote::top) fn sample(asked: u64, seconds: u64, messages: u64) -> Value {
        json!({
            "timeMs": seconds * 1_000,
            "cluster": {
                "cluster": "c", "node": asked, "leader": 1, "term": 3,
                "nodes": [
                    { "id": 1, "role": "leader", "state": "up", "applied": messages + 5, "lag": 0, "cpu": 0.25,
                      "connections": 7, "clientUrl": "http://a:1" },
                    { "id": 2, "role": "follower", "state": "down", "silentMs": 61_000, "applied": 5, "connections": 0, "clientUrl": "http://b:1" },
                ],
            },
            "topics": [
                { "name": "a", "nextSeq": messages + 1, "messages": messages, "bytes": 10 * messages, "subscribers": 1 },
                { "name": "b", "nextSeq": 6, "messages": 5, "bytes": 1_000_000, "subscribers": 2 },
            ],
            "topicCount": 2,
            "node": { "position": messages + 5, "deliveries": 3 * messages, "streams": 3 },
        })
    }

    pub(in crate::cli::remote::top) fn load() -> Load {
        let mut load = Load::default();
        load.take(sample(1, 10, 100));
        load.take(sample(1, 12, 300));
        load
    }

    #[test]
    fn rates_are_between_two_samples_of_one_node() {
        let mut load = load();
        assert_eq!((load.rate("position"), load.rate("deliveries")), (Some(100.0), Some(300.0)));
        let rates: Vec<_> = load.nodes().iter().map(|node| node.rate).collect();
        assert_eq!(rates, [Some(100.0), None], "one is down");
        load.take(sample(2, 13, 400));
        assert!(!load.has_rates() && load.topics(Sort::Rate).iter().all(|topic| topic.rate.is_none()));
        load.take(sample(2, 1, 500));
        assert!(!load.has_rates(), "it has started again");
    }

    #[test]
    fn topics_are_sorted_by_any_of_their_numbers() {
        let load = load();
        let names = |sort| load.topics(sort).into_iter().map(|topic| topic.name).collect::<String>();
        let mut sort = Sort::default();
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push((sort.name(), names(sort)));
            assert_eq!(sort.step(1).step_back(), sort);
            sort = sort.step(1);
        }
        let expected = [("rate", "ab"), ("messages", "ab"), ("bytes", "ba"), ("subscribers", "ba"), ("name", "ab")];
        assert_eq!(seen, expected.map(|(name, order)| (name, order.to_owned())));
        assert_eq!(sort, Sort::Rate);
    }
}

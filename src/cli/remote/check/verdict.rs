//! What is wrong with a cluster, by what one of its nodes says of it.

use serde_json::{Value, json};

use crate::cli::admin::member;
use crate::cli::exit;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Ok,
    Unknown,
    Warning,
    Critical,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// As monitors have it.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => exit::UNKNOWN,
        }
    }
}

/// Something that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) text: String,
}

impl Finding {
    pub(super) fn new(level: Level, text: String) -> Self {
        Self { level, text }
    }
}

/// From where on something is wrong.
#[derive(Debug, Default)]
pub(super) struct Thresholds {
    /// In messages.
    pub(super) lag_warning: u64,
    pub(super) lag_critical: u64,
    /// In nodes.
    pub(super) down_warning: u64,
    pub(super) down_critical: u64,
    pub(super) nodes: u64,
    /// That a certificate should still have.
    pub(super) certificate_days: u64,
}

/// What is wrong with a cluster, as a node shows it on `/cluster`.
pub(super) fn judge(cluster: &Value, thresholds: &Thresholds) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |level, text| findings.push(Finding::new(level, text));
    let measured = measure(cluster);
    let number = |name: &str| member(&measured, name).as_u64().unwrap_or_default();

    let down: Vec<String> = nodes(cluster).filter(|node| !answers(node)).map(name).collect();
    let down = down.join(", ");
    if lacks_majority(cluster) {
        // Then nobody leads; that is no other fault.
        let (up, voters) = (number("votersUp"), number("voters"));
        let text = format!(
            "{up} of {voters} voters are up, and {} are needed to write; no answer from {down}",
            voters / 2 + 1
        );
        find(Level::Critical, text);
    } else {
        if member(cluster, "leader").is_null() {
            find(Level::Critical, "nobody leads, so nothing is written".to_owned());
        }
        let level = level(number("down"), thresholds.down_warning, thresholds.down_critical);
        if let (Some(level), false) = (level, down.is_empty()) {
            find(level, format!("no answer from {down}"));
        }
    }
    for node in nodes(cluster).filter(|node| answers(node)) {
        let lag = member(node, "lag").as_u64().unwrap_or_default();
        if let Some(level) = level(lag, thresholds.lag_warning, thresholds.lag_critical) {
            find(level, format!("{} is {lag} messages behind", name(node)));
        }
    }
    let members = number("nodes");
    if members < thresholds.nodes {
        find(Level::Warning, format!("{members} of {} nodes are members", thresholds.nodes));
    }
    findings
}

/// Whether fewer voters answer than are needed to write.
pub(super) fn lacks_majority(cluster: &Value) -> bool {
    let voters = nodes(cluster).filter(|node| is_voter(node));
    let (up, down): (Vec<_>, Vec<_>) = voters.partition(|node| answers(node));
    !down.is_empty() && up.len() <= down.len()
}

/// Whether what is found wrong with a cluster says that the node with this URL doesn't answer.
pub(super) fn tells_of(cluster: &Value, thresholds: &Thresholds, url: &str) -> bool {
    let down = || nodes(cluster).filter(|node| !answers(node));
    let is_told = level(down().count() as u64, thresholds.down_warning, thresholds.down_critical).is_some();
    (is_told || lacks_majority(cluster)) && down().any(|node| member(node, "clientUrl") == url)
}

/// Whether it is what a node shows on `/cluster`.
pub(super) fn is_cluster(answer: &Value) -> bool {
    nodes(answer).next().is_some()
}

/// Whether it was shown to an operator, who sees more.
pub(super) fn is_for_operator(cluster: &Value) -> bool {
    nodes(cluster).any(|node| !member(node, "peerAddr").is_null())
}

/// What there is to measure.
pub(super) fn measure(cluster: &Value) -> Value {
    let number = |node: &Value, name: &str| member(node, name).as_u64().unwrap_or_default();
    json!({
        "leader": member(cluster, "leader"),
        "term": member(cluster, "term"),
        "nodes": nodes(cluster).count(),
        "down": nodes(cluster).filter(|node| !answers(node)).count(),
        "voters": nodes(cluster).filter(|node| is_voter(node)).count(),
        "votersUp": nodes(cluster).filter(|node| is_voter(node) && answers(node)).count(),
        "lag": nodes(cluster).map(|node| number(node, "lag")).max(),
        "connections": nodes(cluster).map(|node| number(node, "connections")).sum::<u64>(),
    })
}

fn nodes(cluster: &Value) -> impl Iterator<Item = &Value> {
    member(cluster, "nodes").as_array().into_iter().flatten()
}

fn is_voter(node: &Value) -> bool {
    member(node, "role") != "learner"
}

/// One that is about to stop still does.
fn answers(node: &Value) -> bool {
    matches!(member(node, "state").as_str(), Some("up" | "draining"))
}

fn name(node: &Value) -> String {
    format!("node {}", member(node, "id"))
}

fn level(number: u64, warning: u64, critical: u64) -> Option<Level> {
    match number {
        _ if number >= critical => Some(Level::Critical),
        _ if number >= warning => Some(Level::Warning),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(leader: Option<u64>, nodes: &[(&str, &str, u64)]) -> Value {
        let node = |(index, (role, state, lag)): (usize, &(&str, &str, u64))| {
            let lag = (*state == "up").then_some(lag);
            json!({ "id": index + 1, "role": role, "state": state, "lag": lag, "connections": 2 })
        };
        json!({ "leader": leader, "term": 3, "nodes": nodes.iter().enumerate().map(node).collect::<Vec<_>>() })
    }

    #[track_caller]
    fn check(leader: Option<u64>, nodes: &[(&str, &str, u64)], expected: &[(Level, &str)]) {
        let limits = Thresholds {
            lag_warning: 10,
            lag_critical: 100,
            down_warning: 1,
            down_critical: u64::MAX,
            nodes: 3,
            ..Thresholds::default()
        };
        let found = judge(&cluster(leader, nodes), &limits);
        let found: Vec<_> = found.iter().map(|finding| (finding.level, &*finding.text)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_wrong_is_found_and_weighed() {
        let up = ("follower", "up", 0);
        check(Some(1), &[("leader", "up", 0), up, ("follower", "up", 9)], &[]);
        check(Some(1), &[("leader", "up", 0), up, ("learner", "draining", 0)], &[]);
        let down = ("follower", "down", 0);
        check(Some(1), &[("leader", "up", 0), down, up], &[(Level::Warning, "no answer from node 2")]);
        check(
            None,
            &[up, down, down],
            &[(Level::Critical, "1 of 3 voters are up, and 2 are needed to write; no answer from node 2, node 3")],
        );
        check(None, &[up, up, up], &[(Level::Critical, "nobody leads, so nothing is written")]);
        check(
            Some(1),
            &[("leader", "up", 0), ("follower", "up", 10), ("learner", "up", 100)],
            &[(Level::Warning, "node 2 is 10 messages behind"), (Level::Critical, "node 3 is 100 messages behind")],
        );
        check(Some(1), &[("leader", "up", 0)], &[(Level::Warning, "1 of 3 nodes are members")]);
        assert!(Level::Critical > Level::Warning && Level::Warning > Level::Unknown && Level::Unknown > Level::Ok);
    }
}

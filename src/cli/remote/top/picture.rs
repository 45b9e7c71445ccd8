//! A load as lines of text, for a screen or for a pipe.

use super::load::{Load, Node, Sort, Topic};
use crate::cli::admin::member;
use crate::cli::cluster::{advice, outlook};
use crate::cli::columns;
use crate::cli::output::counted;

const BOLD: &str = "\x1b[1m";
const REVERSE: &str = "\x1b[7m";

/// How people look at it.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) sort: Sort,
    /// Topics that are above the first one shown.
    pub(super) skipped: usize,
    /// What has become of the connection, as long as that is new.
    pub(super) notice: Option<String>,
    /// Who is asked.
    pub(super) server: String,
}

/// The lines of a screen of this size.
pub(super) fn screen(load: &Load, look: &Look, (width, height): (usize, usize)) -> Vec<String> {
    let mut lines = vec![format!("{BOLD}repl top{}  {}", "\x1b[0m", look.server)];
    lines.extend(summary(load));
    lines.push(String::new());
    let nodes = load.nodes();
    let is_well = |node: &Node| node.state == "up";
    for (number, line) in columns::aligned(&node_rows(&nodes)).lines().enumerate() {
        let style = match number.checked_sub(1).and_then(|number| nodes.get(number)) {
            None => REVERSE,
            Some(node) if is_well(node) => "",
            Some(_) => BOLD,
        };
        lines.push(styled(style, line, width));
    }
    lines.extend(advice(load.cluster()).map(|line| styled("", &line, width)));
    lines.push(String::new());
    let topics = load.topics(look.sort);
    // The heading and the last line are there whatever else is.
    let room = height.saturating_sub(lines.len() + 2);
    let shown: Vec<Topic> = topics.iter().skip(look.skipped).take(room).cloned().collect();
    for (number, line) in columns::aligned(&topic_rows(&shown)).lines().enumerate() {
        lines.push(styled(if number == 0 { REVERSE } else { "" }, line, width));
    }
    lines.truncate(height.saturating_sub(1));
    lines.resize(height.saturating_sub(1), String::new());
    let last = look.notice.clone().unwrap_or_else(|| {
        let (count, sort) = (load.topic_count(), look.sort.name());
        let of = if topics.len() < usize::try_from(count).unwrap_or(usize::MAX) {
            format!("the first {} of {count} topics by name", topics.len())
        } else {
            counted(count, "topic")
        };
        format!("{of}, by {sort}   q quit   ↑ ↓ scroll   ← → sort")
    });
    lines.push(styled(REVERSE, &last, width));
    lines
}

/// The same for who reads standard output: the busiest topics.
pub(super) fn text(load: &Load, sort: Sort, topics_max: usize) -> String {
    let topics: Vec<Topic> = load.topics(sort).into_iter().take(topics_max).collect();
    format!(
        "{}\n\n{}{}\n{}",
        summary(load).join("\n"),
        columns::table(&node_rows(&load.nodes())),
        advice(load.cluster()).map(|line| line + "\n").collect::<String>(),
        columns::table(&topic_rows(&topics))
    )
}

fn summary(load: &Load) -> [String; 2] {
    let cluster = load.cluster();
    let id = member(cluster, "cluster").as_str().unwrap_or("-");
    let of = format!("cluster {id}, term {}: {}", member(cluster, "term"), outlook(cluster));
    let rates = format!(
        "{} messages/s; node {}: {} deliveries/s, {} streams",
        rate(load.rate("position")),
        load.asked(),
        rate(load.rate("deliveries")),
        load.count("streams")
    );
    [of, rates]
}

fn node_rows(nodes: &[Node]) -> Vec<[String; 8]> {
    let headings = ["NODE", "ROLE", "STATE", "LAG", "LOAD", "CONNECTIONS", "MSGS/S", "CLIENTS"].map(str::to_owned);
    let row = |node: &Node| {
        [
            node.id.to_string(),
            node.role.clone(),
            node.fares.clone(),
            node.lag.map_or("-".to_owned(), |lag| lag.to_string()),
            node.cpu.map_or("-".to_owned(), |cpu| format!("{:.0} %", cpu * 100.0)),
            node.connections.map_or("-".to_owned(), |connections| connections.to_string()),
            rate(node.rate),
            node.url.clone(),
        ]
    };
    [headings].into_iter().chain(nodes.iter().map(row)).collect()
}

fn topic_rows(topics: &[Topic]) -> Vec<[String; 5]> {
    let headings = ["MSGS/S", "MESSAGES", "BYTES", "SUBSCRIBERS", "TOPIC"].map(str::to_owned);
    let row = |topic: &Topic| {
        let Topic { name, rate: per_second, messages, bytes, subscribers } = topic;
        [rate(*per_second), messages.to_string(), bytes.to_string(), subscribers.to_string(), name.clone()]
    };
    [headings].into_iter().chain(topics.iter().map(row)).collect()
}

/// A number for each second: whole ones but for the smallest.
fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate > 0.0 && rate < 9.95 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

/// A line that is as wide as the screen, or cut off there.
fn styled(style: &str, line: &str, width: usize) -> String {
    let cut: String = line.chars().take(width).collect();
    if style == REVERSE { format!("{style}{cut:width$}") } else { format!("{style}{cut}") }
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::load;
    use super::*;

    fn plain(line: &str) -> String {
        line.replace(BOLD, "").replace(REVERSE, "").replace("\x1b[0m", "").trim_end().to_owned()
    }

    #[test]
    fn a_screen_shows_nodes_and_the_busiest_topics() {
        let look = Look { server: "http://a:1".to_owned(), ..Look::default() };
        let lines: Vec<String> = screen(&load(), &look, (110, 14)).iter().map(|line| plain(line)).collect();
        let expected = [
            "repl top  http://a:1",
            "cluster c, term 3: 1 of 2 voters are up, and 2 are needed to write",
            "100 messages/s; node 1: 300 deliveries/s, 3 streams",
            "",
            "NODE  ROLE      STATE           LAG  LOAD  CONNECTIONS  MSGS/S  CLIENTS",
            "1     leader    up              0    25 %  7            100     http://a:1",
            "2     follower  down for 1 min  -    -     -            -       http://b:1",
            "node 2 is down: start it again",
            "most voters are down, so that none can be removed: if they are gone for good, see `repl recover --help`",
            "",
            "MSGS/S  MESSAGES  BYTES    SUBSCRIBERS  TOPIC",
            "100     300       3000     1            a",
            "0       5         1000000  2            b",
            "2 topics, by rate   q quit   ↑ ↓ scroll   ← → sort",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_screen_is_never_larger_than_the_terminal() {
        let look = Look { skipped: 1, notice: Some("away: no answer".to_owned()), ..Look::default() };
        for height in 1..20 {
            let lines = screen(&load(), &look, (20, height));
            assert_eq!(lines.len(), height);
            assert!(lines.iter().skip(1).all(|line| plain(line).chars().count() <= 80), "{lines:?}");
            assert_eq!(plain(lines.last().expect("a line")), "away: no answer");
        }
        let lines = screen(&load(), &look, (80, 20));
        assert!(lines.iter().any(|line| plain(line).ends_with("  b")));
        assert!(!lines.iter().any(|line| plain(line).ends_with("  a")));
    }

    #[test]
    fn a_pipe_gets_the_same_once() {
        let text = text(&load(), Sort::Bytes, 1);
        assert!(text.contains("100 messages/s") && text.contains("1000000") && !text.contains('\x1b'), "{text}");
        assert!(!text.contains("3000"), "{text}");
        assert_eq!(
            [None, Some(0.0), Some(0.25), Some(9.96), Some(12_345.6)].map(rate),
            ["-", "0", "0.2", "10", "12346"]
        );
    }
}

//! The targets, each beside what was measured.

use serde::Serialize;

use super::{Findings, Options};
use crate::meter::counts::real;
use crate::modes::topics::Growing;
use crate::modes::{fan, publish};
use crate::report::{Table, count, number};
use crate::systems::System;

/// What the broker of the thesis did: subscribers, publishes a second, cores that it kept busy. On a laptop with more
/// and faster cores, stand-alone, acknowledged in memory.
const THESIS: [(usize, f64, f64); 5] =
    [(50, 106_598.0, 1.44), (100, 56_927.0, 2.31), (500, 9_534.0, 3.56), (1_000, 4_666.0, 3.0), (2_000, 2_514.0, 2.68)];

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Target {
    what: String,
    measured: String,
    target: String,
    /// None if something that it needs was not measured.
    met: Option<bool>,
}

/// A bound.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// All of them.
pub(super) fn targets(found: &Findings, options: &Options) -> Vec<Target> {
    let of = |count: usize| options.of(count);
    [
        saturated(found, of(1_000), [100, 1_000, 2_000].map(of)),
        paced(found),
        flat(found, of),
        idle(found),
        durable(found, of),
        storm(found),
        batteries(found, of),
    ]
    .concat()
}

fn saturated(found: &Findings, middle: usize, subscribers: [usize; 3]) -> Vec<Target> {
    let at = |system, subscribers| {
        let rows = found.saturated.rows.iter().map(|row| &row.0);
        per_cpu_second(rows, system, subscribers)
    };
    let absolute = subscribers.into_iter().zip([2.5e6, 6e6, 6e6]).map(|(subscribers, least)| {
        let what = format!("saturated fan-out to {}, deliveries / CPU-s", count(subscribers));
        Target::new(what, at(System::Repl, subscribers), Bound::AtLeast(least), "")
    });
    let others = [
        (System::Nchan, 50.0),
        (System::Node, 60.0),
        (System::NodeRedis, 13.0),
        (System::Nats, 10.0),
        (System::Axum, 4.0),
    ];
    let relative = others.into_iter().map(|(other, least)| {
        let what = format!("the same to {}, against {}", count(middle), other.name());
        Target::new(what, over(at(System::Repl, middle), at(other, middle)), Bound::AtLeast(least), " ×")
    });
    let narrow = |system| per_cpu_second(found.narrow.rows.iter().map(|row| &row.0), system, middle);
    let narrow = Target::new(
        format!("the same to {} with 16 in flight, against nchan", count(middle)),
        over(narrow(System::Repl), narrow(System::Nchan)),
        Bound::AtLeast(4.0),
        " ×",
    );
    absolute.chain(relative).chain([narrow]).collect()
}

fn paced(found: &Findings) -> Vec<Target> {
    let row = |system| found.paced.rows.iter().map(|row| &row.0).find(|row| row.system == system);
    let cpu = |system| row(system).map(|row| row.server_us_per_delivery);
    let p99 = |system| row(system).map(|row| ms(row.delivery.p99_us));
    let (nchan, node) = (System::Nchan, System::Node);
    let cheaper = [(nchan, 0.65), (node, 0.55)].map(|(other, most)| {
        let what = format!("paced, nothing to coalesce: CPU of a delivery, against {}", other.name());
        Target::new(what, over(cpu(System::Repl), cpu(other)), Bound::AtMost(most), " ×")
    });
    let sooner = [nchan, node].map(|other| {
        let what = format!("the same: publish to delivery p99, against {}", other.name());
        Target::new(what, over(p99(System::Repl), p99(other)), Bound::AtMost(1.0), " ×")
    });
    [cheaper, sooner].concat()
}

fn flat(found: &Findings, of: impl Fn(usize) -> usize) -> Vec<Target> {
    let wide: Vec<f64> = found.wide.rows.iter().map(|row| row.0.server_us_per_delivery).collect();
    let growth = |growing| {
        let rows = found.topics.rows.iter().filter(move |row| row.growing == growing);
        rows.map(|row| row.server_us_per_publish).collect::<Vec<_>>()
    };
    let topics = found.topics.rows.iter().filter_map(|row| row.server_us_per_delivery).collect();
    let cases = [
        (format!("cost of a delivery, from 100 to {} subscribers", count(of(19_000))), wide),
        (format!("the same, from 1 to {} topics", count(of(100_000))), topics),
        (format!("cost of a publish, from 1 to {} topics", count(of(100_000))), growth(Growing::Topics)),
        ("the same, with 1,000 times the history".to_owned(), growth(Growing::History)),
        ("the same, with 1,000 times the keys".to_owned(), growth(Growing::Keys)),
    ];
    cases.map(|(what, costs)| Target::new(what, dearest(&costs), Bound::AtMost(1.25), " ×")).to_vec()
}

fn idle(found: &Findings) -> Vec<Target> {
    let repl = found.idle.rows.iter().filter(|row| row.system == System::Repl);
    let memory = repl.map(|row| {
        let what = format!("memory of one of {} idle subscribers", count(row.subscribers));
        Target::new(what, Some(row.pss_kib_per_subscriber), Bound::AtMost(3.0), " KiB")
    });
    memory.collect()
}

fn durable(found: &Findings, of: impl Fn(usize) -> usize) -> Vec<Target> {
    let row = |system, publishers| {
        let publishers = of(publishers);
        found.publish.rows.iter().find(move |row| row.system == system && row.publishers == publishers)
    };
    let per_cpu = |row: Option<&publish::Found>| row.map(|row| row.acks_per_server_cpu_second);
    let per_second = |row: Option<&publish::Found>| row.map(|row| row.acks_per_second);
    let mut targets = Vec::new();
    for publishers in [64, 256] {
        let ours = row(System::Repl3, publishers);
        let bounds = [(System::JetstreamSync, 2.0), (System::Etcd, 5.0), (System::Jetstream, 1.0)];
        for (other, least) in bounds {
            let what =
                format!("durable publish, 3 nodes, {publishers} publishers: acks / CPU-s, against {}", other.name());
            let ratio = over(per_cpu(ours), per_cpu(row(other, publishers)));
            targets.push(Target::new(what, ratio, Bound::AtLeast(least), " ×"));
            let what = format!("the same, acks / s, against {}", other.name());
            let ratio = over(per_second(ours), per_second(row(other, publishers)));
            targets.push(Target::new(what, ratio, Bound::AtLeast(least), " ×"));
        }
    }
    let batches = found.batches.rows.iter().find(|row| row.system == System::Repl3);
    targets.push(Target::new(
        "the same in batches of 64: acks / CPU-s, against jetstream-sync with one a request".to_owned(),
        over(per_cpu(batches), per_cpu(row(System::JetstreamSync, 64))),
        Bound::AtLeast(8.0),
        " ×",
    ));
    for publishers in [64, 256] {
        let ours = per_second(row(System::Repl, publishers));
        let what = format!("durable publish, stand-alone, {publishers} publishers: acks / s, against redis-streams");
        let ratio = over(ours, per_second(row(System::RedisStreams, publishers)));
        targets.push(Target::new(what, ratio, Bound::AtLeast(1.0), " ×"));
    }
    let alone = row(System::Repl3, 1).map(|row| ms(row.ack.p50_us));
    targets.push(Target::new(
        "durable publish, 3 nodes, 1 publisher: p50".to_owned(),
        alone,
        Bound::AtMost(0.7),
        " ms",
    ));
    targets
}

fn storm(found: &Findings) -> Vec<Target> {
    let storm = found.resume.rows.first();
    let subscribers = storm.map_or(0, |row| row.subscribers);
    let held_up = over(storm.map(|row| ms(row.ack.p99_us)), storm.map(|row| ms(row.calm_ack.p99_us)));
    let down = found.failover.rows.first();
    vec![
        Target::new(
            format!("{} come back at once: all caught up", count(subscribers)),
            storm.map(|row| row.caught_up_seconds),
            Bound::AtMost(5.0),
            " s",
        ),
        Target::new("the same: p99 of publishers, against calm".to_owned(), held_up, Bound::AtMost(3.0), " ×"),
        Target::new(
            "death of the leader to the next acknowledgement, p90".to_owned(),
            down.map(|row| ms(row.down.p90_us)),
            Bound::AtMost(1_000.0),
            " ms",
        ),
    ]
}

fn batteries(found: &Findings, of: impl Fn(usize) -> usize) -> Vec<Target> {
    let batteries = THESIS.map(|(subscribers, publishes, cores)| {
        let rows = found.batteries.rows.iter().map(|row| &row.0);
        let deliveries = publishes * real(subscribers as u64) / cores;
        let ours = per_cpu_second(rows, System::Repl, of(subscribers));
        let what = format!("battery of {} subscribers: deliveries / CPU-s, against the thesis", count(subscribers));
        Target::new(what, over(ours, Some(deliveries)), Bound::AtLeast(3.0), " ×")
    });
    batteries.to_vec()
}

fn per_cpu_second<'a>(
    mut rows: impl Iterator<Item = &'a fan::Found>,
    system: System,
    subscribers: usize,
) -> Option<f64> {
    let row = rows.find(|row| row.system == system && row.subscribers == subscribers)?;
    Some(row.deliveries_per_server_cpu_second)
}

fn over(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    Some(ours? / theirs.filter(|theirs| *theirs > 0.0)?)
}

/// How much more the dearest costs than the first.
fn dearest(costs: &[f64]) -> Option<f64> {
    over(costs.iter().copied().reduce(f64::max), costs.first().copied())
}

fn ms(us: u64) -> f64 {
    real(us) / 1_000.0
}

impl Target {
    fn new(what: String, measured: Option<f64>, bound: Bound, unit: &str) -> Self {
        let (sign, limit, met) = match bound {
            Bound::AtLeast(limit) => ("≥", limit, measured.map(|measured| measured >= limit)),
            Bound::AtMost(limit) => ("≤", limit, measured.map(|measured| measured <= limit)),
        };
        let told = measured.map_or_else(|| "–".to_owned(), |measured| format!("{}{unit}", number(measured)));
        Self { what, measured: told, target: format!("{sign} {}{unit}", number(limit)), met }
    }

    pub(super) fn table(targets: &[Self]) -> Table {
        let met = |target: &Self| match target.met {
            Some(true) => "met",
            Some(false) => "not met",
            None => "not measured",
        };
        let line = |target: &Self| {
            vec![target.what.clone(), target.measured.clone(), target.target.clone(), met(target).to_owned()]
        };
        Table::new(&["what", "measured", "target", ""], targets.iter().map(line).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_at_its_bound_and_unknown_without_a_measurement() {
        let met = |measured, bound| Target::new(String::new(), measured, bound, "").met;
        assert_eq!(met(Some(2.0), Bound::AtLeast(2.0)), Some(true));
        assert_eq!(met(Some(1.9), Bound::AtLeast(2.0)), Some(false));
        assert_eq!(met(Some(2.1), Bound::AtMost(2.0)), Some(false));
        assert_eq!(met(None, Bound::AtMost(2.0)), None);
        assert_eq!(over(Some(1.0), Some(0.0)), None);
        assert_eq!(dearest(&[2.0, 1.0, 3.0]), Some(1.5));
    }
}

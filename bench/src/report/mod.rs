//! What was found: a table for people, JSON for programs, a page with plots for both to be looked at again.

mod html;
pub(crate) mod page;
pub(crate) mod plot;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde::Serialize;

use self::plot::Plot;
use crate::meter::counts::real;
use crate::meter::histogram::Summary;
use crate::meter::machine::Machine;
use crate::progress::say;
use crate::systems::{Lineup, Running, Setup, System};

/// One line of a table.
pub(crate) trait Row: Serialize {
    /// The heads of its columns.
    const COLUMNS: &'static [&'static str];

    /// Its cells, as many as there are columns.
    fn cells(&self) -> Vec<String>;

    /// What was wrong, if anything was: then the figures are worth nothing.
    fn wrong(&self) -> Option<String>;

    /// Pictures of all of them.
    fn plots(_rows: &[&Self]) -> Vec<Plot> {
        Vec::new()
    }
}

/// One that may be measured several times.
pub(crate) trait Repeatable: Row {
    /// Of which system, and under which load.
    fn load(&self) -> String;

    /// By which the one in the middle of several is found.
    fn figure(&self) -> f64;
}

/// What one run of the program found.
#[derive(Debug, Serialize)]
pub(crate) struct Report<P, R> {
    pub(crate) mode: &'static str,
    /// RFC 3339, in UTC.
    pub(crate) date: String,
    /// Of this program.
    bench: &'static str,
    pub(crate) versions: BTreeMap<&'static str, String>,
    pub(crate) machine: Machine,
    parameters: P,
    pub(crate) rows: Vec<R>,
    /// Systems that are not here, or failed, and why.
    pub(crate) skipped: BTreeMap<&'static str, String>,
}

/// Where a report goes.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// Print JSON instead of a table.
    pub(crate) json: bool,
    /// Write a page here, too.
    pub(crate) page: Option<PathBuf>,
}

impl<P: Serialize, R: Row> Report<P, R> {
    /// An empty report. Looks at the machine, so it should be made before there is a load.
    pub(crate) fn begin(mode: &'static str, setup: &Setup, parameters: P) -> Result<Self> {
        Ok(Self {
            mode,
            date: format!("{:.0}", Timestamp::now()),
            bench: env!("CARGO_PKG_VERSION"),
            versions: BTreeMap::new(),
            machine: Machine::look(setup)?,
            parameters,
            rows: Vec::new(),
            skipped: BTreeMap::new(),
        })
    }

    /// Those of the systems that are here. Notes why the others are not.
    pub(crate) fn present(&mut self, lineup: &Lineup) -> Vec<System> {
        for system in &lineup.systems {
            if let Some(reason) = system.absent(&lineup.setup) {
                self.skip(*system, reason);
            }
        }
        lineup.systems.iter().copied().filter(|system| !self.skipped.contains_key(system.name())).collect()
    }

    pub(crate) fn version(&mut self, running: &Running) {
        self.versions.insert(running.system.name(), running.version.clone());
    }

    /// Adds what was found of a system.
    ///
    /// # Errors
    /// `repl` could not be measured. Another system that could not is left out from now on.
    pub(crate) fn add(&mut self, system: System, found: Result<R>) -> Result<()> {
        match found {
            Ok(row) => self.rows.push(row),
            Err(error) if system.repl_nodes().is_some() => return Err(error),
            Err(error) => self.skip(system, format!("{error:#}")),
        }
        Ok(())
    }

    fn skip(&mut self, system: System, reason: String) {
        if self.skipped.get(system.name()) != Some(&reason) {
            say(format_args!("{} is left out: {reason}", system.name()));
        }
        self.skipped.insert(system.name(), reason);
    }

    /// Prints the report on standard output, and writes its page.
    ///
    /// # Errors
    /// It can't be printed, or something was wrong.
    pub(crate) fn finish(&self, output: &Output) -> Result<()> {
        let text = if output.json { serde_json::to_string_pretty(self)? + "\n" } else { self.text() };
        io::stdout().write_all(text.as_bytes()).context("can't print the report")?;
        if let Some(file) = &output.page {
            let page = html::page(self.mode, &self.head(), &self.table(), &self.plots());
            fs::write(file, page).with_context(|| format!("can't write {}", file.display()))?;
        }
        self.check()
    }

    /// # Errors
    /// Something was wrong.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong: Vec<String> = self.rows.iter().filter_map(Row::wrong).collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(())
    }

    pub(crate) fn plots(&self) -> Vec<Plot> {
        R::plots(&self.rows.iter().collect::<Vec<_>>())
    }

    /// The rows under the heads of their columns.
    pub(crate) fn table(&self) -> Table {
        Table::new(R::COLUMNS, self.rows.iter().map(Row::cells).collect())
    }

    fn text(&self) -> String {
        format!("{}\n\n{}", self.head(), self.table().text())
    }

    /// When, where and of what.
    fn head(&self) -> String {
        let mut text = format!("{}, {}\n{}\n", self.mode, self.date, self.machine);
        for (system, version) in &self.versions {
            let configuration = System::parse(system).map_or("", System::configuration);
            let _ = writeln!(text, "{system} {version}: {configuration}");
        }
        for (system, reason) in &self.skipped {
            let _ = writeln!(text, "{system} left out: {reason}");
        }
        let parameters = serde_json::to_value(&self.parameters).unwrap_or_default();
        for (name, value) in parameters.as_object().into_iter().flatten() {
            let _ = write!(text, "{name} {value}  ");
        }
        text.truncate(text.trim_end().len());
        text
    }
}

impl<P, R: Repeatable> Report<P, R> {
    /// Takes in what was found when the same was measured again.
    pub(crate) fn absorb(&mut self, again: Self) {
        self.rows.extend(again.rows);
        self.skipped.extend(again.skipped);
    }

    /// Leaves of each load one row, the one in the middle.
    pub(crate) fn keep_the_middle(&mut self) {
        let mut loads: Vec<Vec<R>> = Vec::new();
        for row in self.rows.drain(..) {
            match loads.iter_mut().find(|rows| rows.iter().all(|other| other.load() == row.load())) {
                Some(rows) => rows.push(row),
                None => loads.push(vec![row]),
            }
        }
        self.rows.extend(loads.into_iter().map(|mut rows| {
            rows.sort_by(|one, other| one.figure().total_cmp(&other.figure()));
            rows.swap_remove((rows.len() - 1) / 2)
        }));
    }
}

/// Heads and lines of cells.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    heads: Vec<&'static str>,
    lines: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heads: &[&'static str], lines: Vec<Vec<String>>) -> Self {
        Self { heads: heads.to_vec(), lines }
    }

    /// Columns two spaces apart, aligned at the right.
    pub(crate) fn text(&self) -> String {
        let width = |at: usize, head: &str| {
            let cells = self.lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count());
            cells.chain([head.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = self.heads.iter().enumerate().map(|(at, head)| width(at, head)).collect();
        let mut text = String::new();
        let heads: Vec<String> = self.heads.iter().map(|head| (*head).to_owned()).collect();
        for line in [&heads].into_iter().chain(&self.lines) {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    /// For a page in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let heads: Vec<String> = self.heads.iter().map(|head| (*head).to_owned()).collect();
        let rule = format!("|{}\n", "--:|".repeat(heads.len()).replacen("--:", "---", 1));
        [line(&heads), rule].into_iter().chain(self.lines.iter().map(|cells| line(cells))).collect()
    }

    /// For a page in HTML.
    fn html(&self) -> String {
        let row = |cells: Vec<String>| format!("<tr>{}</tr>\n", cells.concat());
        let heads = row(self.heads.iter().map(|head| format!("<th>{}</th>", plot::escape(head))).collect());
        let lines = self.lines.iter();
        let lines = lines.map(|line| row(line.iter().map(|cell| format!("<td>{}</td>", plot::escape(cell))).collect()));
        format!("<table>\n{heads}{}</table>\n", lines.collect::<String>())
    }
}

/// A number to three digits or so: 1,234,567, 123, 12.3, 1.23.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    grouped(&format!("{value:.decimals$}"))
}

/// A number that only `repl` tells of itself.
pub(crate) fn of_repl(system: System, value: f64) -> String {
    if system.repl_nodes().is_some() { number(value) } else { "–".to_owned() }
}

/// A whole number: 1,000.
pub(crate) fn count(count: usize) -> String {
    grouped(&count.to_string())
}

fn grouped(text: &str) -> String {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.len();
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (digits - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

/// Microseconds as milliseconds.
pub(crate) fn ms(us: u64) -> String {
    number(real(us) / 1_000.0)
}

/// Median, 99th percentile and maximum in milliseconds.
pub(crate) fn latency(summary: &Summary) -> [String; 3] {
    [ms(summary.p50_us), ms(summary.p99_us), ms(summary.max_us)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        let shown = [0.0, 0.128, 9.5, 12.34, 99.0, 123.4, 1_234.0, 12_345_678.9].map(number);
        assert_eq!(shown, ["0.00", "0.13", "9.50", "12.3", "99.0", "123", "1,234", "12,345,679"]);
        assert_eq!([0, 7, 64, 1_000, 20_000].map(count), ["0", "7", "64", "1,000", "20,000"]);
    }

    #[derive(Serialize)]
    struct Timed(&'static str, f64);

    impl Row for Timed {
        const COLUMNS: &'static [&'static str] = &["load", "time"];

        fn cells(&self) -> Vec<String> {
            vec![self.0.to_owned(), number(self.1)]
        }

        fn wrong(&self) -> Option<String> {
            None
        }
    }

    impl Repeatable for Timed {
        fn load(&self) -> String {
            self.0.to_owned()
        }

        fn figure(&self) -> f64 {
            self.1
        }
    }

    #[test]
    fn of_what_was_measured_again_the_middle_is_kept_in_the_order_of_the_first_time() {
        let report = |rows: [(&'static str, f64); 2]| {
            let mut report = Report::begin("test", &Setup::beside(), ()).expect("a machine");
            report.rows.extend(rows.map(|(load, figure)| Timed(load, figure)));
            report
        };
        let mut kept = report([("many", 9.0), ("few", 1.0)]);
        kept.absorb(report([("many", 7.0), ("few", 3.0)]));
        kept.absorb(report([("many", 8.0), ("few", 2.0)]));
        kept.keep_the_middle();
        assert_eq!(kept.table().text(), "load  time\nmany  8.00\n few  2.00\n");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let lines = vec![vec!["1".to_owned(), "12,345".to_owned()], vec!["64".to_owned(), "7".to_owned()]];
        let table = Table::new(&["publishers", "x"], lines);
        assert_eq!(table.text(), "publishers       x\n         1  12,345\n        64       7\n");
        assert_eq!(table.markdown(), "| publishers | x |\n|---|--:|\n| 1 | 12,345 |\n| 64 | 7 |\n");
    }
}

//! What was found: a table for people, JSON for programs.

use std::fmt::Write as _;
use std::io::{self, Write};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde::Serialize;

use crate::cluster::Setup;
use crate::latency::Summary;
use crate::machine::Machine;

/// One line of a table.
pub(crate) trait Row: Serialize {
    /// The heads of its columns.
    const COLUMNS: &'static [&'static str];

    /// Its cells, as many as there are columns.
    fn cells(&self) -> Vec<String>;

    /// What was wrong, if anything was: then the figures are worth nothing.
    fn wrong(&self) -> Option<String>;
}

/// What one run of the program found.
#[derive(Debug, Serialize)]
pub(crate) struct Report<P, R> {
    mode: &'static str,
    /// RFC 3339, in UTC.
    date: String,
    /// Of the server's program.
    repl: String,
    /// Of this one.
    bench: &'static str,
    machine: Machine,
    parameters: P,
    rows: Vec<R>,
}

impl<P: Serialize, R: Row> Report<P, R> {
    /// An empty report. Looks at the machine, so it should be made before there is a load.
    pub(crate) fn begin(mode: &'static str, setup: &Setup, parameters: P) -> Result<Self> {
        Ok(Self {
            mode,
            date: format!("{:.0}", Timestamp::now()),
            repl: String::new(),
            bench: env!("CARGO_PKG_VERSION"),
            machine: Machine::look(setup)?,
            parameters,
            rows: Vec::new(),
        })
    }

    pub(crate) fn version(&mut self, repl: &str) {
        repl.clone_into(&mut self.repl);
    }

    pub(crate) fn add(&mut self, row: R) {
        self.rows.push(row);
    }

    /// Prints the report on standard output.
    ///
    /// # Errors
    /// It can't be printed, or something was wrong.
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        let text = if json { serde_json::to_string_pretty(self)? + "\n" } else { self.table() };
        io::stdout().write_all(text.as_bytes()).context("can't print the report")?;
        let wrong: Vec<String> = self.rows.iter().filter_map(Row::wrong).collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(())
    }

    fn table(&self) -> String {
        let Machine { cores, cpu, memory_mib, kernel, load_average, file_system, fsync } = &self.machine;
        let mut text = format!(
            "{mode}, {date}, repl {repl}\n{cores} cores ({cpu}), {memory_mib} MiB, Linux {kernel}, load {load_average}\n\
             {file_system}, write and fsync of 256 B: p50 {p50} ms, p99 {p99} ms\n",
            mode = self.mode,
            date = self.date,
            repl = self.repl,
            p50 = ms(fsync.p50_us),
            p99 = ms(fsync.p99_us),
        );
        let parameters = serde_json::to_value(&self.parameters).unwrap_or_default();
        for (name, value) in parameters.as_object().into_iter().flatten() {
            let _ = write!(text, "{name} {value}  ");
        }
        let lines: Vec<Vec<String>> = self.rows.iter().map(Row::cells).collect();
        text.truncate(text.trim_end().len());
        text.push_str("\n\n");
        text.push_str(&align(R::COLUMNS, &lines));
        text
    }
}

/// Right-aligned columns, two spaces apart.
fn align(heads: &[&str], lines: &[Vec<String>]) -> String {
    let width = |at: usize, head: &str| {
        let cells = lines.iter().filter_map(|line| line.get(at)).map(String::len);
        cells.chain([head.len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = heads.iter().enumerate().map(|(at, head)| width(at, head)).collect();
    let mut text = String::new();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for line in [&heads].into_iter().chain(lines) {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A number to three digits or so: 1,234,567, 123, 12.3, 1.23.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
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
    number(crate::counts::real(us) / 1_000.0)
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
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let lines = [vec!["1".to_owned(), "12,345".to_owned()], vec!["64".to_owned(), "7".to_owned()]];
        assert_eq!(align(&["publishers", "x"], &lines), "publishers       x\n         1  12,345\n        64       7\n");
    }
}

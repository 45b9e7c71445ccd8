//! Rows of text, the first of them headings.

use std::io::{self, IsTerminal};

/// As it suits who reads standard output: people, or programs.
pub(super) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    if io::stdout().is_terminal() { aligned(rows) } else { tabbed(rows) }
}

/// A line each, with what belongs together beginning in one column.
pub(super) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |cell: &String| cell.chars().count();
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(width).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(widest).collect();
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// A line each, with tabs between: cells may hold blanks.
fn tabbed<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    rows.iter().map(|row| row.join("\t") + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_columns_and_programs_tabs() {
        let rows = [["TOPIC", "N"], ["café a", "1"], ["b", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "TOPIC   N\ncafé a  1\nb\n");
        assert_eq!(tabbed(&rows), "TOPIC\tN\ncafé a\t1\nb\t\n");
    }
}

//! What is printed when it did not work.

use std::fmt::Write;

/// The error and its causes, a line each, and where to read on.
pub(super) fn report(error: &anyhow::Error, misused: bool) -> String {
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        let _ = writeln!(text, "  because: {cause}");
    }
    if misused {
        text.push_str("\nFor the settings and how they are written, see 'repl --help'.\n");
    }
    text
}

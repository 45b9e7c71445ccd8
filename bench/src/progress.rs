//! What is going on, told on standard error.

use std::fmt;
use std::io::{self, Write};

/// Tells a person who waits.
pub(crate) fn say(what: fmt::Arguments<'_>) {
    // Nobody may be there to read it.
    let _ = writeln!(io::stderr(), "{what}");
}

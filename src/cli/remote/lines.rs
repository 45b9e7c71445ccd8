//! What commands print as it happens: lines for whoever reads standard output, and asides for people.

use std::error::Error;
use std::io::{self, ErrorKind, IsTerminal, Write};

use crate::cli::report::tell;
use crate::client::ClientError;

/// Prints a line at once.
///
/// # Errors
/// It can't be written.
pub(super) fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// What stands between the parts of a line: for people, or for programs.
pub(super) fn separator() -> &'static str {
    if io::stdout().is_terminal() { "  " } else { "\t" }
}

/// Whether nobody reads the lines any more.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Tells people what they wait for.
pub(super) fn still_trying(error: &ClientError) {
    let _ = writeln!(io::stderr(), "repl: still trying: {}", chain(error));
}

/// An error, and its causes.
fn chain(error: &ClientError) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Tells once that there is no connection, and once that there is one again.
#[derive(Debug)]
pub(super) struct Contact {
    command: &'static str,
    is_lost: bool,
}

impl Contact {
    pub(super) fn new(command: &'static str) -> Self {
        Self { command, is_lost: false }
    }

    pub(super) fn lost(&mut self, error: Option<ClientError>) {
        if !self.is_lost {
            let why = error.map(|error| format!(": {}", chain(&error))).unwrap_or_default();
            tell(self.command, &format!("away{why}; going on where it was as soon as a server can be reached"));
        }
        self.is_lost = true;
    }

    pub(super) fn is_there(&mut self) {
        if std::mem::take(&mut self.is_lost) {
            tell(self.command, "back");
        }
    }
}

//! What is told on standard error: why it did not work, and what people should know besides.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use crate::client::{ClientError, TlsFault};

/// The error and its causes, a line each, and where to read on.
pub(super) fn report(error: &anyhow::Error, misused: bool) -> String {
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        let _ = writeln!(text, "  because: {cause}");
    }
    if let Some(advice) = advice(error) {
        let _ = writeln!(text, "\n{advice}");
    }
    if misused {
        text.push_str("\nFor the settings and how they are written, see 'repl --help'.\n");
    }
    shown(&text)
}

/// Tells people something besides.
pub(super) fn tell(command: &str, text: &str) {
    let _ = writeln!(io::stderr(), "repl {command}: {}", shown(text));
}

/// As a terminal may be given it: what servers say is in it, and no command for the terminal should be.
fn shown(text: &str) -> String {
    text.replace(|letter: char| letter.is_control() && letter != '\n', "\u{fffd}")
}

/// What to do next, where the error itself can't know.
fn advice(error: &anyhow::Error) -> Option<&'static str> {
    let error = error.downcast_ref::<ClientError>()?;
    if let Some(fault) = error.tls_fault() {
        return Some(match fault {
            TlsFault::Plain => "The server speaks no TLS at this port: its address begins with http.",
            TlsFault::Authority => {
                "The server shows the certificate of an authority as its own. Have the authority sign one for the server \
                 (openssl req -x509 -CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:FALSE …): docs/security.md, \
                 or /docs/security of a node, has the commands."
            }
            TlsFault::Expired => "The server needs a new certificate (--tls-cert); it takes it without a restart.",
            TlsFault::Untrusted => "--ca-file says whom to believe besides the system's authorities.",
        });
    }
    match error {
        ClientError::Unanswered { .. } | ClientError::Timeout(_) | ClientError::Garbled(_) => Some(
            "Does a broker run there? --server, REPL_SERVER or a context (repl context add) say where to look; `repl dev` \
             starts one to try.",
        ),
        ClientError::Problem { status, .. } if status.as_u16() == 401 => Some(
            "A token is shown by --token-file, REPL_TOKEN or a context (repl context add); `repl token verify` tells what is \
             wrong with one.",
        ),
        ClientError::Problem { code, .. } if code == "topic-not-found" => {
            Some("`repl topic create TOPIC` creates one; `repl topic list` has those there are.")
        }
        ClientError::Problem { code, .. } if code == "presence-off" => {
            Some("`repl topic set TOPIC --presence true` turns it on.")
        }
        ClientError::Problem { .. } | ClientError::Setup(_) | ClientError::Ended(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn no_error_commands_the_terminal() {
        let error = anyhow!("no \u{9b}2J").context("the server says \x1b[2J");
        assert_eq!(report(&error, false), "error: the server says \u{fffd}[2J\n  because: no \u{fffd}2J\n");
    }
}

//! With which codes commands end: the same for all of them, but for `repl check`, whose codes monitors prescribe.

use std::fmt::Write;

use thiserror::Error;

use super::admin::AdminError;
use super::remote;
use crate::config::ConfigError;
use crate::server::{Expelled, ServerError};

pub(super) const DONE: u8 = 0;
pub(super) const FAILED: u8 = 1;
/// As clap has it.
pub(super) const MISUSED: u8 = 2;
/// A service manager must not start the node again.
pub(super) const REMOVED: u8 = 3;
pub(super) const UNREACHABLE: u8 = 4;
pub(super) const NOT_FOUND: u8 = 5;
pub(super) const NOT_ALLOWED: u8 = 6;
pub(super) const TIME_UP: u8 = 7;

/// How `repl check` ends if it can't tell, and where others are [`MISUSED`].
pub(super) const UNKNOWN: u8 = 3;

/// Every code, and what it means.
pub const EXIT_CODES: [(u8, &str); 8] = [
    (DONE, "done, or stopped in order"),
    (FAILED, "refused, or failed"),
    (MISUSED, "the command line, a variable, a named file or the input can't be used"),
    (REMOVED, "the cluster has removed this node; starting it again comes to the same"),
    (UNREACHABLE, "no server answers, or no node at its socket"),
    (NOT_FOUND, "there is no such topic, or none that the token gives a right to"),
    (NOT_ALLOWED, "the token is missing, not accepted, or gives no right to this"),
    (TIME_UP, "the time was up"),
];

/// What was given can't be used.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Misuse(String);

impl Misuse {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// The part of a help text that says how a command may end: with one of these, or done, failed or misused.
pub(super) fn help(codes: &[u8]) -> String {
    let may = |code: u8| code <= MISUSED || codes.contains(&code);
    let mut text = "Exit codes:".to_owned();
    for (code, means) in EXIT_CODES.iter().filter(|(code, _)| may(*code)) {
        let _ = write!(text, "\n  {code}  {means}");
    }
    text
}

/// With which code a failure ends.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    if let Some(code) = remote::exit_code(error) {
        return code;
    }
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(ServerError::Expelled(Expelled::Removed)), _) => REMOVED,
        (_, Some(AdminError::Unreachable { .. })) => UNREACHABLE,
        _ if is_misuse(error) || error.is::<Misuse>() => MISUSED,
        _ => FAILED,
    }
}

/// Whether it is the settings, or a file that they name, that can't be used.
pub(super) fn is_misuse(error: &anyhow::Error) -> bool {
    let of_server = matches!(
        error.downcast_ref(),
        Some(
            ServerError::Tls { .. }
                | ServerError::Keys(_)
                | ServerError::Secret(_)
                | ServerError::Origin(_)
                | ServerError::OtherCluster(_)
        )
    );
    of_server || error.is::<ConfigError>()
}

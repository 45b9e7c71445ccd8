//! Whoever sends a request.

use super::Rights;
use crate::domain::Timestamp;

/// Whoever sends a request, as far as a token tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Whose token it is: `sub`.
    pub subject: Option<String>,
    /// Which token it is: `jti`.
    pub token: Option<String>,
    /// When it was issued: `iat`.
    pub issued_at: Option<Timestamp>,
    /// From then on it is good for nothing: `exp`. Nobody in particular doesn't expire.
    pub expires_at: Option<Timestamp>,
    /// What it allows.
    pub rights: Rights,
}

impl Principal {
    /// Nobody in particular: whoever sends no token.
    #[must_use]
    pub fn anonymous(rights: Rights) -> Self {
        Self { subject: None, token: None, issued_at: None, expires_at: None, rights }
    }
}

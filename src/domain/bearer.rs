//! Who may be turned away again.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Timestamp;

/// A ticket as the cluster knows it: the SHA-256 of its text, so that neither a log nor a backup lets anybody in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TicketId([u8; 32]);

impl TicketId {
    /// Of the text that its holder shows.
    #[must_use]
    pub fn of(ticket: &str) -> Self {
        Self(Sha256::digest(ticket).into())
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketId")
    }
}

/// What somebody is known by who was let in: what a revocation can name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bearer {
    /// Whose token it is: `sub`.
    pub subject: Option<String>,
    /// Which token it is: `jti`.
    pub token: Option<String>,
    /// When it was issued: `iat`.
    pub issued_at: Option<Timestamp>,
    /// The ticket, if that was shown. The rest is of the token that it was made with.
    pub ticket: Option<TicketId>,
}

/// Whom a revocation names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Revoked {
    /// One token, by its id.
    Token(String),
    /// All tokens of a subject that were issued up to now.
    Subject(String),
    /// One ticket.
    Ticket(TicketId),
}

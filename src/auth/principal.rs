//! Whoever sends a request.

use super::Rights;
use crate::domain::{Bearer, MemberData, Timestamp};

/// Whoever sends a request, as far as a token or a ticket tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// What he is known by.
    pub bearer: Bearer,
    /// From then on what he showed is good for nothing: `exp`. Nobody in particular doesn't expire.
    pub expires_at: Option<Timestamp>,
    /// What he may do.
    pub rights: Rights,
    /// What others should see of him where he reads.
    pub data: Option<MemberData>,
}

impl Principal {
    /// Nobody in particular: whoever shows nothing.
    #[must_use]
    pub fn anonymous(rights: Rights) -> Self {
        Self { bearer: Bearer::default(), expires_at: None, rights, data: None }
    }
}

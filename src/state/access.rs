//! Tickets and revocations: what every node must know of who is let in.

use serde::{Deserialize, Serialize};

use super::expiring::{Expiring, Item};
use super::outcome::{Outcome, Refusal, Reply};
use super::{Machine, Quotas};
use crate::domain::{Bearer, MemberData, Pattern, Revoked, TicketId, Timestamp};

/// Tickets at once, in the whole cluster. At most some kilobytes each.
pub const TICKETS_MAX: u64 = 50_000;

/// Revocations at once. None is ever dropped before its time: it would let somebody in again.
pub const REVOCATIONS_MAX: u64 = 10_000;

/// What a ticket allows: to read, for a while. Its holder is who made it, as long as that one is not turned away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Whose it is: of the token that it was made with.
    pub bearer: Bearer,
    /// What may be read with it.
    pub subscribe: Vec<Pattern>,
    /// Users whose presence may be seen with it.
    pub presence: Vec<Pattern>,
    /// What others see of its holder.
    pub data: Option<MemberData>,
}

impl Ticket {
    /// The subject, or the token, that has it.
    fn owner(&self) -> Option<&str> {
        self.bearer.subject.as_deref().or(self.bearer.token.as_deref())
    }
}

/// The log's time when it was revoked: what was issued later is not meant.
pub(super) type RevokedAt = Timestamp;

pub(super) type TicketItem = Item<TicketId, Ticket>;
pub(super) type RevocationItem = Item<Revoked, RevokedAt>;

/// Who is let in besides whoever has a token, and who is not although he has one.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) tickets: Expiring<TicketId, Ticket>,
    pub(super) revocations: Expiring<Revoked, RevokedAt>,
    /// See [`Machine::revocations`]. Not a part of the state.
    turned_away: u64,
}

impl Access {
    pub(super) fn starting_at(next_ticket: u64, next_revocation: u64) -> Self {
        let tickets = Expiring::starting_at(next_ticket, Ticket::owner);
        let revocations = Expiring::starting_at(next_revocation, |_| None);
        Self { tickets, revocations, turned_away: 0 }
    }

    /// All rows are read.
    pub(super) fn restored(mut self) -> Self {
        self.turned_away = self.revocations.len();
        self
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        self.tickets.expire(now);
        self.revocations.expire(now);
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.tickets.next_due().into_iter().chain(self.revocations.next_due()).min()
    }

    pub(super) fn changed_rows(&self) -> usize {
        self.tickets.changed_rows() + self.revocations.changed_rows()
    }

    fn is_revoked(&self, bearer: &Bearer) -> bool {
        let Bearer { subject, token, issued_at, ticket } = bearer;
        if let Some(ticket) = ticket {
            // With those whom it names a revocation removes their tickets.
            return self.tickets.get(ticket).is_none();
        }
        let by_token = token.clone().is_some_and(|token| self.revocations.get(&Revoked::Token(token)).is_some());
        let by_subject = subject.clone().and_then(|subject| self.revocations.get(&Revoked::Subject(subject)));
        // Who doesn't say when a token was issued can't say that it was later.
        by_token || by_subject.is_some_and(|revoked| issued_at.is_none_or(|issued_at| issued_at <= revoked.value))
    }
}

impl Machine {
    pub(super) fn create_ticket(
        &mut self,
        key: TicketId,
        ticket: Ticket,
        expires_at: Timestamp,
        quotas: Quotas,
    ) -> Outcome {
        // Whoever made it may have been turned away while it was on its way.
        if self.access.is_revoked(&ticket.bearer) {
            return Err(Refusal::Revoked);
        }
        let is_new = self.access.tickets.get(&key).is_none();
        if is_new && self.access.tickets.len() >= TICKETS_MAX {
            return Err(Refusal::TicketsFull);
        }
        if is_new && self.access.tickets.owned_like(&ticket) >= quotas.subject_tickets {
            return Err(Refusal::SubjectTicketsFull);
        }
        self.access.tickets.insert(Item { key, value: ticket, expires_at });
        Ok(Reply::TicketCreated)
    }

    pub(super) fn revoke(&mut self, key: Revoked, until: Timestamp) -> Outcome {
        let known = self.access.revocations.get(&key).map(|known| known.expires_at);
        let needs_record = !matches!(key, Revoked::Ticket(_));
        if needs_record && known.is_none() && self.access.revocations.len() >= REVOCATIONS_MAX {
            return Err(Refusal::RevocationsFull);
        }
        match &key {
            Revoked::Ticket(ticket) => self.access.tickets.remove(ticket),
            Revoked::Token(id) => {
                self.access.tickets.remove_where(|ticket| ticket.value.bearer.token.as_ref() == Some(id));
            }
            Revoked::Subject(subject) => {
                self.access.tickets.remove_where(|ticket| ticket.value.bearer.subject.as_ref() == Some(subject));
            }
        }
        if needs_record {
            let expires_at = known.map_or(until, |known| known.max(until));
            self.access.revocations.insert(Item { key, value: self.time, expires_at });
        }
        self.access.turned_away += 1;
        Ok(Reply::Revoked)
    }

    /// A ticket, and when it expires, if it is there.
    #[must_use]
    pub fn ticket(&self, id: TicketId) -> Option<(&Ticket, Timestamp)> {
        self.access.tickets.get(&id).map(|item| (&item.value, item.expires_at))
    }

    /// Whether somebody who was let in is not any more.
    #[must_use]
    pub fn is_revoked(&self, bearer: &Bearer) -> bool {
        self.access.is_revoked(bearer)
    }

    /// Rises with each revocation that is applied here. As long as it is zero, nobody is revoked.
    #[must_use]
    pub fn revocations(&self) -> u64 {
        self.access.turned_away
    }
}

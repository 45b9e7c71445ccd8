//! Who is let in: tickets, and those who are turned away.

use tokio::time::{Instant, timeout};

use super::stream::LEADER_TIMEOUT;
use super::{Node, WriteError};
use crate::domain::{Bearer, Revoked, TicketId, Timestamp};
use crate::state::{Command, Ticket};

impl Node {
    /// Makes a ticket good, on every node that has applied this.
    ///
    /// # Errors
    /// Refused if there are too many, or if its bearer was turned away meanwhile; see [`WriteError`] for the rest.
    pub async fn create_ticket(
        &self,
        id: TicketId,
        ticket: Ticket,
        expires_at: Timestamp,
        deadline: Instant,
    ) -> Result<(), WriteError> {
        // A second time comes to the same.
        self.write(&Command::CreateTicket { id, ticket, expires_at }, true, deadline).await.map(|_| ())
    }

    /// Turns somebody away. Once this is answered, no node that has applied it sends anything to whom it names any more, and
    /// this one has.
    ///
    /// # Errors
    /// Refused if there are too many; see [`WriteError`] for the rest.
    pub async fn revoke(&self, whom: Revoked, until: Timestamp, deadline: Instant) -> Result<(), WriteError> {
        // Of a subject a second time would turn away also what was issued between the two.
        let repeatable = !matches!(whom, Revoked::Subject(_));
        self.write(&Command::Revoke { whom, until }, repeatable, deadline).await.map(|_| ())
    }

    /// A ticket, and when it expires. One that this node has not heard of may have been made elsewhere just now, so the
    /// leader is asked how far the log is. Nothing in the first place: nobody can tell now.
    pub async fn ticket(&self, id: TicketId) -> Option<Option<(Ticket, Timestamp)>> {
        let look = || {
            let replica = self.inner.consensus.replica();
            replica.read(|machine| machine.ticket(id).map(|(ticket, expires_at)| (ticket.clone(), expires_at)))
        };
        if let Some(found) = look() {
            return Some(Some(found));
        }
        let committed = self.committed().await?;
        timeout(LEADER_TIMEOUT, self.applied(committed.index)).await.ok()?;
        Some(look())
    }

    /// Whether somebody who was let in is not any more.
    #[must_use]
    pub fn is_revoked(&self, bearer: &Bearer) -> bool {
        let replica = self.inner.consensus.replica();
        // Mostly nobody is, and then applying and asking don't wait for each other.
        let nobody = bearer.ticket.is_none() && *replica.revocations().borrow() == 0;
        !nobody && replica.read(|machine| machine.is_revoked(bearer))
    }
}

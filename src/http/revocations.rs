//! Turning away somebody who was let in.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::access::Operator;
use super::body::Json;
use super::{App, Code, Problem};
use crate::auth::Policy;
use crate::domain::{Revoked, TicketId, Timestamp};

/// How much longer than its tokens a revocation is kept: nodes' clocks differ.
const MARGIN: Duration = Duration::from_secs(60);

/// In bytes, as of the claims that they name.
const NAME_BYTES_MAX: usize = 255;

/// Whom to turn away: one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Revocation)]
pub(super) struct NewRevocation {
    /// A token's id (`jti`), and the tickets that were made with it.
    #[schema(min_length = 1, max_length = 255)]
    token: Option<String>,
    /// A subject (`sub`): its tokens that were issued up to now, and their tickets. Tokens without `iat` count as such.
    #[schema(min_length = 1, max_length = 255)]
    subject: Option<String>,
    /// A ticket.
    ticket: Option<String>,
}

/// Revoke
///
/// Once this is answered, no node that has applied it lets in, or sends anything to, whom it names; this node has applied it.
/// Streams that are open end with `repl.auth`. It is kept until all that it names would have expired. After a 504 it may have
/// been done; to repeat it is safe.
#[utoipa::path(post, path = "/revocations", operation_id = "revoke", tag = "access", request_body = NewRevocation,
    responses((status = 204, description = "Whoever was named is turned away")))]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    _: Operator,
    Json(revocation): Json<NewRevocation>,
) -> Result<StatusCode, Problem> {
    let whom = match revocation {
        NewRevocation { token: Some(token), subject: None, ticket: None } => Revoked::Token(name(token)?),
        NewRevocation { token: None, subject: Some(subject), ticket: None } => Revoked::Subject(name(subject)?),
        NewRevocation { token: None, subject: None, ticket: Some(ticket) } => Revoked::Ticket(TicketId::of(&ticket)),
        _ => return Err(Problem::new(Code::InvalidBody, "Name one of `token`, `subject` and `ticket`.")),
    };
    let life_max = app.options.auth.as_ref().map_or(Policy::default().life_max, |authority| authority.life_max());
    app.node.revoke(whom, Timestamp::now().plus(life_max).plus(MARGIN), app.write_deadline()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn name(text: String) -> Result<String, Problem> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        let detail = format!("`token` and `subject` have from 1 to {NAME_BYTES_MAX} bytes.");
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    Ok(text)
}

//! Tickets: for pages of other sites, whose `EventSource` sends neither headers nor cookies.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Caller;
use super::body::Json;
use super::party::Asking;
use super::path::NameText;
use super::{App, Code, Problem};
use crate::domain::{Pattern, Selection, TicketId, Timestamp, TopicName};
use crate::state::Ticket;

/// Topics and patterns of one ticket, together: it is kept by every node.
const SELECTED_MAX: usize = 32;

/// How long a ticket is good for, unless its maker says, and at most.
const LIFE_SECONDS: u64 = 600;
const LIFE_SECONDS_MAX: u64 = 86_400;

/// A ticket to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewTicket {
    /// Topics to read. Names with a `*` in them can't stand in a ticket.
    #[serde(default)]
    #[schema(value_type = Vec<NameText>)]
    topics: Vec<String>,
    /// Patterns over topics to read; they stand for no more than the token allows.
    #[serde(default, rename = "match")]
    patterns: Vec<String>,
    /// How long it is good for; never longer than the token.
    #[schema(minimum = 1, maximum = 86400, default = 600)]
    life_seconds: Option<u64>,
}

/// A ticket that is good.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Ticket)]
pub(super) struct TicketBody {
    /// What to send as `?ticket=` when a stream is opened, as often as it breaks.
    ticket: String,
    /// Until then; a stream that is open ends. RFC 3339.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// Make a ticket
///
/// A random text that stands for a part of what the token may read, for a while, on every node: a URL may show up in logs
/// and histories, and a token is worth more.
#[utoipa::path(post, path = "/tickets", operation_id = "createTicket", tag = "access", request_body = NewTicket,
    responses((status = 201, description = "The ticket is good", body = TicketBody)))]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    asking: Asking,
    Json(wanted): Json<NewTicket>,
) -> Result<(StatusCode, Json<TicketBody>), Problem> {
    let selection = caller.readable(selection(&wanted)?)?;
    let (bearer, end) = caller.known()?;
    let subscribe = patterns(selection)?;
    let life_seconds = wanted.life_seconds.unwrap_or(LIFE_SECONDS);
    if !(1..=LIFE_SECONDS_MAX).contains(&life_seconds) {
        let detail = format!("`lifeSeconds` is a number from 1 to {LIFE_SECONDS_MAX}.");
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    let expires_at = end.min(Timestamp::now().plus(Duration::from_secs(life_seconds)));

    app.check_creation_rate(&asking)?;
    let text = random_text()?;
    let (data, presence) = caller.shown();
    let ticket = Ticket { bearer, subscribe, presence, data };
    app.node.create_ticket(TicketId::of(&text), ticket, expires_at, app.write_deadline()).await?;
    Ok((StatusCode::CREATED, Json(TicketBody { ticket: text, expires_at: expires_at.to_string() })))
}

fn selection(wanted: &NewTicket) -> Result<Selection, Problem> {
    let selected = wanted.topics.len() + wanted.patterns.len();
    if !(1..=SELECTED_MAX).contains(&selected) {
        let detail = format!("Name from 1 to {SELECTED_MAX} of `topics` and `match` together.");
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    Ok(Selection {
        topics: wanted.topics.iter().map(|name| TopicName::parse(name)).collect::<Result<_, _>>()?,
        patterns: wanted.patterns.iter().map(|pattern| Pattern::parse(pattern)).collect::<Result<_, _>>()?,
    })
}

/// What a ticket allows. A name is the pattern that stands for it alone, but for one that looks like a wider one.
fn patterns(selection: Selection) -> Result<Vec<Pattern>, Problem> {
    let Selection { topics, patterns } = selection;
    if topics.iter().any(|topic| topic.as_str().contains('*')) {
        return Err(Problem::new(Code::InvalidTopicName, "A name with a `*` in it can't stand in a ticket."));
    }
    let names = topics.iter().map(|topic| Pattern::parse(topic.as_str())).collect::<Result<Vec<_>, _>>()?;
    let all: Vec<Pattern> = names.into_iter().chain(patterns).collect();
    if all.len() > SELECTED_MAX {
        let detail = "With the patterns of the token `match` stands for too many; narrow it.";
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    Ok(all)
}

/// Out of reach of guessing: 256 bits.
fn random_text() -> Result<String, Problem> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| Problem::internal(&error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

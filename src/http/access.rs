//! Who asks, and whether they may.
//!
//! A token comes in a header or in a cookie; for a stream there may be a ticket in the URL instead.
//!
//! Nothing that needs a right is reached but through one of these extractors: a topic of a path is a [`Topic`] *for* a
//! purpose, and whoever opens a stream or lists topics asks the [`Caller`]. A token is looked at once for each request.
//! Where the operator named no keys and no rights for everybody, all are allowed everything, and nothing is looked at.
//!
//! Refusals tell nothing about topics that the caller has no right to: such a topic is missing, whether it exists or not.
//! Who has sent no token is asked for one first (401), whatever he asks for.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::{App, Code, Problem, origin, path, query, stream};
use crate::auth::{Action, Authority, Principal, Refused, Rights};
use crate::domain::{Bearer, MemberData, Pattern, Selection, TicketId, Timestamp, TopicName, UserId};
use crate::node::{Lease, Reader, Watched};
use crate::state::{Refusal, Ticket};

/// A token for pages that use a bare `EventSource`, which sends no headers. Browsers keep the promise of its prefix: it
/// is only set, and sent, over TLS.
pub(super) const COOKIE_NAME: &str = "__Secure-repl_token";

/// The parameter of a stream that holds a ticket.
pub(super) const TICKET: &str = "ticket";

/// Whoever sends a request.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Nobody is asked who he is, or it is the operator.
    Trusted,
    /// Whoever sent no token.
    Anonymous(Arc<Principal>),
    /// Whoever sent a token or a ticket that is good.
    Proven(Arc<Principal>),
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let Some(authority) = &app.options.auth else { return Ok(Self::Trusted) };
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let caller = Self::identify(app, authority, parts).await?;
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

impl Caller {
    async fn identify(app: &App, authority: &Authority, parts: &Parts) -> Result<Self, Rejection> {
        let token = if let Some(token) = bearer(&parts.headers)? {
            token
        } else if let Some(ticket) = ticket(parts) {
            return Self::by_ticket(app, &ticket).await;
        } else if let Some(token) = cookie(&parts.headers)? {
            origin::check_cookie(&app.options, parts)?;
            token
        } else {
            return Ok(Self::Anonymous(Arc::clone(authority.anonymous())));
        };
        let principal = authority.verify(token, Timestamp::now()).map_err(|error| {
            app.metrics.token_refused(error.reason());
            Problem::from(error)
        })?;
        if app.node.is_revoked(&principal.bearer) {
            app.metrics.token_refused("revoked");
            return Err(Refusal::Revoked.into());
        }
        Ok(Self::Proven(principal))
    }

    async fn by_ticket(app: &App, text: &str) -> Result<Self, Rejection> {
        let id = TicketId::of(text);
        // A node that can't tell now refuses softly: a bare `EventSource` takes any other answer for the last word.
        let found = app.node.ticket(id).await.ok_or(Rejection::Softly)?;
        let Some((ticket, expires_at)) = found.filter(|(_, expires_at)| *expires_at > Timestamp::now()) else {
            app.metrics.token_refused("ticket");
            return Err(bad_ticket().into());
        };
        let Ticket { bearer, subscribe, presence, data } = ticket;
        Ok(Self::Proven(Arc::new(Principal {
            bearer: Bearer { ticket: Some(id), ..bearer },
            expires_at: Some(expires_at),
            rights: Rights { subscribe, presence, ..Rights::default() },
            data,
        })))
    }

    /// Whether this may be done with a topic; without an action, whether anything may.
    pub(super) fn check(&self, action: Option<Action>, topic: &TopicName) -> Result<(), Problem> {
        let allows = |principal: &Principal| match action {
            Some(action) => principal.rights.allow(action, topic),
            None => principal.rights.see(topic),
        };
        match self {
            Self::Proven(principal) if !allows(principal) && !principal.rights.see(topic) => {
                Err(Problem::topic_not_found())
            }
            _ => self.require(allows, "This can't be done with this topic"),
        }
    }

    /// Whether a topic may be created. One that may not need not exist.
    pub(super) fn check_creation(&self, topic: &TopicName) -> Result<(), Problem> {
        self.require(|principal| principal.rights.allow(Action::Manage, topic), "A topic of this name can't be created")
    }

    /// Whether the caller learns of a topic that exists.
    pub(super) fn sees(&self, topic: &TopicName) -> bool {
        match self {
            Self::Trusted => true,
            Self::Anonymous(principal) | Self::Proven(principal) => principal.rights.see(topic),
        }
    }

    /// What of a selection the caller may read.
    pub(super) fn readable(&self, selection: Selection) -> Result<Selection, Problem> {
        match self {
            Self::Trusted => Ok(selection),
            Self::Anonymous(principal) | Self::Proven(principal) => {
                principal.rights.readable(selection).map_err(|refused| match refused {
                    Refused::Topic(topic) => self.refuse("This topic can't be read").with("topic", topic.as_str()),
                    Refused::Pattern(pattern) => {
                        self.refuse("Nothing that this pattern stands for can be read").with("match", pattern.as_str())
                    }
                })
            }
        }
    }

    /// Whether the caller may know of these topics' members and these users. Of a topic that he may read, and of himself,
    /// everybody may.
    pub(super) fn check_watched(&self, watched: &Watched) -> Result<(), Problem> {
        self.readable(Selection { topics: watched.topics.clone(), ..Selection::default() })?;
        watched.users.iter().try_for_each(|user| self.check_user(user))
    }

    /// Whether the caller may know where a user is.
    pub(super) fn check_user(&self, user: &UserId) -> Result<(), Problem> {
        let is_himself = |principal: &Principal| principal.bearer.subject.as_deref() == Some(user.as_str());
        let may_see = |principal: &Principal| principal.rights.see_user(user) || is_himself(principal);
        self.require(may_see, "Where this user is can't be seen")
    }

    /// Whether the caller sees what operators see.
    pub(super) fn is_operator(&self) -> bool {
        match self {
            Self::Trusted => true,
            Self::Anonymous(principal) | Self::Proven(principal) => principal.rights.admin,
        }
    }

    /// Who reads a stream of the caller, if that is somebody. Where nobody is asked who he is, he may say so.
    pub(super) fn reader(&self, name: Option<UserId>) -> Result<Option<Reader>, Problem> {
        match self {
            Self::Trusted => Ok(name.map(|user| Reader { user, data: None })),
            Self::Anonymous(_) | Self::Proven(_) if name.is_some() => {
                Err(query::invalid("as", "tokens tell here who somebody is; leave it out"))
            }
            Self::Anonymous(_) => Ok(None),
            Self::Proven(principal) => {
                let subject = principal.bearer.subject.as_deref().map(UserId::parse).transpose()?;
                Ok(subject.map(|user| Reader { user, data: principal.data.clone() }))
            }
        }
    }

    /// What a ticket of the caller shows of him, and whom its holder may see.
    pub(super) fn shown(&self) -> (Option<MemberData>, Vec<Pattern>) {
        match self {
            Self::Trusted => (None, vec![Pattern::parse("**").expect("a pattern")]),
            Self::Anonymous(principal) | Self::Proven(principal) => {
                (principal.data.clone(), principal.rights.presence.clone())
            }
        }
    }

    /// Until when a stream of the caller is served.
    pub(super) fn lease(&self) -> Option<Lease> {
        match self {
            Self::Trusted | Self::Anonymous(_) => None,
            Self::Proven(principal) => {
                let bearer = principal.bearer.clone();
                principal.expires_at.map(|expires_at| Lease { bearer, expires_at })
            }
        }
    }

    /// What the caller is known by, and until when he is. Nobody in particular is not known.
    pub(super) fn known(&self) -> Result<(Bearer, Timestamp), Problem> {
        match self {
            Self::Trusted => Ok((Bearer::default(), Timestamp::MAX)),
            Self::Anonymous(_) => Err(self.refuse("This can't be done")),
            Self::Proven(principal) => Ok((principal.bearer.clone(), principal.expires_at.unwrap_or(Timestamp::MAX))),
        }
    }

    fn require(&self, is_allowed: impl Fn(&Principal) -> bool, what: &str) -> Result<(), Problem> {
        match self {
            Self::Trusted => Ok(()),
            Self::Anonymous(principal) | Self::Proven(principal) if is_allowed(principal) => Ok(()),
            Self::Anonymous(_) | Self::Proven(_) => Err(self.refuse(what)),
        }
    }

    fn refuse(&self, what: &str) -> Problem {
        match self {
            Self::Trusted | Self::Anonymous(_) => Problem::new(
                Code::Unauthenticated,
                format!("{what} without a token. Send one that allows it: `Authorization: Bearer …`."),
            ),
            Self::Proven(_) => Problem::new(
                Code::Forbidden,
                format!("{what} with this token. Ask whoever issued it for one that allows it."),
            ),
        }
    }
}

/// The right to read.
pub(super) const READ: Action = Action::Subscribe;

/// What a topic is wanted for.
pub(super) trait Purpose {
    /// The right that it needs; without one, any will do.
    const ACTION: Option<Action>;
}

macro_rules! purposes {
    ($($(#[$doc:meta])* $name:ident: $action:expr;)*) => {
        $($(#[$doc])*
        #[derive(Debug)]
        pub(super) enum $name {}

        impl Purpose for $name {
            const ACTION: Option<Action> = $action;
        })*
    };
}

purposes! {
    /// To look at it.
    Inspect: None;
    /// To publish to it.
    Publish: Some(Action::Publish);
    /// To read it.
    Subscribe: Some(Action::Subscribe);
    /// To change or delete it.
    Manage: Some(Action::Manage);
}

/// The `{topic}` of a path, which the caller may use for this purpose.
#[derive(Debug)]
pub(super) struct Topic<For> {
    pub(super) name: TopicName,
    purpose: PhantomData<For>,
}

impl<For: Purpose> FromRequestParts<Arc<App>> for Topic<For> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let name = path::topic(parts).await?;
        Caller::from_request_parts(parts, app).await?.check(For::ACTION, &name)?;
        Ok(Self { name, purpose: PhantomData })
    }
}

/// The `{user}` of a path, of whom the caller may know where he is.
#[derive(Debug)]
pub(super) struct User(pub(super) UserId);

impl FromRequestParts<Arc<App>> for User {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let user = path::user(parts).await?;
        Caller::from_request_parts(parts, app).await?.check_user(&user)?;
        Ok(Self(user))
    }
}

/// Somebody who has any right at all.
#[derive(Debug)]
pub(super) struct Insider {
    pub(super) is_operator: bool,
}

impl FromRequestParts<Arc<App>> for Insider {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let caller = Caller::from_request_parts(parts, app).await?;
        caller.require(|principal| !principal.rights.is_empty(), "This can't be seen")?;
        Ok(Self { is_operator: caller.is_operator() })
    }
}

/// Somebody whose token says that he is an operator.
#[derive(Debug)]
pub(super) struct Operator;

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let caller = Caller::from_request_parts(parts, app).await?;
        caller.require(|principal| principal.rights.admin, "This is for operators, and can't be done")?;
        Ok(Self)
    }
}

/// Why a request is not let in.
#[derive(Debug)]
pub(super) enum Rejection {
    /// For good, as far as this request goes.
    Refused(Problem),
    /// Nobody can tell now.
    Softly,
}

impl<P: Into<Problem>> From<P> for Rejection {
    fn from(problem: P) -> Self {
        Self::Refused(problem.into())
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(problem) => problem.into_response(),
            Self::Softly => stream::refusal(),
        }
    }
}

fn bad_ticket() -> Problem {
    Problem::new(Code::InvalidToken, "There is no such ticket, or not any more. `POST /tickets` makes another one.")
}

/// The ticket in the URL of a stream.
fn ticket(parts: &Parts) -> Option<String> {
    // Elsewhere it is a parameter that is not known.
    let query = parts.uri.query().filter(|_| parts.uri.path().ends_with("/sse"))?;
    let mut tickets = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == TICKET);
    tickets.next().map(|(_, ticket)| ticket.into_owned())
}

/// The token of the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    let credentials = value.to_str().ok().filter(|_| values.next().is_none()).and_then(|value| value.split_once(' '));
    match credentials {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Problem::new(Code::InvalidToken, "Send one header `Authorization: Bearer …`, and no other scheme.")),
    }
}

/// The token of the cookie.
fn cookie(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let values = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let cookies = values.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let mut tokens = cookies.filter(|(name, _)| *name == COOKIE_NAME).map(|(_, token)| token);
    match (tokens.next(), tokens.next()) {
        (token, None) => Ok(token),
        // A neighbouring host may have set the other.
        (_, Some(_)) => Err(Problem::new(Code::InvalidToken, format!("Send one cookie `{COOKIE_NAME}`."))),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::HeaderName;

    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_bearer_token_is_sent_once() {
        let token = |values: &[&'static str]| {
            bearer(&headers(&AUTHORIZATION, values)).map(|token| token.map(str::to_owned)).ok()
        };
        assert_eq!(token(&[]), Some(None));
        assert_eq!(token(&["Bearer a.b.c"]), Some(Some("a.b.c".to_owned())));
        assert_eq!(token(&["bearer  a "]), Some(Some("a".to_owned())));
        for refused in [&["Basic YTpi"][..], &["a.b.c"], &[""], &["Bearer a", "Bearer b"]] {
            assert_eq!(token(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others_and_only_once() {
        let token =
            |values: &[&'static str]| cookie(&headers(&COOKIE, values)).map(|token| token.map(str::to_owned)).ok();
        assert_eq!(token(&["a=b; __Secure-repl_token=x.y=; c", "d=e"]), Some(Some("x.y=".to_owned())));
        assert_eq!(token(&["a=__Secure-repl_token=x", "repl_token=y", "__secure-repl_token=z"]), Some(None));
        assert_eq!(token(&["__Secure-repl_token=x", "__Secure-repl_token=y"]), None);
    }
}

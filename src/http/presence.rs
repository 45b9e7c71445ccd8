//! Who is there: the members of a topic, whether a user is one of any, and how many read a topic.

#![expect(unused_qualifications, reason = "in what utoipa makes of the parameters")]

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::access::{self, Caller, Topic, User};
use super::body::Json;
use super::path::{TopicPath, UserPath};
use super::query::{FromParameters, Parameters, QueryString};
use super::{App, Problem};
use crate::domain::{MemberData, UserId};
use crate::node::Occupancy;
use crate::state::Member;

/// Members on one page, at most; also the default.
const PAGE_MEMBERS_MAX: usize = 1_000;

/// The query of a topic's members.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MembersQuery {
    /// Only members whose ids come after this one: the `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<UserId>,
    /// Members on the page.
    #[param(required = false, minimum = 1, maximum = 1000, default = 1000)]
    limit: usize,
}

impl FromParameters for MembersQuery {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            after: parameters.one("after")?.map(|user| UserId::parse(&user)).transpose()?,
            limit: parameters.count("limit", PAGE_MEMBERS_MAX)?.unwrap_or(PAGE_MEMBERS_MAX),
        })
    }
}

/// A member of a topic.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub(super) struct MemberBody {
    /// Who it is: the `sub` of the token.
    id: String,
    /// When he came. RFC 3339, in milliseconds.
    #[schema(format = DateTime)]
    since: String,
    /// What the token says that others should see.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

/// A page of the members of a topic, in the order of their ids' bytes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Roster)]
pub(super) struct RosterBody {
    /// The topic.
    topic: String,
    /// Rises with every change of presence in the cluster; `repl.presence` events with a higher one are not contained.
    version: u64,
    /// How many members there are.
    count: usize,
    members: Vec<MemberBody>,
    /// What to send as `after` for the next page. Absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How many read a topic.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Occupancy)]
pub(super) struct OccupancyBody {
    /// The topic.
    topic: String,
    /// Streams of it that are open on all nodes: those that have named it, and those whose patterns have met it.
    streams: u64,
    /// Whether all nodes have answered.
    complete: bool,
}

/// Where a user is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserPresence)]
pub(super) struct UserBody {
    /// Who it is.
    id: String,
    /// Whether he is a member of any topic.
    online: bool,
    /// Since when he is of one or another. RFC 3339, in milliseconds.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// The topics of which he is a member, as far as the caller may read them.
    topics: Vec<UserTopic>,
}

/// A topic of which a user is a member.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserTopic {
    /// Its name.
    topic: String,
    /// When he came there. RFC 3339, in milliseconds.
    #[schema(format = DateTime)]
    since: String,
    /// The nodes through which he reads it. Only operators see them.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<u64>>,
}

/// List a topic's members
///
/// Whoever has an identity and names the topic in an open stream. As this node knows it.
#[utoipa::path(get, path = "/topics/{topic}/presence", operation_id = "listMembers", tag = "presence",
    params(TopicPath, MembersQuery),
    responses((status = 200, description = "A page of members", body = RosterBody)))]
pub(super) async fn of_topic(
    State(app): State<Arc<App>>,
    Topic { name: topic, .. }: Topic<access::Subscribe>,
    QueryString(query): QueryString<MembersQuery>,
) -> Result<Json<RosterBody>, Problem> {
    app.node.topic(&topic).ok_or_else(Problem::topic_not_found)?;
    // One more than asked for tells whether there is a next page.
    let roster = app.node.roster(&topic, query.after.as_ref(), query.limit + 1);
    let mut roster = roster.ok_or_else(Problem::presence_off)?;
    let more = roster.members.len() > query.limit;
    roster.members.truncate(query.limit);
    let next = roster.members.last().filter(|_| more).map(|member| member.user.to_string());
    Ok(Json(RosterBody {
        topic: topic.into(),
        version: roster.version,
        count: roster.count,
        members: roster.members.into_iter().map(MemberBody::from).collect(),
        next,
    }))
}

/// Count a topic's streams
///
/// On all nodes, which are asked for this. Any topic has it, with presence or without.
#[utoipa::path(get, path = "/topics/{topic}/occupancy", operation_id = "getOccupancy", tag = "presence",
    params(TopicPath),
    responses((status = 200, description = "How many read it", body = OccupancyBody)))]
pub(super) async fn occupancy(
    State(app): State<Arc<App>>,
    Topic { name: topic, .. }: Topic<access::Subscribe>,
) -> Result<Json<OccupancyBody>, Problem> {
    app.node.topic(&topic).ok_or_else(Problem::topic_not_found)?;
    let Occupancy { streams, complete } = app.node.occupancy(&topic).await;
    Ok(Json(OccupancyBody { topic: topic.into(), streams, complete }))
}

/// Tell where a user is
///
/// Whether he is a member of any topic, as this node knows it.
#[utoipa::path(get, path = "/users/{user}/presence", operation_id = "getUserPresence", tag = "presence",
    params(UserPath),
    responses((status = 200, description = "Whether he is there, and where", body = UserBody)))]
pub(super) async fn of_user(State(app): State<Arc<App>>, caller: Caller, User(user): User) -> Json<UserBody> {
    let Some(status) = app.node.user_status(&user) else {
        return Json(UserBody { id: user.into(), online: false, since: None, topics: Vec::new() });
    };
    let topics = status.topics.into_iter().filter(|(topic, ..)| caller.check(Some(access::READ), topic).is_ok());
    let topics = topics.map(|(topic, since, nodes)| UserTopic {
        topic: topic.into(),
        since: since.to_string(),
        nodes: caller.is_operator().then(|| nodes.into_iter().map(|node| node.get()).collect()),
    });
    let since = Some(status.since.to_string());
    Json(UserBody { id: user.into(), online: true, since, topics: topics.collect() })
}

impl From<Member> for MemberBody {
    fn from(Member { user, since, data }: Member) -> Self {
        let data = data.as_ref().map(MemberData::as_raw).map(RawValue::to_owned);
        Self { id: user.into(), since: since.to_string(), data }
    }
}

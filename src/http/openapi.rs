//! The API's description, made from the code: OpenAPI 3.1.
//!
//! Handlers describe their parameters, bodies and successes; [`problems`] says for each operation what else it may
//! answer. Tests hold both against what the router really does.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};

use super::access::{COOKIE_NAME, TICKET};
use super::body::JSON;
use super::problem::PROBLEM_JSON;
use super::{
    Code, cluster, health, history, metrics, presence, publish, revocations, stream, streams, tickets, topics,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "repl",
        description = "A Raft-replicated publish/subscribe broker for web applications, over Server-Sent Events."
    ),
    paths(
        topics::list,
        topics::create,
        topics::get,
        topics::change,
        topics::delete,
        publish::publish,
        history::page,
        presence::of_topic,
        presence::occupancy,
        presence::of_user,
        stream::one,
        stream::many,
        tickets::create,
        revocations::create,
        cluster::get,
        cluster::list,
        health::live,
        health::ready,
        streams::list,
        metrics::page,
        document,
    )
)]
struct Successes;

/// Any operation may answer these.
const ANYWHERE: &[Code] = &[Code::HostNotAllowed, Code::Internal];
/// Where nodes ask for tokens, every operation that has [`schemes`].
const ACCESS: &[Code] = &[Code::Unauthenticated, Code::InvalidToken, Code::Forbidden, Code::OriginNotAllowed];
const BODY: &[Code] = &[
    Code::MalformedJson,
    Code::InvalidBody,
    Code::IncompleteBody,
    Code::BodyTimeout,
    Code::TooLarge,
    Code::UnsupportedMediaType,
];
const WRITE: &[Code] = &[Code::NoLeader, Code::Stopping, Code::OutcomeUnknown];
/// What may create something.
const CREATION: &[Code] = &[Code::CreationRate, Code::TopicsFull];
const TOPIC: &[Code] = &[Code::InvalidTopicName, Code::TopicNotFound];

/// The problems of an operation besides [`ANYWHERE`]'s. `None`: there is no such operation.
fn problems(operation: &str) -> Option<Vec<Code>> {
    Some(match operation {
        "listTopics" => vec![Code::InvalidQuery, Code::InvalidTopicName],
        "listNodes" | "listStreams" => vec![Code::InvalidQuery],
        "createTopic" => [BODY, WRITE, CREATION, &[Code::InvalidTopicName, Code::TopicExists]].concat(),
        "getTopic" | "getOccupancy" => TOPIC.to_vec(),
        "changeTopic" => [TOPIC, BODY, WRITE].concat(),
        "deleteTopic" => [TOPIC, WRITE].concat(),
        "publish" => {
            let own = [Code::InvalidKey, Code::KeyReused, Code::PublishRate];
            [TOPIC, BODY, WRITE, CREATION, &own].concat()
        }
        "readMessages" => [TOPIC, &[Code::InvalidQuery, Code::InvalidCursor, Code::ForeignCursor]].concat(),
        "listMembers" => [TOPIC, &[Code::InvalidQuery, Code::InvalidUser, Code::PresenceOff]].concat(),
        "getUserPresence" => vec![Code::InvalidUser],
        "streamTopic" => [TOPIC, &[Code::InvalidQuery, Code::InvalidCursor, Code::InvalidUser]].concat(),
        "stream" => {
            let names = [Code::InvalidTopicName, Code::InvalidPattern, Code::InvalidUser];
            [&names[..], &[Code::InvalidQuery, Code::InvalidCursor]].concat()
        }
        "createTicket" => {
            let full = [Code::TicketsFull, Code::SubjectTicketsFull, Code::CreationRate];
            let own = [Code::InvalidTopicName, Code::InvalidPattern];
            [BODY, WRITE, &own, &full].concat()
        }
        "revoke" => [BODY, WRITE, &[Code::RevocationsFull]].concat(),
        "ready" => vec![Code::NotReady],
        "getCluster" | "live" | "readMetrics" | "readDescription" => vec![],
        _ => return None,
    })
}

/// How an operation can be told who asks. With none, nobody is asked, whatever the settings are.
fn schemes(operation: &str) -> &'static [&'static str] {
    match operation {
        "live" | "ready" | "readDescription" => &[],
        "stream" | "streamTopic" => &["token", "cookie", "ticket"],
        _ => &["token", "cookie"],
    }
}

/// Read this description
#[utoipa::path(get, path = "/openapi.json", operation_id = "readDescription", tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
pub(super) async fn document() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
        let document = serde_json::to_vec(&describe()).expect("a document is text and numbers under text keys");
        document.into()
    });
    ([(CONTENT_TYPE, JSON)], DOCUMENT.clone()).into_response()
}

pub(super) fn describe() -> OpenApi {
    let mut document = Successes::openapi();
    let operations = document.paths.paths.values_mut().flat_map(operations);
    for (_, operation) in operations {
        let id = operation.operation_id.as_deref().unwrap_or_default();
        let own = problems(id).expect("every operation has its problems");
        let schemes = schemes(id);
        describe_problems(operation, &[ANYWHERE, if schemes.is_empty() { &[] } else { ACCESS }, &own].concat());
        if !schemes.is_empty() {
            let required = schemes.iter().map(|scheme| SecurityRequirement::new::<_, [&str; 0], _>(*scheme, []));
            // Or nothing: it is the operator who says what everybody may do.
            operation.security = Some(required.chain([SecurityRequirement::default()]).collect());
        }
    }
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let cookie = ApiKey::Cookie(ApiKeyValue::with_description(
        COOKIE_NAME,
        "For a bare `EventSource` of a page of the same site. Other origins have to be named with `--cors-origin`",
    ));
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    let ticket =
        ApiKey::Query(ApiKeyValue::with_description(TICKET, "For a bare `EventSource` of a page of another site"));
    components.add_security_scheme("ticket", SecurityScheme::ApiKey(ticket));
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
    components.schemas.insert("Problem".to_owned(), RefOr::T(problem_schema().into()));
    document
}

/// The operations of a path, by method.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, post, patch, delete, .. } = item;
    [("GET", get), ("POST", post), ("PATCH", patch), ("DELETE", delete)]
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// One response for each status, which lists its codes.
fn describe_problems(operation: &mut Operation, codes: &[Code]) {
    for code in codes {
        let status = code.status().as_str().to_owned();
        let same_status = codes.iter().filter(|other| other.status() == code.status());
        let lines: Vec<_> = same_status.map(|code| format!("- `{}`: {}", code.as_str(), code.title())).collect();
        let mut response = ResponseBuilder::new()
            .description(lines.join("\n"))
            .content(PROBLEM_JSON, ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build());
        if code.retry_after_seconds().is_some() {
            let header =
                HeaderBuilder::new().schema(Some(Object::with_type(Type::Integer))).description(Some("In seconds"));
            response = response.header("Retry-After", header.build());
        }
        operation.responses.responses.insert(status, response.build().into());
    }
}

/// RFC 9457, with `code` and what some codes add.
fn problem_schema() -> Object {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let number = || ObjectBuilder::new().schema_type(Type::Integer);
    ObjectBuilder::new()
        .description(Some("Why a request was not done (RFC 9457). Branch on `code`."))
        .property("type", text())
        .property("title", text())
        .property("status", number())
        .property("code", text().enum_values(Some(Code::ALL.iter().map(|code| code.as_str()))))
        .property("detail", text().description(Some("What to do, for people")))
        .property("traceId", text().description(Some("The request, as the log of the node names it")))
        .property("line", number().description(Some("The line of a batch, from 1")))
        .property("parameter", text().description(Some("The parameter of the query")))
        .property("topic", text().description(Some("The topic that was refused")))
        .property("match", text().description(Some("The pattern that was refused")))
        .property("maxBytes", number())
        .property("maxLines", number())
        .property("outcome", text().enum_values(Some(["unknown"])))
        .property("voters", number().description(Some("That would be left")))
        .property("answering", number().description(Some("Voters of those that answer")))
        .property("existing", ObjectBuilder::new().property("retention", Ref::from_schema_name("Retention")))
        .required("type")
        .required("title")
        .required("status")
        .required("code")
        .required("detail")
        .build()
}

//! A golden answer for each code of the catalogue.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::path::Path;

use axum::response::IntoResponse;
use axum::routing::get;

use super::*;
use crate::domain::{NodeId, TraceContext};
use crate::http::{Code, Problem, Rates};
use crate::node::{HistoryError, NotReady, OrderError, OrderRefused, ReadError, WriteError};
use crate::state::{CodecError, Refusal};
use crate::trace::Tracer;

/// Compares an answer with its file. `UPDATE_GOLDENFILES=1` writes the file instead, to be read before it is committed.
fn check_golden(answer: &Answer) {
    let mut found = format!("{}\n", answer.status);
    for name in ["content-type", "retry-after", "allow", "www-authenticate"] {
        if answer.headers.contains_key(name) {
            let _ = writeln!(found, "{name}: {}", answer.header(name));
        }
    }
    let _ = write!(found, "\n{}\n", answer.text());

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/problems").join(answer.code() + ".http");
    if std::env::var_os("UPDATE_GOLDENFILES").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(&file, &found).expect("a golden file");
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!(found, golden, "{}", file.display());
}

async fn answer(problem: impl Into<Problem>) -> Answer {
    let problem = problem.into();
    Tracer::default().request(TraceContext::parse(TRACEPARENT), String::new).scope(bare_answer(problem)).await
}

/// The answer to what belongs to no trace: to whoever speaks no TLS, and on the operators' socket.
async fn bare_answer(problem: impl Into<Problem>) -> Answer {
    let (head, body) = problem.into().into_response().into_parts();
    Answer { status: head.status, headers: head.headers, body: body.collect().await.expect("a body").to_bytes() }
}

#[tokio::test(start_paused = true)]
async fn every_code_has_its_golden_answer() {
    let api = Api::with_topics(&["t"]).await;
    api.post("/topics/t", r#"{"value":1,"key":"used"}"#).await;
    let broken = futures_util::stream::iter([Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset))]);
    let never = futures_util::stream::pending::<Result<Bytes, io::Error>>();
    let mut misdirected = request(Method::GET, "/livez", "");
    misdirected.headers_mut().insert("host", "evil.com".parse().expect("a value"));
    let asking = Api::with_auth(&[]).await;
    let mut from_elsewhere = request(Method::GET, "/topics", "");
    from_elsewhere.headers_mut().insert("cookie", "__Secure-repl_token=x".parse().expect("a value"));
    from_elsewhere.headers_mut().insert("origin", "https://evil.com".parse().expect("a value"));
    let answers = [
        api.post("/topics/t", "{").await,
        api.post_lines("/topics/t", "{\"value\":1}\n{\"value\":1,\"ttl\":5}").await,
        api.post("/topics/t", Body::from_stream(broken)).await,
        api.get("/topics/$sys").await,
        api.get("/sse?match=a:**:b").await,
        api.get(&format!("/users/{}/presence", "x".repeat(256))).await,
        api.get("/topics/t/presence").await,
        api.get("/sse?topic=t&after=yesterday").await,
        api.post("/topics/t", r#"{"value":1,"key":""}"#).await,
        api.get("/topics?limt=5").await,
        api.get("/topic").await,
        api.get("/topics/missing").await,
        api.send(request(Method::PUT, "/topics/t", "")).await,
        api.post("/topics/t", Body::from_stream(never)).await,
        api.post("/topics", r#"{"name":"t","retention":{"maxMessages":0}}"#).await,
        api.get("/topics/t/messages?after=zzzzzzzz-7").await,
        api.post("/topics/t", " ".repeat(65_537)).await,
        api.send(request(Method::POST, "/topics/t", "value=1")).await,
        api.send(misdirected).await,
        api.post_lines("/topics/t", "{\"value\":2,\"key\":\"used\"}").await,
        bare_answer(Problem::tls_required()).await,
        too_fast().await,
        answer(WriteError::Refused(Refusal::TopicsFull)).await,
        answer(WriteError::Refused(Refusal::SubjectTicketsFull)).await,
        created_too_fast().await,
        asking.get("/topics/t").await,
        asking.send_as("no-token", request(Method::GET, "/topics", "")).await,
        asking.send_as(&access::token(&["t"], &[], &[], false), request(Method::GET, "/topics/t/sse", "")).await,
        asking.send(from_elsewhere).await,
        answer(damaged()).await,
        bare_answer(OrderRefused::UnknownNode { node: NodeId::new(7) }).await,
        bare_answer(OrderRefused::LastVoter { node: NodeId::new(1) }).await,
        bare_answer(OrderRefused::QuorumAtRisk { node: NodeId::new(2), voters: 2, answering: 1 }).await,
        bare_answer(OrderRefused::VotersFull).await,
        bare_answer(OrderRefused::NotCaughtUp { node: NodeId::new(4) }).await,
        bare_answer(OrderRefused::NotVoter { node: NodeId::new(6) }).await,
        bare_answer(OrderRefused::Busy).await,
        bare_answer(OrderError::Unreachable { node: NodeId::new(3) }).await,
        answer(WriteError::Refused(Refusal::TicketsFull)).await,
        answer(WriteError::Refused(Refusal::RevocationsFull)).await,
        answer(WriteError::NoLeader).await,
        answer(NotReady::NoMajority { voters: 3, missing: [1, 3].map(NodeId::new).into() }).await,
        answer(WriteError::Stopping).await,
        answer(WriteError::Unknown { waited: Duration::from_secs(5) }).await,
    ];
    answers.iter().for_each(check_golden);
    let codes: BTreeSet<_> = answers.iter().map(Answer::code).collect();
    assert_eq!(codes, Code::ALL.iter().map(|code| code.as_str().to_owned()).collect());
}

/// The second message of somebody who may publish ten in ten seconds, and has.
async fn too_fast() -> Answer {
    let publish = |lines: usize| {
        let body = "{\"value\":1}\n".repeat(lines);
        let mut request = request(Method::POST, "/topics/t", body);
        request.headers_mut().insert("content-type", "application/x-ndjson".parse().expect("a value"));
        request.extensions_mut().insert(remote([10, 0, 0, 1]));
        request
    };
    let api = Api::with(Options { publish_rates: Rates::of_publishes(1), ..Options::default() }).await;
    api.post("/topics", r#"{"name":"t"}"#).await;
    assert_eq!(api.send(publish(10)).await.status, StatusCode::CREATED);
    let refused = api.send(publish(1)).await;
    api.check_metric(r#"repl_http_problems_total{code="publish-rate"} 1"#).await;
    refused
}

/// The second topic of somebody who may create one a minute, and has; the first one may be created again.
async fn created_too_fast() -> Answer {
    let create = |name: &str| {
        let mut request = json(Method::POST, "/topics", format!("{{\"name\":\"{name}\"}}"));
        request.extensions_mut().insert(remote([10, 0, 0, 1]));
        request
    };
    let api = Api::with(Options { creation_rates: Rates::of_creations(1), ..Options::default() }).await;
    assert_eq!(api.send(create("a")).await.status, StatusCode::CREATED);
    assert_eq!(api.send(create("a")).await.status, StatusCode::OK);
    let refused = api.send(create("b")).await;
    api.check_metric(r#"repl_http_problems_total{code="creation-rate"} 1"#).await;
    refused
}

/// What a row that can't be read comes to.
fn damaged() -> HistoryError {
    HistoryError::Storage(ReadError::Row(CodecError::Empty))
}

#[tokio::test]
async fn a_fault_of_the_server_keeps_its_details_from_the_client() {
    let details = CodecError::Empty.to_string();
    let answer = answer(damaged()).await;
    assert!(!answer.text().contains(&details), "{}", answer.text());
}

#[tokio::test]
async fn a_panic_is_a_problem_and_the_next_request_is_served() {
    async fn panics() {
        panic!("for the test");
    }
    let routes = [("/livez", get(panics)), ("/readyz", get(async || ()))];
    let api = Api::with_routes(routes, app(Options::default()).await);
    assert_eq!(api.get("/livez").await.code(), "internal");
    assert_eq!(api.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_path_without_a_route_and_a_method_without_a_handler_are_problems() {
    let api = Api::start().await;
    for path in ["/", "/topics/", "/topics/a/b", "/topics/a/sse/", "/Topics", "//", "/sse/x"] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            assert_eq!(api.send(request(method, path, "")).await.code(), "route-not-found", "{path}");
        }
    }
    let answer = api.send(request(Method::PUT, "/topics/a", "")).await;
    assert_eq!((answer.code().as_str(), answer.header("allow")), ("method-not-allowed", "GET,HEAD,POST,PATCH,DELETE"));
}

//! Whatever is sent, it is answered with a success or with a problem that the description has. [`Api::send`] checks
//! the latter for every answer.

use axum::http::{HeaderName, HeaderValue, Uri};
use proptest::prelude::*;

use super::*;
use crate::http::routes;

/// One node for all cases of a test: what earlier ones left behind makes later ones meet more.
fn check(cases: impl Strategy<Value = Request<Body>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let api = runtime.block_on(Api::with_topics(&["t"]));
    proptest!(|(request in cases)| {
        let answer = runtime.block_on(async { timeout(SOON, api.send(request)).await });
        let answer = answer.expect("an answer soon");
        prop_assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    });
}

fn method() -> impl Strategy<Value = Method> {
    let known = [Method::GET, Method::POST, Method::PATCH, Method::DELETE, Method::HEAD, Method::PUT, Method::OPTIONS];
    prop_oneof![9 => proptest::sample::select(known.to_vec()), 1 => Just(Method::TRACE)]
}

/// A segment of a path or a value of a query, as it stands in a URI.
fn part() -> impl Strategy<Value = String> {
    prop_oneof!["t", "[a-z:.*%+&=/-]{0,12}", "(%[0-9a-fA-F]{2}){0,6}", "00000000-[0-9]{1,21}", "[0-9]{1,20}[a-z]{0,3}"]
}

/// That of a route, or any.
fn path() -> impl Strategy<Value = String> {
    let routes: Vec<_> = routes().map(|(path, _)| path).into();
    let filled = (proptest::sample::select(routes), part())
        .prop_map(|(route, part)| route.replace("{topic}", &part).replace("{user}", &part));
    prop_oneof![16 => filled, 1 => part().prop_map(|path| format!("/{path}"))]
}

fn query() -> impl Strategy<Value = String> {
    let names = [
        "topic", "match", "after", "before", "tail", "limit", "format", "prefix", "for", "as", "user", "presence",
        "ticket", "slow", "x", "",
    ];
    let pair = (proptest::sample::select(names.to_vec()), part()).prop_map(|(name, value)| format!("{name}={value}"));
    proptest::collection::vec(pair, 0..4).prop_map(|pairs| pairs.join("&"))
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let names = ["content-type", "last-event-id", "idempotency-key", "host", "origin", "content-encoding", "accept"];
    let bytes = proptest::collection::vec(any::<u8>(), 0..20);
    let value = prop_oneof![
        bytes.prop_filter_map("no header", |bytes| HeaderValue::from_bytes(&bytes).ok()),
        Just(HeaderValue::from_static("application/json")),
        Just(HeaderValue::from_static("application/x-ndjson")),
        Just(HeaderValue::from_static("localhost")),
    ];
    let header = (proptest::sample::select(names.to_vec()), value);
    proptest::collection::vec(header, 0..4)
        .prop_map(|headers| headers.into_iter().map(|(name, value)| (HeaderName::from_static(name), value)).collect())
}

/// Bytes that are more or less JSON.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = r#"(\{"(value|headers|type|key|name|retention|x)":(1|null|"[a-z\\u0-9]{0,6}"|\{"a":"b"\}|\[\[1\]\]){0,2}[,}\n ]?){0,4}"#;
    prop_oneof![json.prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..200)]
}

fn with_path(method: Method, path: &str, headers: HeaderMap, body: Vec<u8>) -> Option<Request<Body>> {
    let mut request = Request::new(Body::from(body));
    *request.uri_mut() = path.parse::<Uri>().ok()?;
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    Some(request)
}

#[test]
fn any_request_is_answered() {
    let parts = (method(), path(), query(), headers(), body());
    check(parts.prop_filter_map("no URI", |(method, path, query, headers, body)| {
        with_path(method, &format!("{path}?{query}"), headers, body)
    }));
}

#[test]
fn any_body_is_answered() {
    let routes = [(Method::POST, "/topics"), (Method::POST, "/topics/t"), (Method::PATCH, "/topics/t")];
    let kinds = ["application/json", "application/x-ndjson"];
    let parts = (proptest::sample::select(routes.to_vec()), proptest::sample::select(kinds.to_vec()), body());
    check(parts.prop_filter_map("no URI", |((method, path), kind, body)| {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("content-type"), HeaderValue::from_static(kind))]);
        with_path(method, path, headers, body)
    }));
}

#[test]
fn any_topic_name_makes_the_round_trip_or_is_a_problem() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let api = runtime.block_on(Api::start());
    proptest!(|(name in "\\PC{0,8}|[%./:?#&+ ]{1,6}|\\p{Any}{0,4}")| {
        runtime.block_on(async {
            let created = api.post("/topics", serde_json::json!({ "name": name }).to_string()).await;
            if created.status.is_success() {
                let encoded = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC);
                assert_eq!(api.get(&format!("/topics/{encoded}")).await.at("/name"), name.as_str());
                assert_eq!(api.get(&format!("/sse?topic={encoded}")).await.status, StatusCode::OK);
                let listed = api.get(&format!("/topics?prefix={encoded}&limit=1")).await;
                assert_eq!(listed.at("/topics/0/name"), name.as_str());
            } else {
                assert_eq!(created.code(), "invalid-topic-name");
            }
        });
    });
}

//! `/openapi.json` and the router agree.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::*;
use crate::domain::Cursor;
use crate::http::problem::PROBLEM_JSON;
use crate::http::{Code, openapi, routes};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(openapi::describe()).expect("a document"));

fn paths() -> impl Iterator<Item = (&'static String, &'static Value)> {
    DOCUMENT.pointer("/paths").and_then(Value::as_object).expect("paths").iter()
}

/// The description of what answers a request.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let matches = |template: &str| {
        let (wanted, found) = (template.split('/'), path.split('/'));
        wanted.clone().count() == found.clone().count()
            && wanted.zip(found).all(|(want, have)| want == have || want.starts_with('{') && !have.is_empty())
    };
    let (_, item) = paths().find(|(template, _)| matches(template))?;
    item.get(method.as_str().to_lowercase().replace("head", "get"))
}

/// Fails unless the answer is one that the document promises.
pub(super) fn check(method: &Method, path: &str, answer: &Answer) {
    let what = format!("{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    if method == Method::OPTIONS {
        return;
    }
    let problem = answer.status.is_client_error() || answer.status.is_server_error();
    if problem {
        assert_eq!(answer.header("content-type"), PROBLEM_JSON, "{what}");
        let waits = answer.status == StatusCode::TOO_MANY_REQUESTS || answer.status.as_u16() > 500;
        assert_eq!(answer.headers.contains_key("retry-after"), waits, "{what}");
    }
    let code = if problem && method != Method::HEAD { answer.code() } else { String::new() };
    if code == Code::RouteNotFound.as_str() || code == Code::MethodNotAllowed.as_str() {
        assert!(operation(method, path).is_none(), "{what}");
        return;
    }
    let Some(operation) = operation(method, path) else {
        assert!(problem, "undocumented: {what}");
        return;
    };
    let pointer = format!("/responses/{}", answer.status.as_u16());
    let response = operation.pointer(&pointer).unwrap_or_else(|| panic!("undocumented status: {what}"));
    if problem && method != Method::HEAD {
        let description = response.get("description").and_then(Value::as_str).expect("a description");
        assert!(description.contains(&format!("`{code}`")), "undocumented code: {what}");
        assert_eq!(answer.at("/status"), answer.status.as_u16(), "{what}");
    }
}

#[tokio::test]
async fn every_route_is_described_and_everything_described_is_routed() {
    let api = Api::start().await;
    let described: BTreeSet<_> = paths().map(|(path, _)| path.as_str()).collect();
    let routed = routes().map(|(path, _)| path);
    assert_eq!(described, BTreeSet::from(routed));

    for (path, item) in paths() {
        // A method that no route has makes the router list those it has.
        let answer = api.send(request(Method::TRACE, &path.replace("{topic}", "t").replace("{user}", "u"), "")).await;
        assert_eq!(answer.code(), "method-not-allowed", "{path}");
        let allowed: BTreeSet<_> = answer.header("allow").split(',').filter(|method| *method != "HEAD").collect();
        let described: BTreeSet<_> = item.as_object().expect("operations").keys().map(|m| m.to_uppercase()).collect();
        assert_eq!(allowed, described.iter().map(String::as_str).collect(), "{path}");
    }
}

#[tokio::test]
async fn the_description_is_openapi_3_1_and_refers_to_nothing_it_lacks() {
    let answer = Api::start().await.get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json(), *DOCUMENT);
    assert_eq!(answer.at("/openapi"), "3.1.0");
    assert_eq!(answer.at("/info/version"), env!("CARGO_PKG_VERSION"));

    let text = DOCUMENT.to_string();
    let references: BTreeSet<_> =
        text.split(r##""$ref":"#"##).skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(references.contains("/components/schemas/Problem"), "{references:?}");
    for reference in references {
        assert!(DOCUMENT.pointer(reference).is_some(), "{reference}");
    }
}

#[test]
fn every_operation_is_named_once_and_summarised() {
    let operations: Vec<_> = paths().flat_map(|(_, item)| item.as_object().expect("operations").values()).collect();
    let names: BTreeSet<_> = operations.iter().map(|operation| operation["operationId"].as_str()).collect();
    assert_eq!(names.len(), operations.len());
    assert!(operations.iter().all(|operation| operation["summary"].is_string()));
}

#[test]
fn a_cursor_is_described_as_it_is_read() {
    let is_read = |letter: &char| Cursor::parse(&format!("{}-0", letter.to_string().repeat(8))).is_ok();
    let alphabet: String = ('\0'..='\x7f').filter(is_read).collect();
    let pattern = DOCUMENT.pointer("/components/schemas/Cursor/pattern").and_then(Value::as_str);
    assert_eq!(pattern, Some(&*format!("^[{alphabet}]{{8}}-(0|[1-9][0-9]{{0,19}})$")));
}

//! The console: its files, and what feeds it.

use super::access::token;
use super::*;
use crate::http::console::{FEED, PAGE};

/// Opens the feed, which the API's description leaves out.
async fn feed(api: &Api, token: Option<&str>) -> axum::response::Response {
    let mut request = request(Method::GET, FEED, "");
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a value"));
    }
    api.answer(request).await
}

async fn sample(body: &mut Body) -> Value {
    let event = next(body).await;
    let data = event.strip_prefix("data: ").and_then(|event| event.strip_suffix("\n\n")).expect("one event");
    serde_json::from_str(data).expect("JSON")
}

async fn policy(api: &Api) -> String {
    let page = api.answer(request(Method::GET, PAGE, "")).await;
    assert_eq!(page.status(), StatusCode::OK);
    let header = page.headers().get("content-security-policy").expect("a policy");
    header.to_str().expect("ASCII").to_owned()
}

#[tokio::test]
async fn each_file_is_served_as_what_it_is_and_nothing_else_is_there() {
    let api = Api::start().await;
    for (path, kind) in [
        ("/console", "text/html; charset=utf-8"),
        ("/console/", "text/html; charset=utf-8"),
        ("/console/console.css", "text/css; charset=utf-8"),
        ("/console/console.js", "text/javascript; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml"),
    ] {
        let file = api.answer(request(Method::GET, path, "")).await;
        let header = |name| file.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("content-type"), Some(kind), "{path}");
        assert_eq!(header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(header("cache-control"), Some("no-cache"), "{path}");
    }
    for path in ["/console/mod.rs", "/console/..%2fCargo.toml", "/console/a/b"] {
        assert_eq!(api.get(path).await.code(), "route-not-found", "{path}");
    }
}

#[tokio::test]
async fn the_page_may_ask_other_nodes_only_where_nobody_is_asked_for_a_token() {
    let open = policy(&Api::start().await).await;
    assert!(open.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{open}");
    assert!(open.ends_with("connect-src 'self' http://127.0.0.1:7375"), "{open}");
    let asking = policy(&Api::with_auth(&[]).await).await;
    assert!(asking.ends_with("connect-src 'self'"), "{asking}");
}

#[tokio::test]
async fn the_feed_tells_of_the_cluster_its_topics_and_what_was_counted() {
    let api = Api::with_topics(&["news"]).await;
    let mut body = feed(&api, None).await.into_body();
    let before = sample(&mut body).await;
    assert_eq!(before.pointer("/cluster/nodes/0/role"), Some(&Value::from("leader")));
    assert_eq!(before.pointer("/node/publishes"), Some(&Value::Array(Vec::new())));

    api.post("/topics/news", r#"{"value":1}"#).await;
    api.post("/topics/none", r#"{"value":1}"#).await;
    let after = sample(&mut body).await;
    assert!(after["timeMs"].as_u64() > before["timeMs"].as_u64());
    assert_eq!(after["topicCount"], 1);
    assert_eq!(after.pointer("/topics/0/name"), Some(&Value::from("news")));
    assert_eq!(after.pointer("/topics/0/messages"), Some(&Value::from(1)));
    assert_eq!(after.pointer("/node/position"), Some(&Value::from(1)));
    assert_eq!(after.pointer("/node/publishes/0/1"), Some(&Value::from(1)), "what is refused is no publish");
}

#[tokio::test]
async fn the_feed_is_for_operators_and_ends_with_what_let_them_in() {
    let api = Api::with_auth(&[]).await;
    assert_eq!(feed(&api, None).await.status(), StatusCode::UNAUTHORIZED);
    let reader = token(&["**"], &["**"], &["**"], false);
    assert_eq!(feed(&api, Some(&reader)).await.status(), StatusCode::FORBIDDEN);

    let operator = token(&[], &[], &[], true);
    let mut body = feed(&api, Some(&operator)).await.into_body();
    sample(&mut body).await;
    let revoked = api.send_as(&operator, json(Method::POST, "/revocations", r#"{"subject":"ada"}"#)).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    timeout(SOON, body.collect()).await.expect("an end soon").expect("no error");
}

#[tokio::test]
async fn the_feed_ends_with_the_node() {
    let app = app(Options::default()).await;
    let stop = app.stop.clone();
    let mut body = feed(&Api::new(app), None).await.into_body();
    sample(&mut body).await;
    stop.cancel();
    timeout(SOON, body.collect()).await.expect("an end soon").expect("no error");
}

//! Topics over REST.

use serde_json::json;

use super::*;

#[tokio::test]
async fn creating_is_repeatable_unless_it_names_other_settings() {
    let api = Api::start().await;
    let created = api.post("/topics", r#"{"name":"orders","retention":{"maxMessages":5}}"#).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.header("location"), "/topics/orders");
    assert_eq!(created.at("/retention"), json!({"maxMessages": 5, "maxBytes": 16_777_216, "maxAgeSeconds": 86_400}));

    for body in [r#"{"name":"orders","retention":{"maxMessages":5}}"#, r#"{"name":"orders"}"#] {
        let again = api.post("/topics", body).await;
        assert_eq!((again.status, again.json()), (StatusCode::OK, created.json()));
    }
    let other = api.post("/topics", r#"{"name":"orders","retention":{"maxMessages":6}}"#).await;
    assert_eq!((other.status, other.code().as_str()), (StatusCode::CONFLICT, "topic-exists"));
    assert_eq!(other.at("/existing/retention/maxMessages"), 5);
}

#[tokio::test]
async fn a_topic_is_inspected_changed_and_deleted() {
    let api = Api::with_topics(&["orders"]).await;
    api.post("/topics/orders", r#"{"value":[1, 2]}"#).await;

    let topic = api.get("/topics/orders").await;
    let expected = json!({
        "name": "orders", "messages": 1, "bytes": 7, "firstSeq": 1, "nextSeq": 2, "subscribers": 0,
        "retention": {"maxMessages": 1_000, "maxBytes": 16_777_216, "maxAgeSeconds": 86_400},
        "presence": false, "createdAt": topic.at("/createdAt"),
    });
    assert_eq!(topic.json(), expected);

    let changed = api.patch("/topics/orders", r#"{"retention":{"maxAgeSeconds":60}}"#).await;
    assert_eq!(changed.at("/retention"), json!({"maxMessages": 1_000, "maxBytes": 16_777_216, "maxAgeSeconds": 60}));
    assert_eq!(api.get("/topics/orders").await.json(), changed.json());

    let deleted = api.delete("/topics/orders").await;
    assert_eq!((deleted.status, deleted.text()), (StatusCode::NO_CONTENT, ""));
    for answer in [
        api.get("/topics/orders").await,
        api.delete("/topics/orders").await,
        api.patch("/topics/orders", r#"{"retention":{}}"#).await,
        api.post("/topics/orders", r#"{"value":1}"#).await,
        api.get("/topics/orders/messages").await,
        api.get("/topics/orders/sse").await,
    ] {
        assert_eq!(answer.code(), "topic-not-found");
    }
}

#[tokio::test]
async fn pages_of_topics_follow_each_other_until_there_is_no_next() {
    let api = Api::with_topics(&["a", "b:1", "b:2", "b:3", "c"]).await;
    let names = |answer: &Answer| {
        let topics = answer.at("/topics");
        topics
            .as_array()
            .expect("topics")
            .iter()
            .map(|topic| topic["name"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let first = api.get("/topics?prefix=b&limit=2").await;
    assert_eq!(names(&first), [Some("b:1".to_owned()), Some("b:2".to_owned())]);
    assert_eq!(first.at("/next"), "b:2");
    let second = api.get("/topics?prefix=b&limit=2&after=b%3A2").await;
    assert_eq!(names(&second), [Some("b:3".to_owned())]);
    assert_eq!(second.at("/next"), Value::Null);
    assert_eq!(names(&api.get("/topics").await).len(), 5);
    assert_eq!(api.get("/topics?limit=5").await.at("/next"), Value::Null, "a full last page has no next one");
}

#[tokio::test]
async fn a_name_in_a_path_is_decoded_exactly_once() {
    let api = Api::start().await;
    for (name, path) in [
        ("a/b", "a%2Fb"),
        ("comments:42", "comments:42"),
        ("☕ ä", "%E2%98%95%20%C3%A4"),
        ("...", "%2E%2E%2E"),
        ("%2F", "%252F"),
        ("100%", "100%25"),
        ("a+b", "a+b"),
        ("?#", "%3F%23"),
    ] {
        let created = api.post("/topics", json!({ "name": name }).to_string()).await;
        assert_eq!(created.status, StatusCode::CREATED, "{name}");
        let location = created.header("location").to_owned();
        for path in [&location, &format!("/topics/{path}")] {
            assert_eq!(api.get(path).await.at("/name"), name, "{path}");
            assert_eq!(api.get(&format!("{path}/messages")).await.status, StatusCode::OK, "{path}");
        }
    }
}

#[tokio::test]
async fn a_name_that_breaks_the_rules_is_a_problem_wherever_it_stands() {
    let api = Api::start().await;
    for path in ["%ff", "a%00", "%0A", "$sys", "repl.x", "*", &"x".repeat(256)] {
        assert_eq!(api.get(&format!("/topics/{path}")).await.code(), "invalid-topic-name", "{path}");
        let codes = ["invalid-topic-name", "invalid-query"];
        let streamed = api.get(&format!("/sse?topic={path}")).await.code();
        assert!(codes.contains(&streamed.as_str()), "{path}: {streamed}");
    }
    assert_eq!(api.post("/topics", r#"{"name":"a\u0000"}"#).await.code(), "invalid-topic-name");
    assert_eq!(api.get("/topics//messages").await.code(), "invalid-topic-name");
}

#[tokio::test]
async fn a_field_that_a_body_does_not_have_is_refused_by_name() {
    let api = Api::with_topics(&["t"]).await;
    for answer in [
        api.post("/topics", r#"{"name":"a","ttl":1}"#).await,
        api.post("/topics", r#"{"name":"a","retention":{"ttl":1}}"#).await,
        api.patch("/topics/t", r#"{"retention":{"ttl":1}}"#).await,
        api.post("/topics/t", r#"{"value":1,"ttl":1}"#).await,
    ] {
        assert_eq!(answer.code(), "invalid-body");
        assert!(answer.at("/detail").to_string().contains("`ttl`"), "{}", answer.text());
    }
    for body in [
        r#"{}"#,
        r#"["a"]"#,
        r#"{"name":"a","retention":[5]}"#,
        r#"{"name":1}"#,
        r#"{"name":"a","retention":{"maxBytes":-1}}"#,
        r#"{"name":"a","name":"b"}"#,
    ] {
        assert_eq!(api.post("/topics", body).await.code(), "invalid-body", "{body}");
    }
}

#[tokio::test]
async fn settings_have_a_size_limit() {
    let api = Api::start().await;
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(16 * 1024));
    assert_eq!(api.post("/topics", large).await.code(), "too-large");
}

#[tokio::test]
async fn operators_see_health_metrics_and_the_cluster() {
    let api = Api::with_topics(&["t"]).await;
    assert_eq!(api.get("/livez").await.text(), "{\"status\":\"alive\"}\n");
    assert_eq!(api.get("/readyz").await.text(), "{\"status\":\"ready\"}\n");
    assert_eq!(api.get("/cluster").await.at("/nodes/0/role"), "leader");

    api.get("/topics/t").await;
    api.get("/nowhere/t").await;
    for line in [
        r#"repl_http_requests_total{route="/topics/{topic}",method="GET",status="2xx"} 1"#,
        r#"repl_http_requests_total{route="none",method="GET",status="4xx"} 1"#,
        r#"repl_http_request_duration_seconds_count{route="/topics",method="POST"} 1"#,
        "repl_http_requests_in_flight 1",
        "repl_http_streams 0",
        "# EOF",
    ] {
        api.check_metric(line).await;
    }
}

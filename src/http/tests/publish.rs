//! Publishing.

use serde_json::json;

use super::*;

/// Publishes with an `Idempotency-Key`.
async fn keyed(api: &Api, key: &'static str, body: &'static str) -> Answer {
    let mut request = json(Method::POST, "/topics/t", body);
    request.headers_mut().append("idempotency-key", key.parse().expect("a value"));
    api.send(request).await
}

#[tokio::test]
async fn a_published_message_is_answered_as_it_is_stored() {
    let api = Api::with_topics(&["t"]).await;
    let body = "{ \"value\" : {\"b\": 1.00, \"a\": \"\\u00e4\\/\", \"a\": 12345678901234567890123},\n \
                \"headers\": {\"x\": \"y\"}, \"type\": \"paid\" }";
    let stored = api.post("/topics/t", body).await;
    assert_eq!(stored.status, StatusCode::CREATED);
    assert_eq!(stored.header("content-type"), "application/json");
    let value = r#""value":{"b":1.00,"a":"\u00e4\/","a":12345678901234567890123}"#;
    assert!(stored.text().contains(value), "kept as sent but for whitespace: {}", stored.text());
    assert_eq!((stored.at("/seq"), stored.at("/headers/x"), stored.at("/type")), (1.into(), "y".into(), "paid".into()));

    let page = api.get("/topics/t/messages").await;
    let expected = format!("{{\"messages\":[{}]}}\n", stored.text().trim_end());
    assert_eq!(page.text(), expected, "the same bytes in history");
}

#[tokio::test]
async fn null_is_a_value_and_no_value_is_none() {
    let api = Api::with_topics(&["t"]).await;
    assert_eq!(api.post("/topics/t", r#"{"value":null,"headers":null,"type":null}"#).await.status, StatusCode::CREATED);
    let missing = api.post("/topics/t", "{}").await;
    assert_eq!(missing.code(), "invalid-body");
    assert!(missing.text().contains("Missing field `value`"), "{}", missing.text());
}

#[tokio::test]
async fn what_is_not_a_message_is_refused() {
    let api = Api::with_topics(&["t"]).await;
    let deep = format!(r#"{{"value":{}{}}}"#, "[".repeat(65), "]".repeat(65));
    for (body, code) in [
        ("", "malformed-json"),
        ("{\"value\":1}x", "malformed-json"),
        (r#"{"value":01}"#, "malformed-json"),
        (r#"[1]"#, "invalid-body"),
        (r#"1"#, "invalid-body"),
        (r#"{"value":1,"value":2}"#, "invalid-body"),
        (r#"{"value":1,"headers":{"a":1}}"#, "invalid-body"),
        (r#"{"value":1,"type":"a\nb"}"#, "invalid-body"),
        (r#"{"value":1,"type":"repl.gap"}"#, "invalid-body"),
        (r#"{"value":1,"type":""}"#, "invalid-body"),
        (r#"{"value":1,"key":""}"#, "invalid-key"),
        (&deep, "invalid-body"),
    ] {
        assert_eq!(api.post("/topics/t", body.to_owned()).await.code(), code, "{body}");
    }
    assert_eq!(api.post("/topics/t", &b"{\"value\":\"\xff\"}"[..]).await.code(), "malformed-json");
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let api = Api::with_topics(&["t"]).await;
    let send = async |headers: &[(&'static str, &'static str)]| {
        let mut request = request(Method::POST, "/topics/t", r#"{"value":1}"#);
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("a value"));
        }
        api.send(request).await.code()
    };
    assert_eq!(send(&[("content-type", "Application/JSON; charset=utf-8")]).await, "");
    assert_eq!(send(&[("content-type", "application/json"), ("content-encoding", "identity")]).await, "");
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/jsonp")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ] {
        assert_eq!(send(headers).await, "unsupported-media-type", "{headers:?}");
    }
}

#[tokio::test]
async fn a_message_has_a_size_limit_whether_it_is_announced_or_not() {
    let api = Api::with_topics(&["t"]).await;
    let body = |bytes: usize| {
        let frame = r#"{"value":""}"#.len();
        format!(r#"{{"value":"{}"}}"#, "x".repeat(bytes - frame))
    };
    assert_eq!(api.post("/topics/t", body(64 * 1024)).await.status, StatusCode::CREATED);
    assert_eq!(api.post("/topics/t", body(64 * 1024 + 1)).await.code(), "too-large");

    let chunks =
        futures_util::stream::repeat_with(|| Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b' '; 999])));
    let endless = api.post("/topics/t", Body::from_stream(chunks)).await;
    assert_eq!((endless.code().as_str(), endless.at("/maxBytes")), ("too-large", 65_536.into()));
}

#[tokio::test]
async fn a_repeat_under_a_key_answers_with_the_first_message() {
    let api = Api::with_topics(&["t"]).await;
    let first = keyed(&api, "k", r#"{"value":{"a":1}}"#).await;
    let repeat = keyed(&api, "k", r#"{ "value": {"a": 1} }"#).await;
    assert_eq!((first.status, repeat.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(first.text(), repeat.text());
    let other = keyed(&api, "k", r#"{"value":2}"#).await;
    assert_eq!((other.status.as_u16(), other.code().as_str()), (422, "key-reused"));
    assert_eq!(other.at("/line"), Value::Null, "one message has no lines");

    let in_body = api.post("/topics/t", r#"{"value":{"a":1},"key":"k"}"#).await;
    assert_eq!(in_body.status, StatusCode::OK, "a key in the body is the same key");
    assert_eq!(keyed(&api, "k", r#"{"value":1,"key":"k"}"#).await.code(), "invalid-key");
    assert_eq!(keyed(&api, "", r#"{"value":1}"#).await.code(), "invalid-key");
    let mut twice = json(Method::POST, "/topics/t", r#"{"value":1}"#);
    twice.headers_mut().append("idempotency-key", "a".parse().expect("a value"));
    twice.headers_mut().append("idempotency-key", "b".parse().expect("a value"));
    assert_eq!(api.send(twice).await.code(), "invalid-key");
}

#[tokio::test]
async fn a_batch_is_stored_whole_and_answered_line_by_line() {
    let api = Api::with_topics(&["t"]).await;
    let lines = "{\"value\":1,\"key\":\"a\"}\r\n{\"value\":2,\"type\":\"x\"}\n{\"value\":1,\"key\":\"a\"}\n";
    let stored = api.post_lines("/topics/t", lines).await;
    assert_eq!(stored.status, StatusCode::CREATED);
    let messages = stored.at("/messages");
    let ids: Vec<_> = messages.as_array().expect("messages").iter().map(|message| &message["id"]).collect();
    assert_eq!(ids[0], ids[2], "a key repeated within the batch");
    assert_eq!(messages[1], json!({"id": ids[1], "seq": 2, "repeated": false}));
    assert_eq!(messages[2], json!({"id": ids[0], "seq": 1, "repeated": true}));
    assert_eq!(api.get("/topics/t").await.at("/messages"), 2);

    let again = api.post_lines("/topics/t", r#"{"value":1,"key":"a"}"#).await;
    assert_eq!((again.status, again.at("/messages/0/repeated")), (StatusCode::OK, true.into()));
}

#[tokio::test]
async fn a_fault_in_a_batch_names_its_line_and_stores_nothing() {
    let api = Api::with_topics(&["t"]).await;
    api.post("/topics/t", r#"{"value":0,"key":"used"}"#).await;
    let large = format!("{{\"value\":1}}\n{{\"value\":\"{}\"}}", "x".repeat(64 * 1024));
    for (lines, line, code) in [
        ("{\"value\":1}\n{}", 2, "invalid-body"),
        ("{\"value\":1}\n\n{\"value\":2}", 2, "invalid-body"),
        ("", 1, "invalid-body"),
        ("{\"value\":1", 1, "malformed-json"),
        ("{\"value\":1}\n{\"value\":2}\n{\"value\":3,\"key\":\"used\"}", 3, "key-reused"),
        ("{\"value\":1,\"headers\":{\"a\":1}}", 1, "invalid-body"),
        (&large, 2, "too-large"),
    ] {
        let answer = api.post_lines("/topics/t", lines.to_owned()).await;
        assert_eq!((answer.code().as_str(), answer.at("/line")), (code, line.into()), "{}", answer.text());
        assert!(answer.at("/detail").as_str().is_some_and(|detail| detail.starts_with(&format!("Line {line}: "))));
    }
    assert_eq!(api.get("/topics/t").await.at("/messages"), 1);
}

#[tokio::test]
async fn a_batch_has_limits_of_lines_and_bytes_and_takes_no_key_header() {
    let api = Api::with_topics(&["t"]).await;
    assert_eq!(api.post_lines("/topics/t", "{\"value\":1}\n".repeat(1_000)).await.status, StatusCode::CREATED);
    let long = api.post_lines("/topics/t", "{\"value\":1}\n".repeat(1_001)).await;
    assert_eq!((long.code().as_str(), long.at("/maxLines")), ("too-large", 1_000.into()));
    let line = format!("{{\"value\":\"{}\"}}\n", "x".repeat(60_000));
    assert_eq!(api.post_lines("/topics/t", line.repeat(69)).await.status, StatusCode::CREATED);
    assert_eq!(api.post_lines("/topics/t", line.repeat(70)).await.at("/maxBytes"), 4_194_304);

    let mut keyed = request(Method::POST, "/topics/t", "{\"value\":1}");
    keyed.headers_mut().insert("content-type", "application/x-ndjson".parse().expect("a value"));
    keyed.headers_mut().insert("idempotency-key", "k".parse().expect("a value"));
    assert_eq!(api.send(keyed).await.code(), "invalid-key");
}

//! Tickets, and those who are turned away.

use super::access::token;
use super::*;

/// A ticket for what the body names, made with a token.
async fn ticket(api: &Api, token: &str, body: &str) -> String {
    let answer = api.send_as(token, json(Method::POST, "/tickets", body.to_owned())).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.at("/ticket").as_str().expect("a ticket").to_owned()
}

async fn revoke(api: &Api, whom: Value) {
    let request = json(Method::POST, "/revocations", whom.to_string());
    assert_eq!(api.send_as(&token(&[], &[], &[], true), request).await.status, StatusCode::NO_CONTENT);
}

async fn publish(api: &Api, topic: &str, value: u64) {
    let request = json(Method::POST, &format!("/topics/{topic}"), format!("{{\"value\":{value}}}"));
    assert_eq!(api.send_as(&token(&["**"], &[], &[], false), request).await.status, StatusCode::CREATED);
}

/// A stream that is live, by a ticket in its URL or by a token.
async fn live(api: &Api, path: &str, token: Option<&str>) -> Body {
    let mut request = request(Method::GET, path, "");
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a value"));
    }
    let mut body = api.answer(request).await.into_body();
    let mut seen = String::new();
    while !seen.contains("repl.ready") {
        seen += &next(&mut body).await;
    }
    body
}

/// All that comes until the stream ends.
async fn rest(mut stream: Body) -> String {
    let mut seen = String::new();
    while let Some(bytes) = timeout(SOON, stream.frame()).await.expect("an end soon") {
        seen += std::str::from_utf8(bytes.expect("no error").data_ref().expect("data")).expect("UTF-8");
    }
    seen
}

#[tokio::test]
async fn a_ticket_opens_streams_of_what_it_was_made_for_and_nothing_else() {
    let api = Api::with_auth(&["news:1", "news:2", "inbox:7"]).await;
    let reader = token(&["news:1"], &["news:*", "inbox:7"], &["**"], true);
    let text = ticket(&api, &reader, r#"{"topics":["news:1"],"match":["inbox:*"]}"#).await;
    for _ in 0..2 {
        let mut stream = live(&api, &format!("/sse?topic=news:1&match=**&ticket={text}"), None).await;
        publish(&api, "news:2", 1).await;
        publish(&api, "inbox:7", 2).await;
        let seen = next(&mut stream).await;
        assert!(seen.contains("\"value\":2") && !seen.contains("\"value\":1,"), "{seen}");
    }
    let code = async |path: &str| {
        api.get(&format!("{path}{}ticket={text}", if path.contains('?') { '&' } else { '?' })).await.code()
    };
    assert_eq!(code("/topics/news:1/sse").await, "");
    assert_eq!(code("/topics/news:2/sse").await, "topic-not-found");
    assert_eq!(code("/sse?topic=news:2").await, "forbidden");
    // Not elsewhere.
    assert_eq!(code("/topics/news:1/messages").await, "unauthenticated");
    assert_eq!(code("/metrics").await, "unauthenticated");
    assert_eq!(api.post(&format!("/topics/news:1?ticket={text}"), r#"{"value":1}"#).await.code(), "unauthenticated");
    for wrong in ["", "x", &text[1..], &text.to_uppercase()] {
        assert_eq!(api.get(&format!("/sse?topic=news:1&ticket={wrong}")).await.code(), "invalid-token", "{wrong}");
    }
}

#[tokio::test]
async fn a_ticket_allows_no_more_and_lives_no_longer_than_its_token() {
    let api = Api::with_auth(&[]).await;
    let make = async |token: Option<&str>, body: &str| {
        let request = json(Method::POST, "/tickets", body.to_owned());
        match token {
            Some(token) => api.send_as(token, request).await,
            None => api.send(request).await,
        }
    };
    let reader = token(&[], &["news:*", "**"], &[], false);
    let narrow = token(&["**"], &["news:*"], &["**"], true);
    assert_eq!(make(Some(&narrow), r#"{"topics":["inbox:7"]}"#).await.code(), "forbidden");
    assert_eq!(make(None, r#"{"topics":["public:x"]}"#).await.code(), "unauthenticated");
    assert_eq!(make(Some(&narrow), r#"{"match":["**"],"lifeSeconds":1}"#).await.status, StatusCode::CREATED);
    // A name is not taken for a pattern that is wider.
    assert_eq!(make(Some(&token(&[], &["*"], &[], false)), r#"{"topics":["**"]}"#).await.code(), "invalid-topic-name");
    for body in ["{}", r#"{"topics":["a"],"lifeSeconds":0}"#, r#"{"topics":["a"],"lifeSeconds":86401}"#] {
        assert_eq!(make(Some(&reader), body).await.code(), "invalid-body", "{body}");
    }
    let many = serde_json::json!({ "topics": vec!["a"; 33] }).to_string();
    assert_eq!(make(Some(&reader), &many).await.code(), "invalid-body");
    // The token has half a minute.
    let answer = make(Some(&reader), r#"{"topics":["a"],"lifeSeconds":86400}"#).await;
    let expires_at = answer.at("/expiresAt").as_str().map(crate::domain::Timestamp::parse_rfc3339);
    let latest = crate::domain::Timestamp::now().plus(Duration::from_secs(30));
    assert!(expires_at.is_some_and(|at| at.is_ok_and(|at| at <= latest)), "{answer:?}");
}

#[tokio::test]
async fn a_stream_ends_with_its_ticket_which_then_is_good_for_nothing() {
    let api = Api::with_auth(&["a"]).await;
    let body = serde_json::json!({ "topics": ["a"], "lifeSeconds": SOON_OVER.as_secs() }).to_string();
    let text = ticket(&api, &token(&[], &["a"], &[], false), &body).await;
    let path = format!("/sse?topic=a&ticket={text}");
    let seen = rest(live(&api, &path, None).await).await;
    assert!(seen.ends_with("data: {\"reason\":\"expired\"}\n\n"), "{seen}");
    assert_eq!(api.get(&path).await.code(), "invalid-token");
}

#[tokio::test]
async fn who_is_revoked_is_turned_away_and_gets_nothing_more() {
    let api = Api::with_auth(&["a"]).await;
    let ada = token(&["a"], &["a"], &[], false);
    let text = ticket(&api, &ada, r#"{"topics":["a"]}"#).await;
    let other = ticket(&api, &ada, r#"{"topics":["a"]}"#).await;
    let by_ticket = |text: &str| format!("/topics/a/sse?ticket={text}");
    let streams = [
        live(&api, &by_ticket(&text), None).await,
        live(&api, &by_ticket(&other), None).await,
        live(&api, "/topics/a/sse", Some(&ada)).await,
    ];
    let anonymous = live(&api, "/sse?topic=public:x", None).await;
    let [first, second, third] = streams;

    revoke(&api, serde_json::json!({ "ticket": text })).await;
    publish_as_operator(&api).await;
    let ended = rest(first).await;
    assert!(ended.ends_with("data: {\"reason\":\"revoked\"}\n\n") && !ended.contains("value"), "{ended}");
    assert_eq!(api.get(&by_ticket(&text)).await.code(), "invalid-token");

    revoke(&api, serde_json::json!({ "subject": "ada" })).await;
    for stream in [second, third] {
        let ended = rest(stream).await;
        assert!(ended.ends_with("data: {\"reason\":\"revoked\"}\n\n"), "{ended}");
    }
    assert_eq!(api.get(&by_ticket(&other)).await.code(), "invalid-token");
    let again = api.send_as(&ada, request(Method::GET, "/topics/a", "")).await;
    assert_eq!((again.status, again.code()), (StatusCode::UNAUTHORIZED, "invalid-token".to_owned()));
    assert_eq!(api.send_as(&ada, json(Method::POST, "/tickets", r#"{"topics":["a"]}"#)).await.code(), "invalid-token");
    drop(anonymous);
}

/// By somebody who is not Ada.
async fn publish_as_operator(api: &Api) {
    let request = json(Method::POST, "/topics/a", r#"{"value":7}"#);
    let root = access::token_of("root", &["**"]);
    assert_eq!(api.send_as(&root, request).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn revoking_is_for_operators_and_names_one() {
    let api = Api::with_auth(&[]).await;
    let send = async |token: &str, body: &str| {
        api.send_as(token, json(Method::POST, "/revocations", body.to_owned())).await.code()
    };
    assert_eq!(send(&token(&["**"], &["**"], &["**"], false), r#"{"subject":"eve"}"#).await, "forbidden");
    let admin = token(&[], &[], &[], true);
    for body in ["{}", r#"{"token":"a","subject":"b"}"#, r#"{"token":""}"#, r#"{"jti":"a"}"#] {
        assert_eq!(send(&admin, body).await, "invalid-body", "{body}");
    }
    // Twice comes to the same.
    assert_eq!(
        (send(&admin, r#"{"token":"t"}"#).await, send(&admin, r#"{"token":"t"}"#).await),
        (String::new(), String::new())
    );
}

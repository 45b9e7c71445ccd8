//! Who may do what.

use super::*;
use crate::auth::{Authority, KeySet, NewToken, Policy, Rights, SigningKey};
use crate::domain::{Pattern, Timestamp};
use crate::http::Origin;

const SECRET: &[u8] = b"a-secret-of-more-than-32-bytes-without-spaces";

pub(super) fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).expect(text)).collect()
}

/// A token of half a minute.
pub(super) fn token(publish: &[&str], subscribe: &[&str], manage: &[&str], admin: bool) -> String {
    sign(&NewToken {
        publish: patterns(publish),
        subscribe: patterns(subscribe),
        manage: patterns(manage),
        admin,
        ..new_token()
    })
}

/// A token of somebody else, who may publish.
pub(super) fn token_of(subject: &str, publish: &[&str]) -> String {
    sign(&NewToken { subject: Some(subject.to_owned()), publish: patterns(publish), ..new_token() })
}

pub(super) fn new_token() -> NewToken {
    let now = Timestamp::now();
    let expires_at = now.plus(Duration::from_secs(30));
    NewToken { subject: Some("ada".to_owned()), issued_at: now, expires_at, ..NewToken::default() }
}

pub(super) fn sign(token: &NewToken) -> String {
    SigningKey::from_secret(SECRET).expect("a secret").sign(token).expect("signed")
}

fn options() -> Options {
    with_policy(Policy::default())
}

/// Tokens are judged by this; everybody may read `public:**`.
pub(super) fn with_policy(policy: Policy) -> Options {
    let anonymous = Rights { subscribe: patterns(&["public:**"]), ..Rights::default() };
    let keys = KeySet::secret(SECRET).expect("a secret");
    let authority = Authority::new(keys, policy, anonymous);
    Options { auth: Some(Arc::new(authority)), ..Options::default() }
}

impl Api {
    /// Asks for tokens; everybody may read `public:**`.
    pub(super) async fn with_auth(topics: &[&str]) -> Self {
        let api = Self::with(options()).await;
        let root = token(&[], &[], &["**"], false);
        for topic in topics {
            let body = serde_json::json!({ "name": topic }).to_string();
            assert_eq!(api.send_as(&root, json(Method::POST, "/topics", body)).await.status, StatusCode::CREATED);
        }
        api
    }

    pub(super) async fn send_as(&self, token: &str, mut request: Request<Body>) -> Answer {
        let value = format!("Bearer {token}").parse().expect("a value");
        request.headers_mut().insert("authorization", value);
        self.send(request).await
    }
}

/// Each request that a topic can be used by.
fn uses(topic: &str) -> [Request<Body>; 6] {
    [
        json(Method::POST, &format!("/topics/{topic}"), r#"{"value":1}"#),
        request(Method::GET, &format!("/topics/{topic}/messages"), ""),
        request(Method::GET, &format!("/topics/{topic}/sse"), ""),
        request(Method::GET, &format!("/topics/{topic}"), ""),
        json(Method::PATCH, &format!("/topics/{topic}"), r#"{"retention":{"maxMessages":5}}"#),
        request(Method::DELETE, &format!("/topics/{topic}"), ""),
    ]
}

/// What comes of each of them; empty for a success.
async fn codes(api: &Api, token: Option<&str>, topic: &str) -> Vec<String> {
    let mut codes = Vec::new();
    for request in uses(topic) {
        let answer = match token {
            Some(token) => api.send_as(token, request).await,
            None => api.send(request).await,
        };
        codes.push(answer.code());
    }
    codes
}

#[tokio::test]
async fn each_use_of_a_topic_needs_its_right() {
    let api = Api::with_auth(&["a", "b", "c", "public:x"]).await;
    let (no, ok) = ("forbidden", "");
    assert_eq!(codes(&api, Some(&token(&["a"], &[], &[], false)), "a").await, [ok, no, no, ok, no, no]);
    assert_eq!(codes(&api, Some(&token(&[], &["b"], &[], false)), "b").await, [no, ok, ok, ok, no, no]);
    assert_eq!(codes(&api, Some(&token(&[], &[], &["c"], false)), "c").await, [no, no, no, ok, ok, ok]);
    let first = "unauthenticated";
    assert_eq!(codes(&api, None, "public:x").await, [first, ok, ok, ok, first, first]);
    assert_eq!(codes(&api, None, "a").await, [first; 6]);
}

#[tokio::test]
async fn without_a_right_a_topic_that_exists_is_as_missing_as_one_that_does_not() {
    let api = Api::with_auth(&["secret"]).await;
    for token in [token(&["a"], &["a"], &["a"], true), token(&[], &[], &[], false)] {
        for (there, missing) in uses("secret").into_iter().zip(uses("missing")) {
            let (there, missing) = (api.send_as(&token, there).await, api.send_as(&token, missing).await);
            assert_eq!((there.status, there.text()), (missing.status, missing.text()));
            assert_eq!(there.headers, missing.headers);
            assert_eq!(there.code(), "topic-not-found");
        }
    }
}

#[tokio::test]
async fn creating_a_topic_needs_the_right_to_manage_it_and_tells_nothing_else() {
    let api = Api::with_auth(&["mine:1", "secret"]).await;
    let create = async |name: &str| {
        let body = serde_json::json!({ "name": name }).to_string();
        let request = json(Method::POST, "/topics", body);
        api.send_as(&token(&["**"], &["**"], &["mine:*"], true), request).await
    };
    assert_eq!((create("mine:1").await.status, create("mine:2").await.status), (StatusCode::OK, StatusCode::CREATED));
    let (there, missing) = (create("secret").await, create("missing").await);
    assert_eq!((there.code().as_str(), there.text()), ("forbidden", missing.text()));
    assert_eq!(api.post("/topics", r#"{"name":"x"}"#).await.code(), "unauthenticated");
}

#[tokio::test]
async fn a_list_shows_what_one_may_do_something_with() {
    let api = Api::with_auth(&["a", "b", "c:1", "c:2", "c:3", "d", "public:x"]).await;
    let list = async |token: Option<&str>, query: &str| {
        let request = request(Method::GET, &format!("/topics{query}"), "");
        let answer = match token {
            Some(token) => api.send_as(token, request).await,
            None => api.send(request).await,
        };
        let names: Vec<String> = answer
            .at("/topics")
            .as_array()
            .expect("topics")
            .iter()
            .map(|topic| topic["name"].as_str().expect("a name").to_owned())
            .collect();
        (names.join(" "), answer.at("/next").as_str().unwrap_or_default().to_owned())
    };
    let some = token(&["b"], &["c:*"], &["d"], false);
    assert_eq!(list(Some(&some), "").await, ("b c:1 c:2 c:3 d".to_owned(), String::new()));
    assert_eq!(list(Some(&some), "?limit=2").await, ("b c:1".to_owned(), "c:1".to_owned()));
    assert_eq!(list(Some(&some), "?limit=2&after=c:2").await, ("c:3 d".to_owned(), String::new()));
    assert_eq!(list(None, "").await.0, "public:x");
    assert_eq!(list(Some(&token(&[], &[], &[], true)), "").await.0, "");
}

#[tokio::test]
async fn a_stream_reads_no_more_than_its_token_allows() {
    let api = Api::with_auth(&["a:1", "a:2", "b:1"]).await;
    let reader = token(&["**"], &["a:1", "c:**"], &["**"], false);
    let refused = async |query: &str| {
        let answer = api.send_as(&reader, request(Method::GET, &format!("/sse?{query}"), "")).await;
        (answer.code(), answer.at("/topic"), answer.at("/match"))
    };
    assert_eq!(refused("topic=a:1&topic=a:2").await, ("forbidden".to_owned(), "a:2".into(), Value::Null));
    assert_eq!(refused("topic=a:1&match=b:*").await, ("forbidden".to_owned(), Value::Null, "b:*".into()));
    assert_eq!(api.get("/sse?topic=public:x&topic=a:1").await.code(), "unauthenticated");
    assert_eq!(api.get("/sse?topic=public:x").await.status, StatusCode::OK);

    let mut request = request(Method::GET, "/sse?match=**&after=earliest&format=value", "");
    request.headers_mut().insert("authorization", format!("Bearer {reader}").parse().expect("a value"));
    for (topic, value) in [("a:2", 1), ("b:1", 2), ("a:1", 3)] {
        let body = format!("{{\"value\":{value}}}");
        let answer = api.send_as(&reader, json(Method::POST, &format!("/topics/{topic}"), body)).await;
        assert_eq!(answer.status, StatusCode::CREATED);
    }
    let mut stream = api.answer(request).await.into_body();
    let mut seen = String::new();
    while !seen.contains("repl.ready") {
        seen += &next(&mut stream).await;
    }
    assert!(seen.contains("data: 3\n") && !seen.contains("data: 1\n") && !seen.contains("data: 2\n"), "{seen}");
    // One that comes later, too.
    let body = r#"{"name":"c:new"}"#;
    assert_eq!(api.send_as(&reader, json(Method::POST, "/topics", body)).await.status, StatusCode::CREATED);
    api.send_as(&reader, json(Method::POST, "/topics/b:1", r#"{"value":4}"#)).await;
    api.send_as(&reader, json(Method::POST, "/topics/c:new", r#"{"value":5}"#)).await;
    let seen = next(&mut stream).await;
    assert!(seen.contains("data: 5\n") && !seen.contains("data: 4\n"), "{seen}");
}

#[tokio::test]
async fn a_stream_ends_when_its_token_does_and_says_so() {
    let api = Api::with_auth(&["a"]).await;
    let expires_at = Timestamp::now().plus(SOON_OVER);
    let short = sign(&NewToken { subscribe: patterns(&["a"]), expires_at, ..new_token() });
    let mut request = request(Method::GET, "/topics/a/sse", "");
    request.headers_mut().insert("authorization", format!("Bearer {short}").parse().expect("a value"));
    let mut stream = api.answer(request).await.into_body();
    let mut seen = String::new();
    while let Some(bytes) = timeout(SOON, stream.frame()).await.expect("an end soon") {
        seen += std::str::from_utf8(bytes.expect("no error").data_ref().expect("data")).expect("UTF-8");
    }
    assert!(seen.ends_with("data: {\"reason\":\"expired\"}\n\n") && seen.contains("event: repl.auth\nid: "), "{seen}");
    let again = api.send_as(&short, super::request(Method::GET, "/topics/a/sse", "")).await;
    assert_eq!(again.code(), "invalid-token");
}

#[tokio::test]
async fn what_is_for_operators_is_for_them_and_health_is_for_everybody() {
    let api = Api::with_auth(&[]).await;
    let code = async |token: Option<&str>, path: &str| {
        let request = request(Method::GET, path, "");
        match token {
            Some(token) => api.send_as(token, request).await.code(),
            None => api.send(request).await.code(),
        }
    };
    let (admin, user, nobody) =
        (token(&[], &[], &[], true), token(&["a"], &[], &[], false), token(&[], &[], &[], false));
    for path in ["/livez", "/readyz", "/openapi.json"] {
        assert_eq!(code(None, path).await, "", "{path}");
    }
    for path in ["/metrics", "/streams"] {
        assert_eq!(
            (code(None, path).await, code(Some(&user), path).await),
            ("unauthenticated".into(), "forbidden".into())
        );
        assert_eq!(code(Some(&admin), path).await, "");
    }
    // Pages look there for other nodes, those without a token too if there is something for them.
    assert_eq!((code(None, "/cluster").await, code(Some(&user), "/cluster").await), (String::new(), String::new()));
    assert_eq!(code(Some(&nobody), "/cluster").await, "forbidden");
    // Where nodes reach each other is for operators.
    for path in ["/cluster", "/cluster/nodes", "/cluster/nodes?for=stream"] {
        let peer = async |token: &str| {
            let answer = api.send_as(token, request(Method::GET, path, "")).await;
            assert!(answer.at("/nodes/0/clientUrl").is_string(), "{answer:?}");
            answer.at("/nodes/0/peerAddr")
        };
        assert_eq!((peer(&user).await, peer(&admin).await), (Value::Null, "127.0.0.1:7376".into()), "{path}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_wherever_it_is_sent() {
    let api = Api::with_auth(&["public:x"]).await;
    let past = Timestamp::now().minus(Duration::from_secs(1));
    for bad in ["", "a.b.c", &sign(&NewToken { expires_at: past, ..new_token() })] {
        for path in ["/topics", "/topics/public:x/sse", "/sse?topic=public:x", "/cluster", "/metrics"] {
            let answer = api.send_as(bad, request(Method::GET, path, "")).await;
            assert_eq!(answer.code(), "invalid-token", "{path}");
            assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="repl", error="invalid_token""#);
        }
    }
    let answer = api.get("/topics/x").await;
    assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="repl""#);
    let admin = token(&[], &[], &[], true);
    let metrics = api.send_as(&admin, request(Method::GET, "/metrics", "")).await;
    for line in [
        r#"repl_http_tokens_refused_total{reason="expired"} 5"#,
        r#"repl_http_tokens_refused_total{reason="malformed"} 10"#,
        r#"repl_http_problems_total{code="invalid-token"} 15"#,
        r#"repl_http_problems_total{code="unauthenticated"} 1"#,
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line} in\n{}", metrics.text());
    }
    // Tokens have no place in a URL.
    for name in ["token", "access_token", "authorization"] {
        let url = format!("/sse?topic=public:x&{name}={}", token(&[], &["**"], &[], false));
        assert_eq!(api.get(&url).await.code(), "invalid-query");
    }
}

#[tokio::test]
async fn a_cookie_counts_for_pages_of_this_origin_and_of_those_that_were_named() {
    let cors_origins = ["https://app.example", "null"].map(|origin| Origin::parse(origin).expect(origin)).to_vec();
    let api = Api::with(Options { cors_origins, ..options() }).await;
    let cookie = format!("a=b; __Secure-repl_token={}", token(&[], &[], &["**"], false));
    let send = async |method: Method, headers: &[(&'static str, &str)]| {
        let mut request = json(method.clone(), "/topics", if method == Method::POST { r#"{"name":"t"}"# } else { "" });
        for (name, value) in [("cookie", cookie.as_str()), ("host", "localhost:7375")].iter().chain(headers) {
            request.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        api.send(request).await
    };
    let (own, named) = (("origin", "http://localhost:7375"), ("origin", "https://app.example"));
    for headers in [&[own][..], &[named], &[("sec-fetch-site", "same-origin")]] {
        for method in [Method::GET, Method::POST] {
            assert!(send(method, headers).await.status.is_success(), "{headers:?}");
        }
    }
    for origin in ["http://localhost:3000", "https://evil.example", "null", "http://app.example", "localhost:7375"] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(send(method, &[("origin", origin)]).await.code(), "origin-not-allowed", "{origin}");
        }
    }
    assert_eq!(send(Method::POST, &[]).await.code(), "origin-not-allowed");
    for site in ["cross-site", "same-site"] {
        assert_eq!(send(Method::GET, &[("sec-fetch-site", site)]).await.code(), "origin-not-allowed");
    }
    // Only who was named may have a browser send cookies.
    let credentials = async |origin: &str| {
        send(Method::GET, &[("origin", origin)]).await.header("access-control-allow-credentials").to_owned()
    };
    assert_eq!(credentials("https://app.example").await, "true");
    for origin in ["null", "http://localhost:3000", "https://evil.example"] {
        assert_eq!(credentials(origin).await, "", "{origin}");
    }
    // A header outranks the cookie, and then no origin is asked for.
    let mut request = request(Method::GET, "/topics", "");
    request.headers_mut().insert("cookie", "__Secure-repl_token=bad".parse().expect("a value"));
    request.headers_mut().insert("origin", "https://evil.example".parse().expect("a value"));
    assert_eq!(api.send_as(&token(&[], &[], &[], false), request).await.status, StatusCode::OK);
}

//! What pages of other origins, and other hosts, may do.

use super::*;
use crate::http::Origin;

async fn allowed_origin(api: &Api, method: Method, origin: &str) -> Option<String> {
    let mut request = request(method, "/livez", "");
    request.headers_mut().insert("origin", origin.parse().expect("a value"));
    request.headers_mut().insert("access-control-request-method", "GET".parse().expect("a value"));
    let answer = api.send(request).await;
    assert!(!answer.headers.contains_key("access-control-allow-credentials"), "{origin}");
    let allowed = answer.headers.get("access-control-allow-origin")?;
    Some(allowed.to_str().expect("ASCII").to_owned())
}

async fn check_origins(api: &Api, admitted: &[&str], refused: &[&str]) {
    for method in [Method::GET, Method::OPTIONS] {
        for origin in admitted {
            assert_eq!(allowed_origin(api, method.clone(), origin).await.as_deref(), Some(*origin), "{method}");
        }
        for origin in refused {
            assert_eq!(allowed_origin(api, method.clone(), origin).await, None, "{method} {origin}");
        }
    }
}

#[tokio::test]
async fn pages_of_this_machine_are_admitted_and_no_others() {
    let local =
        ["http://localhost", "http://localhost:3000", "https://localhost", "http://127.0.0.1:8080", "https://[::1]:1"];
    let foreign = [
        "https://evil.com",
        "http://localhost.evil.com",
        "http://evil.com:7375",
        "http://localhost@evil.com",
        "ftp://localhost",
        "localhost",
        "null",
        "*",
    ];
    check_origins(&Api::start().await, &local, &foreign).await;
}

#[tokio::test]
async fn further_origins_are_admitted_by_name_exactly() {
    let named = ["https://app.example.com", "null"];
    let cors_origins = named.map(|origin| Origin::parse(origin).expect(origin)).to_vec();
    let api = Api::with(Options { cors_origins, ..Options::default() }).await;
    let refused = ["http://app.example.com", "https://app.example.com:8443", "https://example.com", "https://evil.com"];
    check_origins(&api, &["https://app.example.com", "null", "http://localhost:1"], &refused).await;
}

#[tokio::test]
async fn a_star_admits_everyone_without_reflecting_anyone() {
    let cors_origins = vec![Origin::parse("*").expect("a star")];
    let api = Api::with(Options { cors_origins, ..Options::default() }).await;
    assert_eq!(allowed_origin(&api, Method::GET, "https://evil.com").await.as_deref(), Some("*"));
}

#[tokio::test]
async fn a_preflight_admits_what_our_clients_send() {
    let api = Api::start().await;
    let mut preflight = request(Method::OPTIONS, "/topics/t/sse", "");
    for (name, value) in [
        ("origin", "http://localhost:3000"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "last-event-id"),
    ] {
        preflight.headers_mut().insert(name, value.parse().expect("a value"));
    }
    let answer = api.send(preflight).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-methods"), "GET,HEAD,POST,PATCH,DELETE");
    let headers = "authorization,content-type,idempotency-key,last-event-id,traceparent,tracestate";
    assert_eq!(answer.header("access-control-allow-headers"), headers);
    assert_eq!(answer.header("access-control-max-age"), "3600");

    let mut cross_origin = request(Method::GET, "/livez", "");
    cross_origin.headers_mut().insert("origin", "http://localhost:3000".parse().expect("a value"));
    let answer = api.send(cross_origin).await;
    assert_eq!(answer.header("access-control-expose-headers"), "location,retry-after,www-authenticate");
    assert!(answer.header("vary").contains("origin"), "{answer:?}");
}

#[tokio::test]
async fn on_loopback_a_request_for_another_host_is_misdirected() {
    let api = Api::start().await;
    let send = async |api: &Api, host: &str| {
        let mut request = request(Method::GET, "/livez", "");
        request.headers_mut().insert("host", host.parse().expect("a value"));
        api.send(request).await.code()
    };
    for host in ["localhost:7375", "127.0.0.1:7375", "[::1]:7375", "localhost"] {
        assert_eq!(send(&api, host).await, "", "{host}");
    }
    for host in ["rebound.evil.com:7375", "evil.com", "10.0.0.1", "", "localhost.evil.com", "ä"] {
        assert_eq!(send(&api, host).await, "host-not-allowed", "{host}");
    }
    let mut twofold = request(Method::GET, "/livez", "");
    twofold.headers_mut().insert("host", "localhost".parse().expect("a value"));
    twofold.headers_mut().append("host", "evil.com".parse().expect("a value"));
    assert_eq!(api.send(twofold).await.code(), "host-not-allowed", "a proxy may go by the other one");
    let in_uri = api.get("http://evil.com/livez").await;
    assert_eq!(in_uri.code(), "host-not-allowed", "HTTP/2 has the host in its URI");

    let public = Api::with(Options { loopback_only: false, ..Options::default() }).await;
    assert_eq!(send(&public, "broker.example.com").await, "");
}

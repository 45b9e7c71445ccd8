//! The listener: what only a real socket shows.

use std::net::SocketAddr;

use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::*;
use crate::http::{Front, Limits, serve};
use crate::tls::Acceptor;

/// Short enough for a test to wait for, long enough for a busy machine to be in time.
pub(super) const SHORT: Duration = Duration::from_millis(300);

/// The API on a port of its own.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) api: Api,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(super) async fn with(limits: Limits) -> Self {
        Self::secured(limits, None).await
    }

    pub(super) async fn secured(limits: Limits, tls: Option<Acceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = app(Options::default()).await;
        let (metrics, stop) = (app.metrics.clone(), app.stop.clone());
        let (front, api) = (Front::new(&app.options), Api::new(app));
        front.open(api.clone());
        let task = tokio::spawn(serve(listener, tls, front, metrics, limits, stop.clone(), Handle::current()));
        Self { address, api, stop, task }
    }

    pub(super) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.expect("a connection"))
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stops it; it must end soon.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        timeout(SOON, self.task).await.expect("an end soon").expect("no panic");
    }

    /// Waits until a metric has come to be.
    pub(super) async fn reaches(&self, metric: &str) {
        let reached = async {
            while !self.api.get("/metrics").await.text().lines().any(|line| line == metric) {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, reached).await.unwrap_or_else(|_| panic!("{metric} never came"));
    }
}

/// A client that speaks bytes.
pub(super) struct Client<S = TcpStream>(pub(super) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("written");
    }

    /// Reads until the text has come.
    pub(super) async fn until(&mut self, wanted: &str) -> String {
        let (mut found, mut seen) = (Vec::new(), 0);
        while !found[seen..].windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
            seen = found.len().saturating_sub(wanted.len());
            let read = timeout(SOON, self.0.read_buf(&mut found)).await.expect("bytes soon").expect("no error");
            assert_ne!(read, 0, "closed before {wanted:?}");
        }
        String::from_utf8(found).expect("UTF-8")
    }

    /// What still comes before the server closes, which it must do soon.
    pub(super) async fn rest(&mut self) -> String {
        let mut found = Vec::new();
        let read = async {
            // A reset is a close too: the server needn't read what it refuses.
            while self.0.read_buf(&mut found).await.is_ok_and(|read| read > 0) {}
        };
        timeout(SOON, read).await.expect("closed soon");
        String::from_utf8_lossy(&found).into_owned()
    }
}

#[tokio::test]
async fn one_port_speaks_http_1_and_cleartext_http_2() {
    let server = Server::start().await;
    let http_1 = reqwest::Client::builder().http1_only().build().expect("a client");
    let http_2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    for (client, version) in [(&http_1, reqwest::Version::HTTP_11), (&http_2, reqwest::Version::HTTP_2)] {
        let response = client.get(server.url("/livez")).send().await.expect("an answer");
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
    }
    http_2.post(server.url("/topics")).json(&serde_json::json!({"name": "t"})).send().await.expect("an answer");
    let streams = [&http_1, &http_2].map(|client| client.get(server.url("/topics/t/sse?format=value")).send());
    for stream in streams {
        let mut bytes = stream.await.expect("a stream").bytes_stream();
        let mut text = String::new();
        while !text.contains("event: repl.ready") {
            let chunk = timeout(SOON, bytes.next()).await.expect("bytes soon").expect("no end").expect("no error");
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stream_sends_head_and_first_bytes_before_any_event() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.write("GET /sse?topic=t HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let head = client.until("retry: ").await;
    let (head, body) = head.split_once("\r\n\r\n").expect("a head");
    let mut lines: Vec<_> = head.lines().filter(|line| !line.starts_with("date: ")).collect();
    lines.sort_unstable();
    let expected = [
        "HTTP/1.1 200 OK",
        "access-control-expose-headers: location,retry-after,www-authenticate",
        "cache-control: no-store, no-transform",
        "connection: close",
        "content-type: text/event-stream; charset=utf-8",
        "transfer-encoding: chunked",
        "vary: origin",
        "x-accel-buffering: no",
    ];
    assert_eq!(lines, expected);
    assert!(body.lines().nth(1).is_some_and(|line| line.starts_with(':')), "{body:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_may_follow_other_requests_on_its_connection() {
    let server = Server::start().await;
    server.api.post("/topics", r#"{"name":"t"}"#).await;
    let mut client = server.connect().await;
    client.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    client.until("alive").await;
    // Two at once: the second is answered behind the first.
    client.write("GET /topics/t HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    client.write("GET /topics/t/sse HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let text = client.until("event: repl.ready").await;
    let (first, stream) = text.split_once("}\nHTTP/1.1 200 OK\r\n").expect("two answers");
    assert!(first.contains("application/json") && stream.contains("text/event-stream"), "{text}");
    server.api.post("/topics/t", r#"{"value":"published"}"#).await;
    client.until("published").await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_ends_its_stream_although_nothing_is_sent() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.write("GET /sse?topic=t HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    client.until("event: repl.ready").await;
    server.reaches("repl_http_streams 1").await;
    drop(client);
    server.reaches("repl_http_streams 0").await;
    server.reaches("repl_http_connections 0").await;
    server.reaches(r#"repl_http_connections_closed_total{reason="client"} 1"#).await;
    server.stop().await;
}

#[tokio::test]
async fn what_a_client_sends_on_a_stream_is_not_answered_and_has_a_limit() {
    let server = Server::start().await;
    server.api.post("/topics", r#"{"name":"t"}"#).await;
    let mut client = server.connect().await;
    let request = "GET /topics/t/sse HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.write(&request.repeat(2)).await;
    client.until("event: repl.ready").await;
    client.write(request).await;
    server.api.post("/topics/t", r#"{"value":"published"}"#).await;
    let text = client.until("published").await;
    assert!(!text.contains("HTTP/1.1"), "{text}");
    server.reaches("repl_http_streams 1").await;

    // The server may have closed before all of it is sent.
    let _ = client.0.write_all(&[b'x'; 32 * 1024]).await;
    client.rest().await;
    server.reaches("repl_http_streams 0").await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_stream_without_chunks() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.write("GET /sse?topic=t HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    let text = client.until("event: repl.ready").await;
    assert!(!text.contains("chunked") && text.contains("\r\n\r\n:\nretry: "), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_takes_too_long_closes_the_connection_however_it_trickles() {
    let server = Server::with(Limits { head_timeout: SHORT, ..Limits::default() }).await;
    let mut silent = server.connect().await;
    let mut partial = server.connect().await;
    partial.write("GET /livez HTTP/1.1\r\nHost: local").await;
    let mut trickling = server.connect().await;
    let trickle = async {
        trickling.write("GET /livez HTTP/1.1\r\nX: ").await;
        // Slow enough to stay below the limit of a head's size, fast enough to look alive.
        let mut pace = interval(SHORT / 20);
        while trickling.0.write_all(b"x").await.is_ok() {
            pace.tick().await;
        }
    };
    let (silent, partial, trickled) = tokio::join!(silent.rest(), partial.rest(), timeout(SOON, trickle));
    trickled.expect("closed soon");
    assert_eq!((silent.as_str(), partial.as_str()), ("", ""));
    server.reaches(r#"repl_http_connections_closed_total{reason="idle"} 3"#).await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_is_kept_between_requests_until_it_has_idled_too_long() {
    let server = Server::with(Limits { idle_timeout: SHORT, ..Limits::default() }).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        client.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        client.until("alive").await;
    }
    client.rest().await;
    server.reaches(r#"repl_http_connections_closed_total{reason="idle"} 1"#).await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_of_http_2_is_closed_when_it_has_idled_too_long() {
    let server = Server::with(Limits { idle_timeout: SHORT, ..Limits::default() }).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    client.get(server.url("/livez")).send().await.expect("an answer");
    server.reaches(r#"repl_http_connections_closed_total{reason="idle"} 1"#).await;
    server.stop().await;
}

#[tokio::test]
async fn an_open_stream_is_never_idle() {
    let server = Server::with(Limits { idle_timeout: SHORT, head_timeout: SHORT, ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write("GET /sse?topic=t HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    stream.until("event: repl.ready").await;
    // By the time that a connection without a request is closed for idling, the stream would have been.
    let mut idle = server.connect().await;
    idle.rest().await;
    server.api.post("/topics", r#"{"name":"t"}"#).await;
    server.api.post("/topics/t", r#"{"value":"still here"}"#).await;
    stream.until("still here").await;
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let server = Server::start().await;
    let large = format!("X: {}\r\n", "x".repeat(16 * 1024));
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    for headers in [large, many] {
        let mut client = server.connect().await;
        client.write(&format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    server.reaches(r#"repl_http_connections_closed_total{reason="head"} 2"#).await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_of_http_2_may_have_256_requests_at_once() {
    let server = Server::start().await;
    let Client(mut socket) = server.connect().await;
    // The preface, and settings that say nothing (RFC 9113, sections 3.4 and 6.5).
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    socket.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat()).await.expect("sent");
    let mut head = [0; 9];
    socket.read_exact(&mut head).await.expect("a frame");
    let [_, high, low, kind, ..] = head;
    assert_eq!(kind, 4, "the server's settings come first");
    let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    socket.read_exact(&mut payload).await.expect("the settings");
    let (settings, _) = payload.as_chunks::<6>();
    // SETTINGS_MAX_CONCURRENT_STREAMS
    assert!(settings.contains(&[0, 3, 0, 0, 1, 0]), "{settings:?}");
    drop(socket);
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_announces_to_be_too_large_is_refused_before_it_is_read() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client
        .write(
            "POST /topics/t HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: 65537\r\nExpect: 100-continue\r\n\r\n",
        )
        .await;
    let answer = client.until("too-large").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_health_check_without_a_host_is_answered() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.write("GET /readyz HTTP/1.0\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_has_nothing_more_to_send_is_answered_and_its_connection_closed() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let body = r#"{"name":"t"}"#;
    let head =
        "POST /topics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n";
    client.write(&format!("{head}{body}")).await;
    client.0.shutdown().await.expect("shut down");
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    server.reaches("repl_http_connections 0").await;
    server.stop().await;
}

/// 24 MB to the topic `t`, more than the kernel keeps for a connection on both sides, and "the end".
async fn publish_too_much(server: &Server) {
    let batch = format!("{{\"value\":\"{}\"}}\n", "x".repeat(60_000)).repeat(4);
    for _ in 0..100 {
        server.api.post_lines("/topics/t", batch.clone()).await;
    }
    server.api.post("/topics/t", r#"{"value":"the end"}"#).await;
}

#[tokio::test]
async fn a_client_that_takes_no_data_is_closed_and_others_are_not() {
    let server = Server::with(Limits { write_stall_timeout: SOON_OVER, ..Limits::default() }).await;
    server.api.post("/topics", r#"{"name":"t"}"#).await;
    let mut clients = [server.connect().await, server.connect().await];
    for client in &mut clients {
        client.write("GET /topics/t/sse HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        client.until("event: repl.ready").await;
    }
    let [stalled, mut reading] = clients;
    tokio::join!(publish_too_much(&server), reading.until("the end"));
    server.reaches(r#"repl_http_connections_closed_total{reason="stalled"} 1"#).await;
    drop(stalled);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_listed_as_slow_until_it_does() {
    let server = Server::start().await;
    server.api.post("/topics", r#"{"name":"t"}"#).await;
    let [mut stalled, mut reading] = [server.connect().await, server.connect().await];
    for client in [&mut stalled, &mut reading] {
        client.write("GET /topics/t/sse HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        client.until("event: repl.ready").await;
    }
    // Waits until these are the slow ones, and answers what is said of them.
    let lists = async |addresses: &[String]| {
        let listed = async {
            loop {
                let page = server.api.get("/streams?slow=true").await.at("/streams");
                let slow = page.as_array().expect("streams");
                if slow.iter().map(|stream| &stream["address"]).eq(addresses) {
                    return slow.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, listed).await.unwrap_or_else(|_| panic!("never just {addresses:?}"))
    };
    tokio::join!(publish_too_much(&server), reading.until("the end"));
    let address = stalled.0.local_addr().expect("an address").to_string();
    let slow = lists(&[address]).await;
    assert!(slow[0]["blockedMs"].as_u64() >= Some(1_000) && slow[0]["behind"].as_u64() > Some(0), "{slow:?}");

    stalled.until("the end").await;
    lists(&[]).await;
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_places_become_free() {
    let server = Server::with(Limits { connections_max: 1, ..Limits::default() }).await;
    let mut first = server.connect().await;
    first.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    first.until("alive").await;
    assert_eq!(server.connect().await.rest().await, "");
    server.reaches(r#"repl_http_connections_closed_total{reason="full"} 1"#).await;
    server.reaches("repl_http_connections 1").await;

    drop(first);
    server.reaches("repl_http_connections 0").await;
    let mut third = server.connect().await;
    third.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    third.until("alive").await;
    server.stop().await;
}

#[tokio::test]
async fn one_address_has_a_bound_of_connections_and_of_new_ones() {
    let few = Limits { connections_per_address_max: 1, limits_loopback: true, ..Limits::default() };
    let server = Server::with(few).await;
    let _first = server.connect().await;
    assert_eq!(server.connect().await.rest().await, "");
    server.reaches(r#"repl_http_connections_closed_total{reason="address"} 1"#).await;
    server.stop().await;

    let server = Server::with(Limits { connection_rate_max: 1, limits_loopback: true, ..Limits::default() }).await;
    let refused = async {
        while !server.api.get("/metrics").await.text().contains(r#"{reason="rate"}"#) {
            server.connect().await;
        }
    };
    timeout(SOON, refused).await.expect("more than ten in ten seconds");
    server.stop().await;

    // What comes from this machine is not counted by default.
    let server = Server::with(Limits { limits_loopback: false, ..few }).await;
    let mut clients = [server.connect().await, server.connect().await];
    for client in &mut clients {
        client.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        client.until("alive").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stop_ends_streams_cleanly_and_closes_idle_connections_at_once() {
    let server = Server::with(Limits { drain_timeout: SOON * 6, ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write("GET /sse?topic=t HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    stream.until("event: repl.ready").await;
    let mut idle = server.connect().await;
    idle.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    idle.until("alive").await;
    let address = server.address;
    server.stop().await;
    assert!(stream.rest().await.ends_with("0\r\n\r\n"), "the last chunk");
    assert_eq!(idle.rest().await, "");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_stop_waits_for_a_request_in_flight_but_not_for_ever() {
    const HEAD: &str = "POST /topics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                        Content-Length: 12\r\n\r\n{\"name\"";
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.write(HEAD).await;
    server.reaches("repl_http_requests_in_flight 2").await;
    server.stop.cancel();
    client.write(":\"t\"}").await;
    assert!(client.rest().await.starts_with("HTTP/1.1 201 "));
    server.stop().await;

    let server = Server::with(Limits { drain_timeout: SHORT, ..Limits::default() }).await;
    let mut client = server.connect().await;
    client.write(HEAD).await;
    server.reaches("repl_http_requests_in_flight 2").await;
    server.stop().await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_client_whose_body_is_not_read_is_told_that_the_connection_closes() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let head = "POST /topics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ";
    client.write(&format!("{head}10000000\r\n\r\n")).await;
    let refused = client.until("\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 413") && refused.contains("connection: close"), "{refused}");

    let mut client = server.connect().await;
    client.write(&format!("{head}2\r\n\r\n{{}}")).await;
    let refused = client.until("\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 400") && !refused.contains("connection: close"), "{refused}");
    server.stop().await;
}

//! The listener with TLS.

use std::io;
use std::sync::Arc;

use axum::http::Version;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::sockets::{Client, SHORT, Server};
use super::*;
use crate::http::Limits;
use crate::tls::Acceptor;
use crate::tls::tests::authority::{Authority, Files};

/// A server with a certificate, and who signed that.
struct Secured {
    server: Server,
    authority: Authority,
    acceptor: Acceptor,
    dir: TempDir,
}

impl Secured {
    async fn start(limits: Limits) -> Self {
        let (dir, authority) = (tempfile::tempdir().expect("a directory"), Authority::new());
        let Files { certificate, key } = authority.issue(dir.path(), "node", &["localhost"]);
        let acceptor = Acceptor::new(certificate, key).expect("of use");
        let server = Server::secured(limits, Some(acceptor.clone())).await;
        Self { server, authority, acceptor, dir }
    }

    /// Connects as one who believes an authority, and speaks a protocol.
    async fn connect(&self, authority: &Authority, protocol: &str) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("PEM")).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        let socket = TcpStream::connect(self.server.address).await?;
        let host = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(host, socket).await
    }

    async fn http_1(&self) -> Client<TlsStream<TcpStream>> {
        Client(self.connect(&self.authority, "http/1.1").await.expect("a connection"))
    }

    async fn stream(&self) -> Client<TlsStream<TcpStream>> {
        let mut client = self.http_1().await;
        client.write("GET /topics/t/sse?format=value HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        client.until("event: repl.ready").await;
        client
    }
}

#[tokio::test]
async fn a_stream_takes_a_connection_of_http_1_over_with_its_tls() {
    let secured = Secured::start(Limits::default()).await;
    secured.server.api.post("/topics", r#"{"name":"t"}"#).await;
    let mut client = secured.http_1().await;
    client.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    client.until("alive").await;
    client.write("GET /topics/t/sse?format=value HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    client.until("connection: close").await;
    client.until("event: repl.ready").await;
    // More than a record of TLS holds.
    let value = "x".repeat(40_000);
    secured.server.api.post("/topics/t", format!("{{\"value\":\"{value}\"}}")).await;
    client.until(&format!("data: \"{value}\"\n\n")).await;
    secured.server.stop().await;
    assert!(client.rest().await.ends_with("0\r\n\r\n"), "the last chunk");
}

#[tokio::test]
async fn clients_that_offer_http_2_get_it() {
    let secured = Secured::start(Limits::default()).await;
    secured.server.api.post("/topics", r#"{"name":"t"}"#).await;
    let socket = secured.connect(&secured.authority, "h2").await.expect("a connection");
    assert_eq!(socket.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut client, connection) =
        http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(socket)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = |path: &str| Request::get(format!("https://localhost{path}")).body(Body::empty()).expect("a request");
    let answer = client.send_request(request("/topics/t/sse")).await.expect("an answer");
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    let (mut stream, mut text) = (answer.into_body(), String::new());
    while !text.contains("event: repl.ready") {
        let frame = timeout(SOON, stream.frame()).await.expect("bytes soon").expect("no end").expect("no error");
        text.push_str(&String::from_utf8_lossy(frame.data_ref().expect("bytes")));
    }
    let answer = client.send_request(request("/livez")).await.expect("an answer on the same connection");
    assert_eq!(answer.status(), StatusCode::OK);
    secured.server.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_streams_go_on() {
    let secured = Secured::start(Limits::default()).await;
    secured.server.api.post("/topics", r#"{"name":"t"}"#).await;
    let mut stream = secured.stream().await;
    let other = Authority::new();
    assert!(secured.connect(&other, "http/1.1").await.is_err(), "not yet");
    other.issue(secured.dir.path(), "node", &["localhost"]);
    secured.acceptor.reload();
    secured.connect(&other, "http/1.1").await.expect("the new one is shown");
    assert!(secured.connect(&secured.authority, "http/1.1").await.is_err(), "the old one is not");
    secured.server.api.post("/topics/t", r#"{"value":"still here"}"#).await;
    stream.until("still here").await;
    secured.server.stop().await;
}

#[tokio::test]
async fn a_handshake_has_a_time_and_others_wait_for_their_turn() {
    let limits = Limits { handshake_timeout: SHORT, handshakes_max: 1, ..Limits::default() };
    let secured = Secured::start(limits).await;
    let (mut silent, mut waiting) = (secured.server.connect().await, secured.server.connect().await);
    assert_eq!((silent.rest().await, waiting.rest().await), (String::new(), String::new()));
    secured.server.reaches(r#"repl_http_connections_closed_total{reason="handshake"} 2"#).await;
    secured.server.reaches("repl_http_connections 0").await;
    secured.server.stop().await;
}

#[tokio::test]
async fn who_speaks_without_tls_is_told_so() {
    let secured = Secured::start(Limits::default()).await;
    let mut client = secured.server.connect().await;
    client.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("tls-required"), "{answer}");
    secured.server.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_no_data_over_tls_is_closed() {
    let limits = Limits { write_stall_timeout: SOON_OVER, ..Limits::default() };
    let secured = Secured::start(limits).await;
    let server = &secured.server;
    server.api.post("/topics", r#"{"name":"t"}"#).await;
    let (stalled, mut reading) = (secured.stream().await, secured.stream().await);
    // 14 MB: more than the kernel keeps for a connection on both sides.
    let publish = async {
        let batch = format!("{{\"value\":\"{}\"}}\n", "x".repeat(60_000)).repeat(4);
        for _ in 0..60 {
            server.api.post_lines("/topics/t", batch.clone()).await;
        }
        server.api.post("/topics/t", r#"{"value":"the end"}"#).await;
    };
    tokio::join!(publish, reading.until("the end"));
    server.reaches(r#"repl_http_connections_closed_total{reason="stalled"} 1"#).await;
    drop(stalled);
    secured.server.stop().await;
}

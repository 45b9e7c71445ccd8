//! What clients send, byte by byte.

use axum::extract::FromRequestParts;
use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::runtime::Builder;

use super::sockets::Server;
use super::*;
use crate::domain::{Cursor, Pattern, TopicName};
use crate::fuzz::Target;
use crate::http::body::Object;
use crate::http::history::MessagesQuery;
use crate::http::query::{FromParameters, QueryString};
use crate::http::revocations::NewRevocation;
use crate::http::stream::{SelectionQuery, StreamQuery};
use crate::http::tickets::NewTicket;
use crate::http::topics::{NewTopic, TopicsQuery};
use crate::http::{publish, start};

fn corpus(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn fuzz_cursors_names_and_patterns() {
    let texts =
        ["k7qm0000-1042", "00000000-18446744073709551615", "10m", "earliest", "2026-11-21T20:00:00Z", "a:*:**", "ä:1"];
    Target::new("cursors, names and patterns", corpus(&texts)).run(|input| {
        let text = String::from_utf8_lossy(input);
        let _ = (Cursor::parse(&text), start::parse(&text), TopicName::parse(&text));
        if let Ok(pattern) = Pattern::parse(&text) {
            assert_eq!(Pattern::parse(pattern.as_str()), Ok(pattern));
        }
    });
}

/// Reads a query as a route does, without the route.
fn read_query<T: FromParameters>(query: &str) {
    let uri = format!("/sse?{query}");
    let Ok(request) = Request::get(uri).body(()) else { return };
    let _ = QueryString::<T>::from_request_parts(&mut request.into_parts().0, &()).now_or_never();
}

#[test]
fn fuzz_queries() {
    let texts = [
        "topic=a&topic=b&match=orders:*&after=10m&tail=5&format=value&ticket=t",
        "after=00000000-7&before=00000000-9&limit=1000&reverse=true",
        "prefix=a%20b%2f&after=%C3%A4&limit=7",
    ];
    // A parameter of two bytes is two strings, and each query is read three times.
    Target { allocated_max: (64 * 1024, 256), ..Target::new("queries", corpus(&texts)) }.run(|input| {
        let query = String::from_utf8_lossy(input);
        read_query::<(SelectionQuery, StreamQuery)>(&query);
        read_query::<MessagesQuery>(&query);
        read_query::<TopicsQuery>(&query);
    });
}

fn read_body<T: DeserializeOwned>(input: &[u8]) {
    let _ = serde_json::from_slice::<Object<T>>(input);
}

#[test]
fn fuzz_bodies() {
    let texts = [
        r#"{"value":{"a":[1,-2.5e3,null,"\ud83d\ude00"]},"type":"paid","headers":{"a":"b"},"key":"k"}"#,
        "{\"value\":1}\n{\"value\":[[[[]]]],\"key\":\"x\"}\n",
        r#"{"name":"orders:1","retention":{"maxMessages":5,"maxBytes":100,"maxAgeSeconds":60},"presence":true}"#,
        r#"{"topics":["a"],"match":["b:*"],"lifeSeconds":60}"#,
        r#"{"token":"t"}"#,
    ];
    Target { allocated_max: (64 * 1024, 256), ..Target::new("bodies", corpus(&texts)) }.run(|input| {
        let _ = (publish::message(input, None), publish::batch(input, 64 * 1024));
        read_body::<NewTopic>(input);
        read_body::<NewTicket>(input);
        read_body::<NewRevocation>(input);
    });
}

#[test]
fn fuzz_heads() {
    let texts = [
        "GET /topics?limit=5 HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n",
        "POST /topics/t HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{\"x",
        "POST /topics/t HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{\"x\r\n0\r\n\r\n",
        "GET /livez HTTP/1.0\r\nauthorization: Bearer a.b.c\r\ncookie: __Secure-repl_token=x\r\norigin: null\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0\0\0\u{4}\u{1}\u{5}\0\0\0\u{1}\u{2}\u{4}\u{6}\u{1}",
    ];
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let server = runtime.block_on(Server::with(crate::http::Limits::default()));
    Target { cost: 100, ..Target::new("requests over a socket", corpus(&texts)) }.run(|input| {
        let answer = runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            // Ports would run out.
            socket.set_zero_linger().expect("a reset at the end");
            let mut socket = socket.connect(server.address).await.expect("a connection");
            let _ = socket.write_all(input).await;
            let _ = socket.shutdown().await;
            let mut answer = Vec::new();
            // A stream has no end.
            let read =
                async { while socket.read_buf(&mut answer).await.is_ok_and(|count| count > 0) && answer.len() < 64 {} };
            timeout(SOON, read).await.expect("an answer, or an end");
            answer
        });
        assert!(!answer.starts_with(b"HTTP/1.1 500"), "{}", answer.escape_ascii());
    });
}

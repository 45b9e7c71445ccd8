//! A subscriber that asks for a stream and then stops reading: a laptop that was closed, a page that hangs.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::patience::within;
use super::sse::{Event, Parser};

/// In bytes. What the network holds for it is soon full.
const RECEIVE_BUFFER: u32 = 4 * 1024;

/// A stream that nobody reads until somebody does.
#[derive(Debug)]
pub(crate) struct Stalled {
    socket: TcpStream,
    parser: Parser,
}

impl Stalled {
    /// Asks for a stream, and reads until it is told that all that is past has been sent.
    pub(crate) async fn open(node: &str, path: &str) -> Self {
        let address: SocketAddr = node.trim_start_matches("http://").parse().expect("a URL of an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(RECEIVE_BUFFER).expect("a size");
        let mut socket = within("a connection", socket.connect(address)).await.expect("a connection");
        // The body of an answer to HTTP/1.0 is not chunked: what follows the head is the stream.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut stalled = Self { socket, parser: Parser::default() };
        stalled.event("repl.ready").await;
        stalled
    }

    /// Reads on, until it has had so many comments in all.
    pub(crate) async fn comments(&mut self, count: usize) {
        let mut buffer = [0; 1024];
        let read = async {
            while self.parser.comments() < count {
                let count = self.socket.read(&mut buffer).await.expect("a connection that lasts");
                assert!(count > 0, "the stream goes on");
                self.parser.feed(&buffer[..count]);
            }
        };
        within("signs of life", read).await;
    }

    /// Reads on, up to the first event of this type. Answers all events up to it; what came with it is lost.
    pub(crate) async fn event(&mut self, kind: &str) -> Vec<Event> {
        let events = self.reads_up_to(&format!("an event of the type {kind}"), |event| event.kind == kind).await;
        assert!(events.last().is_some_and(|event| event.kind == kind), "the stream goes on; {} events", events.len());
        events
    }

    /// Reads on, up to the first event that is such a one, or to where the stream was closed: the broker doesn't wait for
    /// ever. Answers all events up to there; what came with the last one is lost.
    pub(crate) async fn reads_up_to(&mut self, what: &str, is: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        let read = async {
            while let Some(count) = self.socket.read(&mut buffer).await.ok().filter(|count| *count > 0) {
                for event in self.parser.feed(&buffer[..count]) {
                    events.push(event);
                    if events.last().is_some_and(&is) {
                        return;
                    }
                }
            }
        };
        within(what, read).await;
        events
    }
}

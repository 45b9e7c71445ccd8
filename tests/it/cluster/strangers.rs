//! Strangers: they connect, and say nothing, or nothing to the purpose.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::patience::within;

/// Between two attempts of a stranger who was hung up on.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Between two bytes of a head that trickles.
const BYTE_EVERY: Duration = Duration::from_millis(100);

/// So many at a port, each with a connection as often as it gets one. They leave with this handle.
#[derive(Debug)]
pub(crate) struct Strangers {
    _tasks: JoinSet<()>,
}

impl Strangers {
    pub(crate) fn at(address: &str, count: usize) -> Self {
        let address = address.trim_start_matches("http://");
        let tasks = (0..count).map(|_| knock(address.to_owned())).collect();
        Self { _tasks: tasks }
    }
}

/// So many heads of requests that never end, a byte at a time.
#[derive(Debug)]
pub(crate) struct TrickledHeads {
    tasks: JoinSet<()>,
}

impl TrickledHeads {
    /// Waits until each has a connection.
    pub(crate) async fn at(node: &str, count: usize) -> Self {
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let mut socket = TcpStream::connect(node.trim_start_matches("http://")).await.expect("a connection");
            socket.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.expect("sent");
            tasks.spawn(trickle(socket));
        }
        Self { tasks }
    }

    /// Waits until all are hung up on.
    pub(crate) async fn are_gone(mut self) {
        within("the end of all heads that trickle", async { while self.tasks.join_next().await.is_some() {} }).await;
    }
}

async fn trickle(mut socket: TcpStream) {
    while socket.write_all(b"x").await.is_ok() && timeout(BYTE_EVERY, socket.read_u8()).await.is_err() {}
}

async fn knock(address: String) {
    let mut attempts = interval(AGAIN_AFTER);
    loop {
        attempts.tick().await;
        if let Ok(mut socket) = TcpStream::connect(&address).await {
            let _ = socket.read(&mut [0]).await;
        }
    }
}

//! Strangers: they connect, and say nothing.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::interval;

/// Between two attempts of a stranger who was hung up on.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

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

async fn knock(address: String) {
    let mut attempts = interval(AGAIN_AFTER);
    loop {
        attempts.tick().await;
        if let Ok(mut socket) = TcpStream::connect(&address).await {
            let _ = socket.read(&mut [0]).await;
        }
    }
}

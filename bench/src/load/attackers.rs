//! Clients that mean harm: heads of requests that trickle in, and streams that nobody reads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::subscribers::{ensure_descriptors, source};
use super::threads::Threads;

/// Between two bytes of a head.
const BYTE_EVERY: Duration = Duration::from_secs(2);

/// In bytes, of a stream that nobody reads: the least that the kernel allows is what it takes.
const RECEIVE_BUFFER: u32 = 4 * 1024;

/// Connections that are being opened at once.
const OPENING: usize = 64;

/// An attack under way. It ends with this.
#[derive(Debug)]
pub(crate) struct Attackers {
    trickling: Arc<AtomicUsize>,
    /// Held open, and never read.
    _streams: Vec<TcpStream>,
    _tasks: JoinSet<()>,
    _threads: Threads,
}

impl Attackers {
    /// Opens all of it: so many heads, each with a pace of its own, and so many streams of a path. None comes again once it
    /// is hung up on.
    pub(crate) async fn start(server: SocketAddr, heads: usize, streams: usize, path: &str) -> Result<Self> {
        ensure_descriptors(heads + streams)?;
        let (threads, trickling) = (Threads::start("attackers")?, Arc::new(AtomicUsize::new(0)));
        let head = "GET /livez HTTP/1.1\r\nx: ".to_owned();
        let stream = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\n\r\n");
        let streams = open(server, streams, &stream).await?;
        let mut tasks = JoinSet::new();
        for socket in open(server, heads, &head).await? {
            trickling.fetch_add(1, Ordering::Relaxed);
            let trickling = Arc::clone(&trickling);
            let trickle = async move {
                trickle(socket).await;
                trickling.fetch_sub(1, Ordering::Relaxed);
            };
            tasks.spawn_on(trickle, threads.handle());
        }
        Ok(Self { trickling, _streams: streams, _tasks: tasks, _threads: threads })
    }

    /// Heads that go on: their connections were not closed yet.
    pub(crate) fn trickling(&self) -> usize {
        self.trickling.load(Ordering::Relaxed)
    }
}

/// Opens connections, and sends on each how its request begins.
async fn open(server: SocketAddr, count: usize, begin: &str) -> Result<Vec<TcpStream>> {
    let mut openers = JoinSet::new();
    for opener in 0..OPENING.min(count) {
        let begin = begin.to_owned();
        openers.spawn(async move {
            let mut sockets = Vec::new();
            for number in (opener..count).step_by(OPENING) {
                let socket = TcpSocket::new_v4().context("no socket")?;
                socket.set_recv_buffer_size(RECEIVE_BUFFER).context("no small socket")?;
                socket.set_zero_linger()?;
                socket.bind(SocketAddr::new(source(number)?, 0))?;
                let mut socket = socket.connect(server).await.context("an attacker can't connect")?;
                socket.write_all(begin.as_bytes()).await.context("an attacker can't send")?;
                sockets.push(socket);
            }
            anyhow::Ok(sockets)
        });
    }
    let mut sockets = Vec::with_capacity(count);
    while let Some(opened) = openers.join_next().await {
        sockets.extend(opened.context("an opener panicked")??);
    }
    Ok(sockets)
}

/// Sends a byte now and then, until the other side has closed the connection.
async fn trickle(mut socket: TcpStream) {
    // Not all at the same moment: clients know nothing of each other.
    sleep(BYTE_EVERY.mul_f64(fastrand::f64())).await;
    while socket.write_all(b"x").await.is_ok() {
        if timeout(BYTE_EVERY, socket.read_u8()).await.is_ok() {
            return;
        }
    }
}

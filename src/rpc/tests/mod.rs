//! Peers and connections over real sockets, and over pipes where the clock is part of the story.

mod attack;
mod calls;
mod fuzz;
mod handshake;
mod liveness;
mod tls;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use super::server::Caller;
use super::*;
use crate::domain::NodeId;

const CLUSTER: Uuid = Uuid::from_u128(0x1234);
const SECRET: &str = "correct horse battery staple";

/// More than anything here takes; a test that waits as long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// For calls that are to expire on their way: longer than a machine that is busy stands still.
const EXPIRING: Duration = Duration::from_secs(4);

/// Node 1 calls node 2.
fn node(number: u64, secret: Option<&str>) -> Endpoint {
    Endpoint {
        cluster: Some(CLUSTER),
        node: Some(NodeId::new(number)),
        secret: secret.map(|secret| Secret::new(secret.as_bytes()).expect("long enough")),
        ..Endpoint::default()
    }
}

fn target(address: &str) -> Target {
    Target { address: address.to_owned(), node: Some(NodeId::new(2)), lane: Lane::Append }
}

/// Node 1's view of what listens at `address`.
fn peer(address: &str, secret: Option<&str>) -> Peer {
    Peer::new(node(1, secret), target(address))
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("within a minute")
}

type Accepted = Result<Connection, HandshakeError>;

/// A listener on a port of its own that hands out what it accepts.
async fn listen(local: Endpoint) -> (String, mpsc::UnboundedReceiver<Accepted>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (local, sender) = (local.clone(), sender.clone());
            // Node 1 is known, the others are new.
            let address = |node: NodeId| (node.get() == 1).then(|| "127.0.0.1:7376".to_owned());
            tokio::spawn(async move { sender.send(Connection::accept(&local, stream, address).await) });
        }
    });
    (address, receiver)
}

async fn accepted(connections: &mut mpsc::UnboundedReceiver<Accepted>) -> Connection {
    soon(connections.recv()).await.expect("listening").expect("admitted")
}

async fn request(connection: &mut Connection) -> Request {
    soon(connection.next_request()).await.expect("a request")
}

/// A listener that answers every request with its own payload.
async fn echo(local: Endpoint) -> String {
    let (address, mut connections) = listen(local).await;
    tokio::spawn(async move {
        while let Some(connection) = connections.recv().await {
            let Ok(mut connection) = connection else { continue };
            tokio::spawn(async move {
                while let Some(request) = connection.next_request().await {
                    request.replier.answer(request.payload).expect("as small as the request");
                }
            });
        }
    });
    address
}

impl Caller {
    /// One on a pipe.
    fn of(hello: PeerHello) -> Self {
        Self { hello, address: ([127, 0, 0, 1], 1).into(), certificate: None }
    }
}

fn payload(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

//! The usual code in Rust: axum's `Sse` over a broadcast channel of tokio, with TCP_NODELAY. A process of its own, of this
//! same program.

use std::convert::Infallible;
use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

use super::Started;
use super::server::{Server, free_address};
use crate::wire::http::{Body, Inlet};
use crate::wire::{self, Live, Outlet};

/// What a subscriber may fall behind. More than is ever in flight.
const CAPACITY: usize = 4096;

type Sender = broadcast::Sender<String>;

pub(super) async fn start(dir: &Path) -> Result<Started> {
    let address = free_address()?;
    let mut command = Command::new(env::current_exe().context("can't find this program")?);
    command.args(["serve-axum", &address.to_string()]);
    let mut server = Server::start(command, &dir.join("log"))?;
    server.wait_for_port(address).await?;
    let (servers, path) = (vec![address], "/bench".to_owned());
    Ok(Started {
        version: "0.8".to_owned(),
        inlet: wire::Inlet::Http(Inlet {
            servers: servers.clone(),
            path: path.clone(),
            headers: String::new(),
            body: Body::Bare,
        }),
        outlet: Some(Outlet::Sse { servers, path, live: Live::Answer }),
        cluster: None,
        servers: vec![server],
    })
}

/// Serves until it is killed.
pub(crate) async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("can't listen on {address}"))?;
    let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
    let (sender, _) = broadcast::channel(CAPACITY);
    let router = Router::new().route("/bench", post(publish)).route("/bench", get(subscribe)).with_state(sender);
    axum::serve(listener, router).await.context("can't serve")
}

async fn publish(State(sender): State<Sender>, message: String) -> StatusCode {
    // Nobody may be there to read it.
    let _ = sender.send(message);
    StatusCode::CREATED
}

async fn subscribe(State(sender): State<Sender>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let messages = BroadcastStream::new(sender.subscribe()).filter_map(Result::ok);
    Sse::new(messages.map(|message| Ok(Event::default().data(message)))).keep_alive(KeepAlive::default())
}

//! A way to a node that tells other things than the node does: what a broker with a bug would do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::Response;
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::client::Client;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// One message of a stream is not sent.
    DropsDelivery,
    /// A stream resumes before the cursor that it is asked for.
    ReplaysResume,
    /// A repetition is taken for something new.
    IgnoresKeys,
}

/// The message that is dropped, counted over all streams.
const DROPPED: usize = 10;

/// Messages by which a stream resumes too early.
const REPLAYED: u64 = 3;

/// An address in front of a node. It is gone with this handle.
#[derive(Debug)]
pub(crate) struct Liar {
    pub(crate) url: String,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Way {
    node: String,
    lie: Lie,
    client: Client,
    messages: Arc<AtomicUsize>,
}

impl Liar {
    pub(crate) async fn before(node: &str, lie: Lie, client: &Client) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let way = Way { node: node.to_owned(), lie, client: client.clone(), messages: Arc::default() };
        let router = Router::new().fallback(pass).with_state(way);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, serving }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(State(way): State<Way>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    head.headers.remove("host");
    match way.lie {
        Lie::IgnoresKeys => drop(head.headers.remove("idempotency-key")),
        Lie::ReplaysResume => {
            if let Some(cursor) = head.headers.get_mut("last-event-id") {
                *cursor = earlier(cursor);
            }
        }
        Lie::DropsDelivery => {}
    }
    let body = to_bytes(body, usize::MAX).await.expect("a body");
    let request = way.client.request(head.method, &format!("{}{}", way.node, head.uri));
    let answer = request.headers(head.headers).body(body).send().await;
    let Ok(answer) = answer else { return Response::builder().status(504).body(Body::empty()).expect("an answer") };
    let mut response = Response::builder().status(answer.status());
    let kind = answer.headers().get("content-type").cloned();
    let is_stream = kind.as_ref().is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if let Some(kind) = kind {
        response = response.header("content-type", kind);
    }
    let body = if is_stream && way.lie == Lie::DropsDelivery {
        let mut rest = Vec::new();
        Body::from_stream(answer.bytes_stream().map(move |piece| piece.map(|piece| way.retell(&mut rest, &piece))))
    } else {
        Body::from_stream(answer.bytes_stream())
    };
    response.body(body).expect("an answer")
}

impl Way {
    /// Passes on the events that are whole by now, but for the one that is dropped. `rest` is what is not.
    fn retell(&self, rest: &mut Vec<u8>, piece: &Bytes) -> Bytes {
        rest.extend_from_slice(piece);
        let mut told = Vec::new();
        while let Some(end) = rest.windows(2).position(|window| window == b"\n\n") {
            let event: Vec<u8> = rest.drain(..end + 2).collect();
            // Whatever the broker has to say itself has a name.
            let is_message = event.starts_with(b"id:");
            if !is_message || self.messages.fetch_add(1, Ordering::Relaxed) + 1 != DROPPED {
                told.extend(event);
            }
        }
        told.into()
    }
}

fn earlier(cursor: &HeaderValue) -> HeaderValue {
    let (epoch, position) = cursor.to_str().expect("ASCII").rsplit_once('-').expect("a cursor");
    let position: u64 = position.parse().expect("a position");
    format!("{epoch}-{}", position.saturating_sub(REPLAYED)).parse().expect("a header")
}

//! A node's admin socket, as its client.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// For an answer. A node gives up an order earlier, and says so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// For a node to save its state and copy it, of some gigabytes perhaps.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, Error)]
pub(super) enum AdminError {
    /// The node doesn't run, or is another one's.
    #[error(
        "no node answers at {}: does it run here, under this user, and is this its directory (--data-dir)?", path.display()
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("the node took the request, and gave no answer; look at the cluster before you try again")]
    Unanswered(#[source] hyper::Error),
    /// It took too long.
    #[error("no answer within {} s; look at the cluster before you try again", .0.as_secs())]
    Timeout(Duration),
    /// The node knows why.
    #[error("{detail} ({code})")]
    Problem {
        /// What to do.
        detail: String,
        /// Stable.
        code: String,
    },
}

/// Speaks to one node.
#[derive(Debug)]
pub(super) struct Admin {
    path: PathBuf,
    runtime: Runtime,
}

/// A success.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: String,
    /// Null if there is no body.
    pub(super) json: Value,
}

impl Admin {
    /// Does not connect yet.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        Ok(Self { path, runtime: Builder::new_current_thread().enable_all().build()? })
    }

    pub(super) fn get(&self, route: &str) -> Result<Answer, AdminError> {
        self.send(Method::GET, route, Bytes::new())
    }

    pub(super) fn post(&self, route: &str, body: &Value) -> Result<Answer, AdminError> {
        self.send(Method::POST, route, body.to_string().into())
    }

    pub(super) fn delete(&self, route: &str) -> Result<Answer, AdminError> {
        self.send(Method::DELETE, route, Bytes::new())
    }

    /// Writes out a body as it comes, however long it is.
    ///
    /// # Errors
    /// There is none, it broke off, or it can't be written.
    pub(super) fn download(&self, route: &str, out: &mut impl Write) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let asked = timeout(EXPORT_TIMEOUT, self.ask(Method::GET, route, Bytes::new())).await;
            let response = asked.map_err(|_| AdminError::Timeout(EXPORT_TIMEOUT))??;
            if !response.status().is_success() {
                return read(response).await.map(drop).map_err(Into::into);
            }
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                if let Ok(piece) = frame.map_err(AdminError::Unanswered)?.into_data() {
                    out.write_all(&piece)?;
                }
            }
            Ok(())
        })
    }

    fn send(&self, method: Method, route: &str, body: Bytes) -> Result<Answer, AdminError> {
        let answer = async {
            let answer = async { read(self.ask(method, route, body).await?).await };
            timeout(ANSWER_TIMEOUT, answer).await.unwrap_or(Err(AdminError::Timeout(ANSWER_TIMEOUT)))
        };
        self.runtime.block_on(answer)
    }

    async fn ask(&self, method: Method, route: &str, body: Bytes) -> Result<Response<Incoming>, AdminError> {
        let unreachable = |source| AdminError::Unreachable { path: self.path.clone(), source };
        let stream = UnixStream::connect(&self.path).await.map_err(unreachable)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(AdminError::Unanswered)?;
        // Ends with the runtime at the latest.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(route).header("host", "localhost");
        let request = request.header("content-type", "application/json").body(Full::new(body));
        let request = request.expect("routes are made of numbers and fixed text");
        sender.send_request(request).await.map_err(AdminError::Unanswered)
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, AdminError> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(AdminError::Unanswered)?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    if head.status.is_success() {
        return Ok(Answer { text, json });
    }
    let text = |name: &str| member(&json, name).as_str().unwrap_or_default().to_owned();
    Err(AdminError::Problem { detail: text("detail"), code: text("code") })
}

/// A member of a JSON object; null if there is none.
pub(super) fn member<'a>(json: &'a Value, name: &str) -> &'a Value {
    json.get(name).unwrap_or(&Value::Null)
}

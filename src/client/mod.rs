//! A client of the broker, over the same HTTP that everybody else uses: what `repl pub`, `repl sub` and `repl topic`
//! speak to a cluster with.
//!
//! It knows several servers, and goes to the next one when one doesn't serve. What may be asked twice is repeated until a
//! deadline; a [`Subscription`] goes on, without a hole and without a repetition, for as long as somebody reads it.

mod certificates;
mod error;
mod feed;
mod search;
mod server;
mod sse;
mod stream;
mod subscription;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use reqwest::redirect::Policy;
use reqwest::{Certificate, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use reqwest::{Method, header};

pub use self::certificates::Certificates;
pub use self::error::ClientError;
pub use self::feed::{Feed, Told};
use self::search::Rounds;
pub use self::server::{Server, ServerError};
pub use self::subscription::{Event, Message, Subscription};
pub use crate::tls::TlsFault;

/// Of an answer. The longest are those to batches: 4 MiB, and what belongs to each message of them.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// For a connection to a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// For the answer of one server, or the beginning of it. A node gives up a write after five seconds, and says so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// For a request, unless another one was said.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a request may be repeated before somebody is told.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// How to reach a cluster, and who asks.
#[derive(Clone, Debug)]
pub struct Options {
    /// At least one.
    pub servers: Vec<Server>,
    /// Sent with every request.
    pub token: Option<String>,
    /// Certificates in PEM, of authorities that are trusted besides the system's.
    pub authorities: Vec<u8>,
    /// How long a request is repeated, 30 s unless said, and a server of a stream looked for: unless said, each is asked
    /// once at the beginning, and when one is lost they are asked without end.
    pub patience: Option<Duration>,
}

/// Speaks to a cluster.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    token: Option<String>,
    patience: Option<Duration>,
    tell: fn(&ClientError),
    /// The first is asked next.
    servers: Mutex<Vec<Server>>,
}

/// What a request does if it is done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twice {
    /// What it does once.
    Same,
    /// Perhaps something else: it is only repeated if it was certainly not done.
    Different,
}

impl Client {
    /// Does not connect yet.
    ///
    /// # Errors
    /// [`ClientError::Setup`]: the certificates can't be used.
    pub fn new(options: Options) -> Result<Self, ClientError> {
        let Options { servers, token, authorities, patience } = options;
        let authorities = Certificate::from_pem_bundle(&authorities).map_err(ClientError::Setup)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // What is redirected may be asked as a GET, and a success of that would be taken for one of what was asked.
            .redirect(Policy::none())
            .tls_certs_merge(authorities)
            .tls_info(true);
        let http = http.build().map_err(ClientError::Setup)?;
        Ok(Self { http, token, patience, tell: |_| (), servers: Mutex::new(servers) })
    }

    /// Tells, once for each request that is repeated for a second, why it is.
    #[must_use]
    pub fn telling(self, tell: fn(&ClientError)) -> Self {
        Self { tell, ..self }
    }

    /// Asks, and asks again where that may help, within the time there is. `complete` adds to the request what it needs.
    /// Null if the answer has no body.
    ///
    /// # Errors
    /// What the server that answered last said, or that none said anything.
    pub async fn send(
        &self,
        method: Method,
        route: &str,
        twice: Twice,
        complete: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Value, ClientError> {
        let patience = self.patience.unwrap_or(PATIENCE);
        let (begun, mut told) = (Instant::now(), false);
        let deadline = begun + patience;
        let mut rounds = Rounds::default();
        let mut last = ClientError::Timeout(patience);
        loop {
            let asked = async { read(self.server(), self.ask(method.clone(), route, &complete).await?).await };
            last = match timeout_at(deadline, in_time(asked)).await {
                Ok(Err(error)) if error.may_pass(twice) => error,
                Ok(answer) => return answer,
                Err(_) => return Err(last),
            };
            let pause = rounds.pause(self.next_server()).max(last.retry_after());
            if Instant::now() + pause >= deadline {
                return Err(last);
            }
            if !told && begun.elapsed() >= TELL_AFTER {
                told = true;
                (self.tell)(&last);
            }
            sleep(pause).await;
        }
    }

    /// Asks the present server alone, once.
    ///
    /// # Errors
    /// What it said, or that it said nothing in time.
    pub async fn get_once(&self, route: &str) -> Result<Value, ClientError> {
        self.once(async { read(self.server(), self.ask(Method::GET, route, |request| request).await?).await }).await
    }

    /// What comes of asking once, in time.
    async fn once<T>(&self, asked: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        let patience = self.patience.unwrap_or(PATIENCE);
        timeout(patience, in_time(asked)).await.unwrap_or(Err(ClientError::Timeout(patience)))
    }

    /// Asks the present server, once.
    async fn ask(
        &self,
        method: Method,
        route: &str,
        complete: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, ClientError> {
        let server = self.server();
        let mut request = self.http.request(method, server.url(route));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        complete(request).send().await.map_err(|source| ClientError::Unanswered { server, source })
    }

    /// The server that is asked next.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn server(&self) -> Server {
        self.servers().first().expect("at least one").clone()
    }

    /// Adds servers that others have named, to be asked when those fail. Not where a token is shown: it was given to those
    /// that are known.
    pub fn learn(&self, others: impl IntoIterator<Item = Server>) {
        let mut servers = self.servers();
        for server in others.into_iter().filter(|_| self.token.is_none()) {
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
    }

    /// Goes on to the next server. Answers how many there are.
    fn next_server(&self) -> usize {
        let mut servers = self.servers();
        servers.rotate_left(1);
        servers.len()
    }

    /// Goes to this server, whether it was known or not.
    fn go_to(&self, server: Server) {
        let mut servers = self.servers();
        servers.retain(|known| *known != server);
        servers.insert(0, server);
    }

    fn servers(&self) -> MutexGuard<'_, Vec<Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server may take a connection and then stand still.
async fn in_time<T>(asked: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    timeout(ANSWER_TIMEOUT, asked).await.unwrap_or(Err(ClientError::Timeout(ANSWER_TIMEOUT)))
}

async fn read(server: Server, response: Response) -> Result<Value, ClientError> {
    let problem = ClientError::of(&response);
    let is_empty = response.status() == StatusCode::NO_CONTENT;
    let body = read_body(&server, response).await?;
    match (problem, serde_json::from_slice(&body)) {
        (Some(problem), json) => Err(problem.described_by(&json.unwrap_or_default())),
        (None, Ok(json)) => Ok(json),
        (None, Err(_)) if is_empty => Ok(Value::Null),
        (None, Err(_)) => Err(ClientError::Garbled(server)),
    }
}

async fn read_body(server: &Server, mut response: Response) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    let unanswered = |source| ClientError::Unanswered { server: server.clone(), source };
    while let Some(bytes) = response.chunk().await.map_err(unanswered)? {
        body.extend_from_slice(&bytes);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(ClientError::Garbled(server.clone()));
        }
    }
    Ok(body)
}

//! A connection over which events come.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder, Response};
use tokio::time::timeout;

use super::sse::{Parser, SseEvent};
use super::{Client, ClientError, Server, in_time, read};

/// A stream of one server.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) server: Server,
    response: Response,
    parser: Parser,
}

impl Stream {
    /// Asks the present server for one.
    ///
    /// # Errors
    /// It refuses, or says nothing.
    pub(super) async fn open(
        client: &Client,
        route: &str,
        complete: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Self, ClientError> {
        let server = client.server();
        let asked = client.ask(Method::GET, route, |request| complete(request.header(ACCEPT, "text/event-stream")));
        let response = in_time(asked).await?;
        if response.status().is_success() {
            return Ok(Self { server, response, parser: Parser::default() });
        }
        match in_time(read(server, response)).await {
            Ok(_) => unreachable!("the status is no success"),
            Err(error) => Err(error),
        }
    }

    /// Waits for bytes, and hands out each event that is complete with them, with the stream's last id. If the future is
    /// dropped nothing is lost.
    ///
    /// # Errors
    /// The connection broke; without a reason, it has ended in order or nothing came for so long.
    pub(super) async fn next(
        &mut self,
        silence_max: Duration,
        each: impl FnMut(SseEvent, Option<&str>),
    ) -> Result<(), Option<ClientError>> {
        match timeout(silence_max, self.response.chunk()).await {
            Ok(Ok(Some(bytes))) => {
                let whole = self.parser.feed(&bytes, each);
                if whole { Ok(()) } else { Err(Some(ClientError::Garbled(self.server.clone()))) }
            }
            Ok(Err(source)) => Err(Some(ClientError::Unanswered { server: self.server.clone(), source })),
            Ok(Ok(None)) | Err(_) => Err(None),
        }
    }

    /// When to come back after the end, if the stream has said so.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }
}

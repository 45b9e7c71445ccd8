//! Why a request was not done.

use std::time::Duration;

use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use thiserror::Error;

use super::{Server, TlsFault, Twice};

/// Why a request was not done, or a stream ended.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No connection can be made as it was asked for.
    #[error("connections can't be set up")]
    Setup(#[source] reqwest::Error),
    /// There is no connection, or it broke.
    #[error("no answer from {server}")]
    Unanswered {
        /// Who was asked.
        server: Server,
        /// Why there is none.
        #[source]
        source: reqwest::Error,
    },
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The server says why not.
    #[error("{detail} ({code})")]
    Problem {
        /// The status of HTTP.
        status: StatusCode,
        /// The problem's stable name.
        code: String,
        /// What is wrong, and what to do.
        detail: String,
        /// In which line of the body, from 1 on.
        line: Option<usize>,
        /// When to come back.
        retry_after: Duration,
    },
    /// The stream may not go on.
    #[error("the stream was ended: the token has {0}")]
    Ended(String),
    /// What comes is nothing that the broker sends.
    #[error("{0} sends what is no answer of the broker")]
    Garbled(Server),
}

impl ClientError {
    /// What a response says by its head alone. `None` if it is a success.
    pub(super) fn of(response: &Response) -> Option<Self> {
        let status = response.status();
        if status.is_success() {
            return None;
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let seconds = header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
        let detail = match header(LOCATION) {
            Some(place) => format!("The server redirects to {place:?}. Name the server that is meant."),
            None => "The server refuses, and does not say why.".to_owned(),
        };
        Some(Self::Problem {
            status,
            code: status.as_str().to_owned(),
            detail,
            line: None,
            retry_after: Duration::from_secs(seconds.unwrap_or(0)),
        })
    }

    /// The same, in the words of the body.
    pub(super) fn described_by(self, body: &Value) -> Self {
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let line = body.get("line").and_then(Value::as_u64).and_then(|line| usize::try_from(line).ok());
        // Who knows where the line came from says so.
        let place = line.map(|line| format!("Line {line}: ")).unwrap_or_default();
        let what = || Some(format!("{}. {}", text("title")?, text("detail")?.trim_start_matches(&place)));
        match self {
            Self::Problem { status, code, detail, line: none, retry_after } => Self::Problem {
                status,
                code: text("code").unwrap_or(code),
                detail: what().unwrap_or(detail),
                line: line.or(none),
                retry_after,
            },
            error => error,
        }
    }

    /// Whether the same request may be sent again, and fare better.
    pub(super) fn may_pass(&self, twice: Twice) -> bool {
        match self {
            Self::Unanswered { source, .. } => source.is_connect() || twice == Twice::Same,
            Self::Timeout(_) => twice == Twice::Same,
            // 503: certainly not done. 504: perhaps.
            Self::Problem { status, .. } => match *status {
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => true,
                status => twice == Twice::Same && (status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT),
            },
            Self::Setup(_) | Self::Ended(_) | Self::Garbled(_) => false,
        }
    }

    /// Which line of the body the server can't use, from 1 on.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        if let Self::Problem { line, .. } = self { *line } else { None }
    }

    /// Why the server is not spoken to over TLS, if it is that.
    #[must_use]
    pub fn tls_fault(&self) -> Option<TlsFault> {
        if let Self::Unanswered { source, .. } = self { TlsFault::of(source) } else { None }
    }

    /// How long the server wants to be left alone.
    pub(super) fn retry_after(&self) -> Duration {
        if let Self::Problem { retry_after, .. } = self { *retry_after } else { Duration::ZERO }
    }
}

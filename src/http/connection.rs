//! One client's connection, HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Method, Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::activity::{Activity, AnswerBody};
use super::metrics::Closed;
use super::network::Remote;
use super::request_body::RequestBody;
use super::serve::Server;
use super::socket::Socket;
use super::stream::Unclaimed;
use super::stream_writer::StreamWriter;

/// Request line and headers together, 431 beyond. Browsers and proxies stay below 8 KiB.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Requests at once on one HTTP/2 connection. Streams count, and a page may open many.
const HTTP2_STREAMS_MAX: u32 = 256;

/// What one HTTP/2 stream may have waiting in memory: one sealed batch of frames.
const HTTP2_SEND_BYTES_MAX: usize = 64 * 1024;

/// How often an HTTP/2 client is asked whether it is there, and how long its answer may take.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// Serves a connection, of which the first bytes were read, until its client asks for a stream, which has the rest of the
/// connection for itself; or until the client is done, it breaks a limit, or the server stops. After `stop` the requests in
/// flight are still answered; at `abort` nothing more is.
///
/// # Errors
/// The connection was closed.
pub(super) async fn run<S>(
    socket: S,
    first_head: Vec<u8>,
    remote: Remote,
    server: &Server,
) -> Result<StreamWriter<S>, Closed>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Server { front, limits, tasks, stop, abort, .. } = server;
    let activity = Arc::new(Activity::new(limits));
    let (socket, lender) = Socket::new(socket, first_head, Arc::clone(&activity), limits.write_stall_timeout);
    let service = service_fn(|request: Request<Incoming>| {
        let in_flight = activity.begin(request.version());
        let may_close = request.version() < Version::HTTP_2;
        let may_be_claimed = request.version() == Version::HTTP_11 && request.method() == Method::GET;
        let (mut head, body) = request.into_parts();
        // Of the others nobody is asked where they come from: an insertion costs them an allocation or two.
        if remote.network.is_some() || head.method == Method::GET {
            head.extensions.insert(remote);
        }
        let (body, read) = RequestBody::new(body);
        let front = front.clone();
        async move {
            let mut answer = front.answer(Request::from_parts(head, Body::new(body))).await;
            let is_read = read.load(Ordering::Relaxed);
            if may_close && !is_read {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let unclaimed = answer.extensions().get().filter(|_| may_be_claimed && is_read && in_flight.is_flushed());
            if let Some(events) = unclaimed.and_then(Unclaimed::claim) {
                in_flight.take_over(events, std::mem::take(answer.headers_mut()));
                // Whoever polls the connection ends it.
                return pending().await;
            }
            Ok::<_, Infallible>(answer.map(|body| AnswerBody::new(body, in_flight)))
        }
    });
    let builder = builder(tasks.clone());
    let mut connection = Box::pin(builder.serve_connection(TokioIo::new(socket), service));
    let mut timer = pin!(sleep_until(Instant::now() + limits.head_timeout));
    let mut stopping = pin!(stop.cancelled());
    let mut aborting = pin!(abort.cancelled());
    let mut stopped = false;

    let done = poll_fn(|cx| {
        if !stopped && stopping.as_mut().poll(cx).is_ready() {
            stopped = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            let mut done = if stopped { Closed::Stopped } else { Closed::Client };
            if let Err(error) = result {
                debug!(error = error.as_ref() as &dyn std::error::Error, "a connection broke");
                if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
                    done = Closed::Head;
                }
            }
            return Poll::Ready(Err(if activity.is_stalled() { Closed::Stalled } else { done }));
        }
        if let Some(taken_over) = activity.taken_over() {
            return Poll::Ready(Ok(taken_over));
        }
        if aborting.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Closed::Stopped));
        }
        // What the connection did above may have changed when it is due. A timer that is early only looks again.
        loop {
            let due = ready!(activity.poll_due(cx));
            if due < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(Err(Closed::Idle));
            }
        }
    })
    .await;
    drop(connection);
    let (events, headers) = done?;
    let socket = lender.take_back().ok_or(Closed::Client)?;
    Ok(StreamWriter { socket, events, headers, stall_timeout: limits.write_stall_timeout, abort: abort.clone() })
}

/// Tasks of HTTP/2 streams are the server's, so that stopping waits for them.
#[derive(Clone, Debug)]
struct Tasks(TaskTracker);

impl<F: Future<Output: Send + 'static> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

fn builder(tasks: TaskTracker) -> Builder<Tasks> {
    let mut builder = Builder::new(Tasks(tasks));
    // hyper would answer a head that is too large, or of more than 100 headers, with 431.
    // Who has nothing more to send may still wait for the answer.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX).half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).expect("a small constant"))
        .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    builder
}

//! What every request passes on its way to a route, and every answer on its way back.
//!
//! These are plain calls around one router, and not layers of it: the router would put each layer around each of its
//! routes, in a box, and make one more for every request. That was a quarter of what a publish costs.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::routing::future::RouteFuture;
use futures_util::FutureExt;
use futures_util::future::Either;
use tower::{Layer, Service, ServiceExt};
use tower_http::cors::Cors;

use super::{App, Code, Problem, TRACEPARENT, console, manual, origin};
use crate::domain::TraceContext;

/// The API as a service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    app: Arc<App>,
    routes: Cors<Admitted>,
}

impl Api {
    /// Every route, the console and the manual, served with what is in `app`.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self::with_routes(super::routes().into_iter().chain(console::routes()).chain(manual::routes()), app)
    }

    pub(super) fn with_routes(
        routes: impl IntoIterator<Item = (&'static str, MethodRouter<Arc<App>>)>,
        app: App,
    ) -> Self {
        let app = Arc::new(app);
        let routes = routes
            .into_iter()
            .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
            .fallback(async || Problem::new(Code::RouteNotFound, "See /openapi.json for the routes of this API."))
            .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed, "See the Allow header."))
            .with_state(Arc::clone(&app));
        let routes = Admitted { app: Arc::clone(&app), routes };
        Self { routes: origin::cors(&app.options).layer(routes), app }
    }

    /// What requests are served with.
    pub(super) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Answers a request: counted, timed, traced, and with a problem if there is nothing better.
    pub async fn answer(&self, request: Request) -> Response {
        let counted = self.app.metrics.request(&request);
        let (method, route) = (counted.method(), counted.route());
        let mut span = self.app.node.tracer().request(caller(request.headers()), || format!("{method} {route}"));
        let answer = AssertUnwindSafe(self.routes.clone().oneshot(request)).catch_unwind();
        let answer = span.scope(answer.map(|answer| answer.unwrap_or_else(panicked).into_response())).await;
        counted.answered(&answer);
        span.note("http.request.method", method);
        span.note("http.route", route);
        span.note("http.response.status_code", u64::from(answer.status().as_u16()));
        if answer.status().is_server_error() {
            span.fail();
        }
        answer
    }
}

/// What the caller says that the request is part of. Whoever says two things says nothing.
fn caller(headers: &HeaderMap) -> Option<TraceContext> {
    let mut said = headers.get_all(TRACEPARENT).into_iter();
    let caller = TraceContext::parse(said.next()?.to_str().ok()?);
    caller.filter(|_| said.next().is_none())
}

/// A handler panicked. The panic hook has logged where and why.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Result<Response, Infallible> {
    Ok(Problem::failed().into_response())
}

/// The routes, for requests to a host that this node serves.
#[derive(Clone, Debug)]
struct Admitted {
    app: Arc<App>,
    routes: Router,
}

impl Service<Request> for Admitted {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<RouteFuture<Infallible>, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match origin::check_host(&self.app.options, &request) {
            Ok(()) => Either::Left(self.routes.call(request)),
            Err(problem) => Either::Right(ready(Ok(problem.into_response()))),
        }
    }
}

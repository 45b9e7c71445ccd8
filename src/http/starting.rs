//! What is answered before the node has started: it lives, and everything else has to wait.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower::ServiceExt;

use super::{Code, Options, Problem, health, origin, stream};

/// A service that is complete once `started` holds the [`super::router`]. Until then streams are refused softly, since
/// a native `EventSource` gives up for good on anything else, and `/livez` tells that a restart would not help.
pub fn front(options: &Options, started: Arc<OnceLock<Router>>) -> Router {
    let starting = Router::new()
        .route("/livez", get(health::live))
        .route("/sse", get(stream::refuse))
        .route("/topics/{topic}/sse", get(stream::refuse))
        .fallback(async || {
            Problem::new(Code::NotReady, "The node is starting. Try again in a moment, or another node.")
        })
        .layer(origin::cors(&options.cors_origins));
    Router::new().fallback(move |request: Request| {
        let router = started.get().unwrap_or(&starting).clone();
        async move { answer(router, request).await }
    })
}

async fn answer(router: Router, request: Request) -> Response {
    router.oneshot(request).await.into_response()
}

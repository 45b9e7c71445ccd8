//! What is answered before the node has started: it lives, and everything else has to wait.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower::ServiceExt;

use super::{Api, Code, Options, Problem, health, origin, stream};

/// What the listener hands requests to: the API, once there is one. Until then streams are refused softly, since a native
/// `EventSource` gives up for good on anything else, and `/livez` tells that a restart would not help. Clones share it.
#[derive(Clone, Debug)]
pub struct Front {
    starting: Router,
    api: Arc<OnceLock<Api>>,
}

impl Front {
    /// Without an API.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let starting = Router::new()
            .route("/livez", get(health::live))
            .route("/sse", get(stream::refuse))
            .route("/topics/{topic}/sse", get(stream::refuse))
            .fallback(async || {
                Problem::new(Code::NotReady, "The node is starting. Try again in a moment, or another node.")
            })
            .layer(origin::cors(options));
        Self { starting, api: Arc::default() }
    }

    /// From now on the API answers. Done once.
    pub fn open(&self, api: Api) {
        let _ = self.api.set(api);
    }

    pub(super) async fn answer(&self, request: Request) -> Response {
        match self.api.get() {
            Some(api) => api.answer(request).await,
            None => self.starting.clone().oneshot(request).await.into_response(),
        }
    }
}

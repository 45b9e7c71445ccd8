//! The console: a page that shows the cluster, its topics and its load, and what the page is fed with.
//!
//! Its files are those of the folder `console/`, embedded as they are: there is no build step, and nothing comes from
//! elsewhere. They hold no secret, so everybody may have them; what they show comes from the API and from [`feed`], with the
//! rights of whoever looks. None of it is part of the API: page and feed belong to one version.

mod feed;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use self::feed::Feed;
use super::access::{Caller, Operator};
use super::{App, Code, Origin, Problem};

const HTML: &str = include_str!("../../../console/index.html");

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, media type and text of a file that the page loads.
type File = (&'static str, &'static str, &'static str);

const FILES: [File; 16] = [
    ("api.js", JAVASCRIPT, include_str!("../../../console/api.js")),
    ("chart.js", JAVASCRIPT, include_str!("../../../console/chart.js")),
    ("cluster.js", JAVASCRIPT, include_str!("../../../console/cluster.js")),
    ("console.css", CSS, include_str!("../../../console/console.css")),
    ("console.js", JAVASCRIPT, include_str!("../../../console/console.js")),
    ("dom.js", JAVASCRIPT, include_str!("../../../console/dom.js")),
    ("feed.js", JAVASCRIPT, include_str!("../../../console/feed.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../../console/icon.svg")),
    ("json.js", JAVASCRIPT, include_str!("../../../console/json.js")),
    ("load.js", JAVASCRIPT, include_str!("../../../console/load.js")),
    ("pages.js", JAVASCRIPT, include_str!("../../../console/pages.js")),
    ("series.js", JAVASCRIPT, include_str!("../../../console/series.js")),
    ("streams.js", JAVASCRIPT, include_str!("../../../console/streams.js")),
    ("tail.js", JAVASCRIPT, include_str!("../../../console/tail.js")),
    ("topic.js", JAVASCRIPT, include_str!("../../../console/topic.js")),
    ("topics.js", JAVASCRIPT, include_str!("../../../console/topics.js")),
];

/// Of every file. Browsers ask again each time, since files change together, with the program.
pub(super) const HEADERS: [(HeaderName, &str); 4] = [
    (CACHE_CONTROL, "no-cache"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Where everything is.
pub(super) const PAGE: &str = "/console";
pub(super) const FEED: &str = "/console/feed";
pub(super) const FILE: &str = "/console/{file}";

/// The routes of the console.
pub(super) fn routes() -> [(&'static str, MethodRouter<Arc<App>>); 4] {
    let feed = Feed::new();
    let open = async move |State(app): State<Arc<App>>, caller: Caller, _: Operator| feed.clone().open(app, &caller);
    [(PAGE, get(page)), ("/console/", get(page)), (FEED, get(open)), (FILE, get(file))]
}

async fn page(State(app): State<Arc<App>>) -> Response {
    // Where tokens are asked for, a page of anybody may not tell where the other nodes are; and a token stays with the node
    // that it was given to.
    let is_open = app.options.auth.is_none();
    let members = is_open.then(|| app.node.cluster().nodes.into_iter().map(|node| node.client_url));
    let policy = (CONTENT_SECURITY_POLICY, policy(members.into_iter().flatten()));
    (HEADERS, [policy], [(CONTENT_TYPE, "text/html; charset=utf-8")], HTML).into_response()
}

async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let (_, kind, text) = FILES
        .iter()
        .find(|(file, ..)| *file == name)
        .ok_or_else(|| Problem::new(Code::RouteNotFound, "The console has no such file."))?;
    Ok((HEADERS, [(CONTENT_TYPE, *kind)], *text).into_response())
}

/// What the page may do: load its own files, and ask this node and, should it die, the other members. Nobody may frame it,
/// and text never becomes code or markup in it.
fn policy(members: impl Iterator<Item = String>) -> HeaderValue {
    let mut policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'; \
         connect-src 'self'"
        .to_owned();
    for member in members.filter(|member| is_source(member)) {
        policy.push(' ');
        policy.push_str(&member);
    }
    HeaderValue::from_str(&policy).expect("ASCII that is visible")
}

/// Whether a URL can stand in a policy and mean itself, and no more.
fn is_source(url: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/.-_".contains(&byte);
    url.bytes().all(is_plain) && Origin::parse(url).is_ok_and(|origin| origin.to_string() != "null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_the_members_and_nothing_else() {
        let named = |url: &str| {
            let policy = policy([url.to_owned()].into_iter());
            policy.to_str().expect("ASCII").ends_with(&format!("connect-src 'self' {url}"))
        };
        for url in ["http://127.0.0.1:7375", "https://node-1.example.com"] {
            assert!(named(url), "{url}");
        }
        for url in
            ["*", "null", "https://*.com", "http://a;script-src", "http://a b", "http://a,b", "https:", "http://a/b"]
        {
            assert!(!named(url), "{url}");
        }
    }
}

//! The manual: the README and pages of `docs/` as they were when the program was built, for people whose machine has no network.
//!
//! The pages are embedded as they are, and made into HTML when somebody first asks for one. What the reference says of this
//! program was compared with it by a test, so whoever reads it here reads what this version does. All that runs in a page
//! is its search, and nothing comes from elsewhere.

mod index;
mod page;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};

use super::console::HEADERS;
use super::{App, Code, Problem};

/// The name in its URL, the file, and its text.
type Page = (&'static str, &'static str, &'static str);

/// In the order in which every page lists them.
const PAGES: [Page; 16] = [
    (INDEX, "docs/README.md", include_str!("../../../docs/README.md")),
    ("readme", "README.md", include_str!("../../../README.md")),
    ("typescript", "clients/ts/README.md", include_str!("../../../clients/ts/README.md")),
    ("guarantees", "docs/guarantees.md", include_str!("../../../docs/guarantees.md")),
    ("http", "docs/reference/http.md", include_str!("../../../docs/reference/http.md")),
    ("protocol", "docs/protocol.md", include_str!("../../../docs/protocol.md")),
    ("problems", "docs/reference/problems.md", include_str!("../../../docs/reference/problems.md")),
    ("presence", "docs/presence.md", include_str!("../../../docs/presence.md")),
    ("commands", "docs/reference/commands.md", include_str!("../../../docs/reference/commands.md")),
    ("output", "docs/reference/output.md", include_str!("../../../docs/reference/output.md")),
    ("settings", "docs/reference/settings.md", include_str!("../../../docs/reference/settings.md")),
    ("operations", "docs/operations.md", include_str!("../../../docs/operations.md")),
    ("console", "docs/console.md", include_str!("../../../docs/console.md")),
    ("metrics", "docs/reference/metrics.md", include_str!("../../../docs/reference/metrics.md")),
    ("security", "docs/security.md", include_str!("../../../docs/security.md")),
    ("faq", "docs/faq.md", include_str!("../../../docs/faq.md")),
];

/// For whoever has to choose, more than for whoever uses it: the first page and the search lead there.
const FURTHER: [Page; 5] = [
    ("reliability", "docs/reliability.md", include_str!("../../../docs/reliability.md")),
    ("comparison", "docs/comparison.md", include_str!("../../../docs/comparison.md")),
    ("clients", "docs/clients.md", include_str!("../../../docs/clients.md")),
    ("performance", "docs/performance.md", include_str!("../../../docs/performance.md")),
    ("lineage", "docs/lineage.md", include_str!("../../../docs/lineage.md")),
];

/// The page that has no name.
const INDEX: &str = "";

/// What a page is made of besides: the name in its URL, its type, and its text.
const ASSETS: [(&str, &str, &str); 2] = [
    ("manual.css", "text/css; charset=utf-8", include_str!("manual.css")),
    ("manual.js", "text/javascript; charset=utf-8", include_str!("manual.js")),
];

/// What its search looks through.
const SECTIONS: &str = "search.json";

/// A page may load the style, the icon and its search, and what that looks through.
const POLICY: [(HeaderName, &str); 1] = [(
    CONTENT_SECURITY_POLICY,
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
)];

/// Where everything is.
pub(super) const HOME: &str = "/docs";
pub(super) const PAGE: &str = "/docs/{page}";
pub(super) const PROBLEM: &str = "/problems/{code}";

/// The routes of the manual.
pub(super) fn routes() -> [(&'static str, MethodRouter<Arc<App>>); 4] {
    let home = get(async || show(INDEX));
    [
        (HOME, home.clone()),
        ("/docs/", home),
        (PAGE, get(async |Path(name): Path<String>| show(&name))),
        (PROBLEM, get(problem)),
    ]
}

fn all() -> impl Iterator<Item = &'static Page> {
    PAGES.iter().chain(&FURTHER)
}

fn show(name: &str) -> Result<Response, Problem> {
    static HTML: LazyLock<BTreeMap<&str, Bytes>> =
        LazyLock::new(|| all().map(|(name, file, text)| (*name, page::html(file, text).into())).collect());
    static FOUND_IN: LazyLock<Bytes> = LazyLock::new(|| index::sections().to_string().into());
    if let Some((_, media_type, text)) = ASSETS.iter().find(|(asset, ..)| *asset == name) {
        return Ok((HEADERS, [(CONTENT_TYPE, *media_type)], *text).into_response());
    }
    if name == SECTIONS {
        return Ok((HEADERS, [(CONTENT_TYPE, "application/json")], FOUND_IN.clone()).into_response());
    }
    let html =
        HTML.get(name).ok_or_else(|| Problem::new(Code::RouteNotFound, "See /docs for the pages that there are."))?;
    Ok((HEADERS, POLICY, [(CONTENT_TYPE, "text/html; charset=utf-8")], html.clone()).into_response())
}

/// Where a problem is explained.
async fn problem(Path(code): Path<String>) -> Result<Redirect, Problem> {
    let code = Code::ALL.iter().find(|known| known.as_str() == code);
    let code =
        code.ok_or_else(|| Problem::new(Code::RouteNotFound, "See /docs/problems for the codes that there are."))?;
    Ok(Redirect::to(&format!("/docs/problems#{}", code.as_str())))
}

//! Which web pages may use this node.
//!
//! Any page a user visits can send requests to a server on his machine. Three rules keep strangers out. *CORS*: pages
//! from this machine may read answers, others only if the operator named their origin; `*` means everyone, but without
//! cookies. *Cookies*: a browser adds them to what a stranger's page asks for, too, so a token in one counts only for pages
//! of this origin and for those that the operator named. *Host*: a node that listens only on loopback serves
//! only requests for names of loopback, because a page whose own name was made to point at 127.0.0.1 (DNS rebinding)
//! is of the same origin as the node and asks no CORS at all.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, LOCATION, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::request::Parts;
use axum::http::uri::Uri;
use axum::http::{HeaderMap, HeaderValue, Method};
use thiserror::Error;
use tower_http::cors::{AllowCredentials, AllowOrigin, CorsLayer};

use super::{Code, LAST_EVENT_ID, Options, Problem, TRACEPARENT};

/// How long browsers may remember a preflight's answer. Chromium caps it at two hours.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3600);

/// Whose pages are admitted besides those of this machine: an origin such as `https://app.example.com`, `null` (local
/// files, sandboxed frames), or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// The text is not an origin.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("an origin is `https://host[:port]`, `null`, or `*`")]
pub struct OriginError;

impl Origin {
    /// # Errors
    /// Not of the form in which browsers send origins, so it would never match one.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let value = HeaderValue::from_str(text).map_err(|_| OriginError)?;
        if matches!(text, "*" | "null") {
            return Ok(Self(value));
        }
        let uri: Uri = text.parse().map_err(|_| OriginError)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(OriginError) };
        if text != format!("{scheme}://{authority}").to_ascii_lowercase() || authority.as_str().contains(['@', '*']) {
            return Err(OriginError);
        }
        Ok(Self(value))
    }

    fn is_any(&self) -> bool {
        self.0 == "*"
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

/// Where a page is that asks, as browsers since 2023 tell by themselves.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The CORS rules. They name every header that a client of ours sends or reads.
pub(super) fn cors(options: &Options) -> CorsLayer {
    let admitted = &options.cors_origins;
    let named = named(options);
    let with_cookies = AllowCredentials::predicate(move |origin, _| names(&named, origin));
    let origins = if admitted.iter().any(Origin::is_any) {
        AllowOrigin::any()
    } else {
        let admitted = admitted.clone();
        AllowOrigin::predicate(move |origin, _| is_local(origin) || names(&admitted, origin))
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(with_cookies)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            LAST_EVENT_ID,
            TRACEPARENT,
            // Not read, but sent along with it.
            HeaderName::from_static("tracestate"),
        ])
        .expose_headers([LOCATION, RETRY_AFTER, WWW_AUTHENTICATE])
        .max_age(PREFLIGHT_MAX_AGE)
}

/// Whether the operator named the origin.
fn names(admitted: &[Origin], origin: &HeaderValue) -> bool {
    admitted.iter().any(|admitted| admitted.0 == *origin)
}

/// Origins whose pages may use cookies: those that the operator named. `null` is no name, and who admits everybody has named
/// nobody.
fn named(options: &Options) -> Vec<Origin> {
    let is_open = options.auth.is_none() || options.cors_origins.iter().any(Origin::is_any);
    let named = options.cors_origins.iter().filter(|origin| !is_open && origin.0 != "null");
    named.cloned().collect()
}

/// Refuses a cookie of a request that a stranger's page may have made. Browsers send `Origin` with whatever is not GET or
/// HEAD, and with those if the page could read the answer.
pub(super) fn check_cookie(options: &Options, parts: &Parts) -> Result<(), Problem> {
    let is_ours = match parts.headers.get(ORIGIN) {
        Some(origin) => is_same(origin, parts) || names(&named(options), origin),
        None => match parts.headers.get(SEC_FETCH_SITE) {
            Some(site) => site == "same-origin" || site == "none" && parts.method.is_safe(),
            None => parts.method.is_safe(),
        },
    };
    if is_ours {
        return Ok(());
    }
    Err(Problem::new(
        Code::OriginNotAllowed,
        "Name the page's origin with --cors-origin, or send the token as `Authorization: Bearer …`.",
    ))
}

/// Whether a page was served from where the request goes.
fn is_same(origin: &HeaderValue, parts: &Parts) -> bool {
    let page = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    page.is_some_and(|(_, page)| host(&parts.uri, &parts.headers) == Some(page))
}

/// Refuses a request for a host that this node doesn't serve.
pub(super) fn check_host(options: &Options, request: &Request) -> Result<(), Problem> {
    if options.loopback_only && !host(request.uri(), request.headers()).is_none_or(names_loopback) {
        return Err(Problem::new(
            Code::HostNotAllowed,
            "This node listens on loopback only. Address it as localhost, 127.0.0.1 or [::1]; a proxy in front of it \
             has to send such a Host.",
        ));
    }
    Ok(())
}

/// The host a request is for, with its port; what can't be read is returned as a host that is nowhere served. `None` if
/// the request has none: HTTP/1.0 health checks, never a browser.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut named = headers.get_all(HOST).iter();
    match (uri.authority(), named.next(), named.next()) {
        (Some(authority), ..) => Some(authority.as_str()),
        (None, None, _) => None,
        (None, Some(host), None) => Some(host.to_str().unwrap_or("?")),
        // A proxy in front may have gone by the other one.
        (None, Some(_), Some(_)) => Some("?"),
    }
}

/// Whether an origin is a page of this machine.
fn is_local(origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some_and(names_loopback)
}

/// Whether `host` or `host:port` names loopback by itself, whatever a resolver says.
fn names_loopback(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        let is_address = address.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback());
        return is_address && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let is_name =
        name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback());
    is_name && is_port(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_are_loopback() {
        for host in ["localhost", "localhost:7375", "LocalHost", "127.0.0.1", "127.0.0.1:1", "127.8.9.1", "[::1]:7375"]
        {
            assert!(names_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.com",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "a@localhost",
            "[::2]",
            "0.0.0.0",
            "::1",
            "localhost:1@evil.com",
            "[::1]evil.com",
            "[::1",
            "localhost:a",
        ] {
            assert!(!names_loopback(host), "{host}");
        }
    }

    #[test]
    fn an_origin_that_no_browser_sends_is_refused() {
        for text in ["https://app.example.com", "http://10.0.0.1:3000", "http://[::1]:80", "null", "*"] {
            assert_eq!(Origin::parse(text).expect(text).to_string(), text);
        }
        for text in
            ["", "example.com", "https://example.com/", "https://Example.com", "https://*.a", "https://u@a", "a\n"]
        {
            assert_eq!(Origin::parse(text), Err(OriginError), "{text:?}");
        }
    }
}

//! The address of a server.

use std::fmt;

use reqwest::Url;
use thiserror::Error;

/// Where clients reach a node.
#[derive(Clone, PartialEq, Eq)]
pub struct Server(Url);

/// What was given is no address.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("is not the address of a server, such as http://127.0.0.1:7375 or https://repl.example.com")]
pub struct ServerError;

impl Server {
    /// Reads an address; without a scheme it is one of plain HTTP.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn parse(text: &str) -> Result<Self, ServerError> {
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&text).map_err(|_| ServerError)?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none();
        if is_plain && is_http { Ok(Self(url)) } else { Err(ServerError) }
    }

    /// Where a route is, below the path that the server's own address has.
    pub(super) fn url(&self, route: &str) -> String {
        format!("{}{route}", self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_scheme_and_may_have_a_path() {
        let url = |text: &str| Server::parse(text).map(|server| server.url("/topics"));
        assert_eq!(url("127.0.0.1:7375").as_deref(), Ok("http://127.0.0.1:7375/topics"));
        assert_eq!(url("https://example.com/broker/").as_deref(), Ok("https://example.com/broker/topics"));
        assert_eq!(url("[::1]:7375").as_deref(), Ok("http://[::1]:7375/topics"));
        for text in
            ["", "ftp://example.com", "http://", "http://me:secret@example.com", "http://example.com/?x=1", "a b"]
        {
            assert_eq!(url(text), Err(ServerError), "{text}");
        }
    }
}

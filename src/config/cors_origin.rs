//! Web origins whose pages may use the API.

use super::PeerAddress;
use super::value::Text;

/// A web origin as browsers send it, `https://app.example` or `http://10.0.0.5:3000`; `null` for pages that have none
/// (local files, sandboxed frames); or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub struct CorsOrigin(String);

impl CorsOrigin {
    /// The origin as text, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for CorsOrigin {
    const NAME: &str = "ORIGIN";
    const EXPECTED: &str = "an origin, such as https://app.example or http://localhost:3000, without a path, or `*`";

    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        if text == "*" || text == "null" {
            return Some(Self(text));
        }
        // Browsers leave out the port that the scheme implies.
        let (scheme, host) = text.split_once("://")?;
        let host = match scheme {
            "https" => host.trim_end_matches(":443"),
            "http" => host.trim_end_matches(":80"),
            _ => return None,
        };
        PeerAddress::parse(host).map(|_| Self(format!("{scheme}://{host}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_and_host_as_a_browser_sends_them() {
        let origin = |text: &str| CorsOrigin::parse(text).map(|origin| origin.0);
        assert_eq!(origin("https://App.example:8443").as_deref(), Some("https://app.example:8443"));
        assert_eq!(origin("https://app.example:443").as_deref(), Some("https://app.example"));
        assert_eq!(origin("*").as_deref(), Some("*"));
        assert_eq!(origin("null").as_deref(), Some("null"));
        for text in ["", "app.example", "https://app.example/", "https://*.example", "https://"] {
            assert_eq!(origin(text), None, "{text}");
        }
    }
}

//! Where keys are fetched.

use super::PeerAddress;
use super::value::Text;

/// The URL of a JWKS. Over TLS, or on this machine: whoever could change it on its way could make tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub struct JwksUrl(String);

impl JwksUrl {
    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for JwksUrl {
    const NAME: &str = "URL";
    const EXPECTED: &str =
        "an https URL, such as https://id.example/.well-known/jwks.json; http is for this machine only";

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let host = PeerAddress::parse(authority)?;
        let is_safe = scheme == "https" || scheme == "http" && host.is_local();
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        (is_safe && is_plain).then(|| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for text in
            ["https://id.example/jwks.json?v=1", "http://127.0.0.1:8080/k", "http://localhost/k", "https://[::1]:1"]
        {
            assert_eq!(JwksUrl::parse(text).as_ref().map(JwksUrl::as_str), Some(text));
        }
        for text in
            ["", "id.example/jwks", "http://id.example/jwks", "ftp://a/b", "https://u:p@id.example/k", "https://a/b c"]
        {
            assert_eq!(JwksUrl::parse(text), None, "{text}");
        }
    }
}

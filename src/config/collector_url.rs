//! Where spans are sent.

use super::PeerAddress;
use super::value::Text;

/// The URL of a collector. Nothing that users send goes there, so it may be one without TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub struct CollectorUrl(String);

impl CollectorUrl {
    /// Where the collector takes traces, by OTLP.
    #[must_use]
    pub fn traces(&self) -> String {
        format!("{}/v1/traces", self.0)
    }
}

impl Text for CollectorUrl {
    const NAME: &str = "URL";
    const EXPECTED: &str = "the http or https URL of a collector, such as http://127.0.0.1:4318";

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let authority = rest.split('/').next()?;
        PeerAddress::parse(authority)?;
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
        (matches!(scheme, "http" | "https") && is_plain).then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_have_their_path_below_that_of_the_collector() {
        let traces = |text| CollectorUrl::parse(text).map(|url| url.traces());
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://otlp.example/otlp", "https://otlp.example/otlp/v1/traces"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(traces(text).as_deref(), Some(url));
        }
        for text in ["", "127.0.0.1:4318", "grpc://a:4317", "http://", "http://u:p@a", "http://a?b", "http://a b"] {
            assert_eq!(traces(text), None, "{text}");
        }
    }
}

//! Addresses that others are told, or that are told to us.

use std::fmt;
use std::net::Ipv6Addr;

use super::value::Text;

/// A node's peer address: a host, and a port unless the usual one is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub struct PeerAddress {
    /// A name, or an IP address without brackets.
    host: String,
    port: Option<u16>,
}

impl PeerAddress {
    /// The host: a name, or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `host:port`, with `port` if none was given.
    #[must_use]
    pub fn with_port(&self, port: u16) -> String {
        let port = self.port.unwrap_or(port);
        if self.host.contains(':') { format!("[{}]:{port}", self.host) } else { format!("{}:{port}", self.host) }
    }

    /// Whether the host can only be the machine that reads this.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(super::settings::is_loopback)
    }
}

impl Text for PeerAddress {
    const NAME: &str = "HOST[:PORT]";
    const EXPECTED: &str = "a host and a port, such as 10.0.0.5:7376, node2.example or [::1]:7376";

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            rest.split_once(']').filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok())?
        } else if text.parse::<Ipv6Addr>().is_ok() {
            (text, "")
        } else {
            let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            let halves = text.split_at(text.find(':').unwrap_or(text.len()));
            Some(halves).filter(|(host, _)| !host.is_empty() && host.bytes().all(in_name))?
        };
        let port = match port {
            "" => None,
            port => Some(port.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?),
        };
        Some(Self { host: host.to_owned(), port })
    }
}

/// Whom to ask to be let in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub enum JoinTarget {
    /// The node at this address, or the nodes at each address of this name.
    Peer(PeerAddress),
    /// The nodes that the SRV records of this name lead to.
    Service(String),
}

impl JoinTarget {
    /// Whether it can only be on the machine that reads this.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Peer(peer) if peer.is_local())
    }
}

impl fmt::Display for JoinTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peer(peer) => peer.host(),
            Self::Service(name) => name,
        })
    }
}

impl Text for JoinTarget {
    const NAME: &str = "HOST[:PORT]";
    const EXPECTED: &str = "a host and a port, such as 10.0.0.5:7376, node2.example or [::1]:7376, or the name of SRV records, such \
                            as srv:_repl._tcp.example";

    fn parse(text: &str) -> Option<Self> {
        let Some(name) = text.strip_prefix("srv:") else { return PeerAddress::parse(text).map(Self::Peer) };
        // RFC 2782: service and protocol each begin with an underscore.
        let labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
        let is_label = |label: &&str| {
            let in_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            (1..=63).contains(&label.len()) && label.bytes().all(in_label)
        };
        let is_service = matches!(labels.as_slice(), [service, protocol, _, ..]
            if service.starts_with('_') && protocol.starts_with('_'));
        (is_service && labels.iter().all(is_label)).then(|| Self::Service(name.to_owned()))
    }
}

/// Where clients are told to find a node: a URL, or a host to which its port is added.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub enum Advertised {
    /// A whole URL, without a slash at its end.
    Url(String),
    /// A host, and perhaps a port.
    Host(PeerAddress),
}

impl Advertised {
    /// The URL, with `scheme` and `port` if none were given.
    #[must_use]
    pub fn url(&self, scheme: &str, port: u16) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::Host(host) => format!("{scheme}://{}", host.with_port(port)),
        }
    }
}

impl Text for Advertised {
    const NAME: &str = "URL";
    const EXPECTED: &str = "a URL or a host, such as https://events.example, http://10.0.0.5:7375 or 10.0.0.5";

    fn parse(text: &str) -> Option<Self> {
        let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
            return PeerAddress::parse(text).map(Self::Host);
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        PeerAddress::parse(authority)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte);
        path.bytes().all(is_plain).then(|| Self::Url(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_address_has_a_host_and_perhaps_a_port() {
        let full = |text: &str| PeerAddress::parse(text).map(|address| address.with_port(7376));
        assert_eq!(full("10.0.0.5").as_deref(), Some("10.0.0.5:7376"));
        assert_eq!(full("node-2.example:9000").as_deref(), Some("node-2.example:9000"));
        assert_eq!(full("::1").as_deref(), Some("[::1]:7376"));
        assert_eq!(full("[::1]").as_deref(), Some("[::1]:7376"));
        assert_eq!(full("[::1]:9000").as_deref(), Some("[::1]:9000"));
        for text in
            ["", ":7376", "a:", "a:0", "a:65536", "a:1:2", "[::1", "[a]:1", "[::1]9", "http://a:1", "a b", "a/b"]
        {
            assert_eq!(full(text), None, "{text}");
        }
    }

    #[test]
    fn whom_to_join_is_a_peer_or_the_name_of_srv_records() {
        let service = |name: &str| Some(JoinTarget::Service(name.to_owned()));
        assert_eq!(JoinTarget::parse("node2.example"), PeerAddress::parse("node2.example").map(JoinTarget::Peer));
        assert_eq!(JoinTarget::parse("srv:_repl._tcp.example"), service("_repl._tcp.example"));
        assert_eq!(JoinTarget::parse("srv:_repl-1._tcp.a.example."), service("_repl-1._tcp.a.example."));
        for text in [
            "srv:",
            "srv:repl.example",
            "srv:_repl._tcp",
            "srv:_repl._tcp..example",
            "srv:_repl._tcp.a b",
            "srv:_a._b.c:1",
        ] {
            assert_eq!(JoinTarget::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_advertised_url_is_taken_whole_and_a_host_gets_the_port() {
        let url = |text: &str| Advertised::parse(text).map(|advertised| advertised.url("http", 7375));
        assert_eq!(url("10.0.0.5").as_deref(), Some("http://10.0.0.5:7375"));
        assert_eq!(url("https://events.example/").as_deref(), Some("https://events.example"));
        assert_eq!(url("https://events.example/bus").as_deref(), Some("https://events.example/bus"));
        for text in ["", "ftp://a", "http://", "https://a?b", "https://a#b", "https://user@a", "https://a/b c"] {
            assert_eq!(url(text), None, "{text}");
        }
    }
}

//! Certificates, as whoever connects meets them.

use jiff::Timestamp;
use reqwest::Method;
use reqwest::tls::TlsInfo;

use super::{Client, ClientError, read_body};
use crate::tls;

/// What a node tells operators of the certificate of its other port.
const METRIC_OF_PEERS: &str = "repl_peer_certificate_expiry_timestamp_seconds ";

/// Until when the certificates of a server are valid, if it has any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Certificates {
    /// The one that clients are shown, be it by a proxy.
    pub of_clients: Option<Timestamp>,
    /// The one that other nodes are shown, as far as the server tells it.
    pub of_peers: Option<Timestamp>,
}

impl Client {
    /// Looks at the certificates of the present server, once. Only an operator may ask for the one `of_peers`; anybody else
    /// would be refused.
    ///
    /// # Errors
    /// It said nothing in time.
    pub async fn certificates(&self, of_peers: bool) -> Result<Certificates, ClientError> {
        let looked = async {
            let server = self.server();
            let route = if of_peers { "/metrics" } else { "/livez" };
            let response = self.ask(Method::GET, route, |request| request).await?;
            let shown = response.extensions().get().and_then(TlsInfo::peer_certificate);
            let of_clients = shown.and_then(tls::expires);
            let body = read_body(&server, response).await?;
            let told = String::from_utf8_lossy(&body)
                .lines()
                .find_map(|line| line.strip_prefix(METRIC_OF_PEERS)?.parse().ok());
            let of_peers = told.and_then(|seconds| Timestamp::from_second(seconds).ok());
            Ok(Certificates { of_clients, of_peers })
        };
        self.once(looked).await
    }
}

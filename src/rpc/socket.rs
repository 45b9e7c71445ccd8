//! The socket of a connection.

use tokio::net::TcpStream;

use crate::tls;

/// The socket of a connection, with TLS or without.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
}

/// The host of `HOST:PORT`, without brackets.
pub(super) fn host(address: &str) -> &str {
    let (host, _) = address.rsplit_once(':').unwrap_or((address, ""));
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

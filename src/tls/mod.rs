//! TLS: who a port is, proven by a certificate, and nobody listening in between.
//!
//! [`Acceptor`] is for the clients' port, where only the server shows a certificate. [`Mutual`] is for nodes, which both
//! do; their authority is the cluster's own, so that whoever has a certificate of it is a node.
//!
//! What is in the files is checked when it is read, so that a certificate that can't work is refused at the start and not
//! by each client. The files are looked at again while the node runs: new connections get what they hold then, those that
//! are open keep what they were made with. Files that can't be used any more change nothing; the log says so.
//!
//! This is no place for sockets that listen, for limits, or for what is spoken inside.

mod acceptor;
mod error;
mod mutual;
mod pem;
mod reloaded;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use self::acceptor::{AcceptError, Acceptor};
pub use self::error::{TlsError, TlsFault};
pub use self::mutual::{Mutual, MutualFiles, PeerCertificate, Stream, is_of_tls};
pub use self::pem::expires;

/// The cryptography that every connection uses, whatever else is linked into the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

//! TLS for whoever connects, without asking who they are.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::ServerConfig;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::pem::{Identity, Pem, unusable};
use super::reloaded::Reloaded;
use super::{TlsError, provider};

/// What is spoken inside, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Makes TLS connections of those that clients open. Clones share what is read from the files.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<Reloaded<Server, 2>>);

#[derive(Debug)]
struct Server {
    config: Arc<ServerConfig>,
    expires: Timestamp,
}

/// Why there is no TLS connection.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// The client speaks plain HTTP. The socket, from which nothing was read.
    #[error("the client does not speak TLS")]
    Plain(TcpStream),
    /// The socket failed, or the two found no agreement.
    #[error("the TLS handshake failed")]
    Handshake(#[from] io::Error),
}

impl Acceptor {
    /// From a file with a certificate and those that lead to its authority, and a file with its key. Blocks.
    ///
    /// # Errors
    /// They can't be used.
    pub fn new(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(Reloaded::new([certificate, key], Box::new(server))?)))
    }

    /// Shakes hands. Waits as long as the client likes.
    ///
    /// # Errors
    /// There is no agreement.
    pub async fn accept(&self, socket: TcpStream) -> Result<TlsStream<TcpStream>, AcceptError> {
        let mut first = [0];
        // A method begins with a capital letter, and no record of TLS does.
        if socket.peek(&mut first).await? > 0 && first[0].is_ascii_uppercase() {
            return Err(AcceptError::Plain(socket));
        }
        let config = Arc::clone(&self.0.current().config);
        Ok(TlsAcceptor::from(config).accept(socket).await?)
    }

    /// Looks at the files again. Blocks.
    pub fn reload(&self) {
        self.0.reload();
    }

    /// Until when the certificate is valid.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.current().expires
    }
}

fn server([certificate, key]: &[Pem; 2]) -> Result<Server, TlsError> {
    let Identity { chain, key: private, expires } = Identity::read(certificate, key)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private));
    let mut config = config.map_err(|error| unusable(error, certificate, key))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Server { config: Arc::new(config), expires })
}

//! TLS between nodes, both of which show a certificate.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::pem::{Identity, Pem, unusable};
use super::reloaded::Reloaded;
use super::{TlsError, provider};

/// The files that a node's part in a cluster's TLS is made of.
#[derive(Clone, Debug)]
pub struct MutualFiles {
    /// The node's certificate, and those that lead from it to the authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The certificate of the cluster's own authority. Whoever has a certificate of it is a node.
    pub authority: PathBuf,
}

/// Makes TLS connections between the nodes of a cluster. Clones share what is read from the files.
#[derive(Clone, Debug)]
pub struct Mutual(Arc<Reloaded<Ends, 3>>);

/// An encrypted connection, whichever end of it this is.
pub type Stream = TlsStream<TcpStream>;

/// The two ends that a node can be of a connection.
struct Ends {
    calling: Arc<ClientConfig>,
    called: Arc<ServerConfig>,
    expires: Timestamp,
}

/// The certificate of a node that called.
#[derive(Clone)]
pub struct PeerCertificate(CertificateDer<'static>);

impl Mutual {
    /// For a node that others reach at `host`. Blocks.
    ///
    /// # Errors
    /// The files can't be used, or the others would not believe them.
    pub fn new(files: MutualFiles, host: String) -> Result<Self, TlsError> {
        let MutualFiles { certificate, key, authority } = files;
        let make = move |files: &[Pem; 3]| ends(files, &host);
        Ok(Self(Arc::new(Reloaded::new([certificate, key, authority], Box::new(make))?)))
    }

    /// Calls the node at `host`, which must have a certificate for it.
    ///
    /// # Errors
    /// There is no agreement, or the socket failed.
    pub async fn connect(&self, socket: TcpStream, host: &str) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = Arc::clone(&self.0.current().calling);
        Ok(TlsConnector::from(config).connect(name, socket).await?.into())
    }

    /// Answers a node that called.
    ///
    /// # Errors
    /// There is no agreement, of which the caller has been told, or the socket failed. The socket, if there is one.
    pub async fn accept(&self, socket: TcpStream) -> Result<(Stream, PeerCertificate), (io::Error, TcpStream)> {
        let config = Arc::clone(&self.0.current().called);
        let stream = TlsAcceptor::from(config).accept(socket).into_fallible().await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|shown| shown.first());
        let certificate = PeerCertificate(shown.expect("who shows none is refused").clone().into_owned());
        Ok((stream.into(), certificate))
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

impl PeerCertificate {
    /// Whether it is for a host: a name, or an IP address without brackets.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let (Ok(certificate), Ok(name)) = (ParsedCertificate::try_from(&self.0), ServerName::try_from(host)) else {
            return false;
        };
        rustls::client::verify_server_name(&certificate, &name).is_ok()
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerCertificate(..)")
    }
}

/// Whether an error of a connection is one of TLS, and not of the socket below.
#[must_use]
pub fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<rustls::Error>())
}

fn ends(files: &[Pem; 3], host: &str) -> Result<Ends, TlsError> {
    let [certificate, key, authority] = files;
    let Identity { chain, key: private, expires } = Identity::read(certificate, key)?;
    let mut roots = RootCertStore::empty();
    for root in authority.certificates()? {
        roots.add(root).map_err(|source| TlsError::Unusable { path: authority.path.clone(), source })?;
    }
    let roots = Arc::new(roots);
    let no_authority = |_| TlsError::NoCertificate { path: authority.path.clone() };
    let of_called = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider());
    let of_called = of_called.build().map_err(no_authority)?;
    let of_calling = WebPkiClientVerifier::builder_with_provider(roots, provider()).build().map_err(no_authority)?;

    // What the others will ask of it, so that a wrong one is found out here and not by each of them.
    let (own, rest) = chain.split_first().expect("there is at least one");
    let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Host { host: host.to_owned() })?;
    of_called
        .verify_server_cert(own, rest, &name, &[], UnixTime::now())
        .and_then(|_| of_calling.verify_client_cert(own, rest, UnixTime::now()))
        .map_err(|source| TlsError::NotBelieved {
            path: certificate.path.clone(),
            authority: authority.path.clone(),
            host: host.to_owned(),
            source: Box::new(source),
        })?;

    // Both ends are of this program.
    let called = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).and_then(|config| {
        config.with_client_cert_verifier(of_calling).with_single_cert(chain.clone(), private.clone_key())
    });
    let calling = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .and_then(|config| config.with_webpki_verifier(of_called).with_client_auth_cert(chain, private));
    let unusable = |error| unusable(error, certificate, key);
    Ok(Ends { calling: Arc::new(calling.map_err(unusable)?), called: Arc::new(called.map_err(unusable)?), expires })
}

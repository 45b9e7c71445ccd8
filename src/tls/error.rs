//! Why files can't be used for TLS.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use rustls::CertificateError;
use thiserror::Error;

/// Why files can't be used for TLS: which one, and what is wrong with it.
#[derive(Debug, Error)]
pub enum TlsError {
    /// Not there, or not for us.
    #[error("{} can't be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Certainly another file.
    #[error("{} is larger than certificates and keys are", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// No certificate in it, or a broken one.
    #[error("{} holds no certificate in PEM that can be read", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No private key in it, or a broken one, or one under a passphrase.
    #[error("{} holds no private key in PEM that can be read; it may not be encrypted", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The certificate is somebody else's.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Nobody would believe it any more.
    #[error("the certificate in {} has expired at {at}", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When.
        at: Timestamp,
    },
    /// Nobody would believe it yet.
    #[error("the certificate in {} is not valid before {from}: is the clock of this machine right?", path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// When it will be.
        from: Timestamp,
    },
    /// The other nodes would refuse it.
    #[error(
        "other nodes would not believe the certificate in {}: it has to be signed by the authority in {}, for {host}, which \
         is the address that they are told, and for the use as client and as server",
        path.display(),
        authority.display()
    )]
    NotBelieved {
        /// The certificate's file.
        path: PathBuf,
        /// The file of the authority.
        authority: PathBuf,
        /// Where the node is reached.
        host: String,
        /// Why.
        #[source]
        source: Box<rustls::Error>,
    },
    /// No certificate can be for this.
    #[error("{host}, the address that other nodes are told, is nothing that a certificate can be for")]
    Host {
        /// Where the node is reached.
        host: String,
    },
    /// Of a kind that is not supported.
    #[error("the certificate in {} and its key can't be used", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// Whether there is no connection because the certificate of the other side is not accepted.
#[must_use]
pub fn is_of_certificate(error: &(dyn Error + 'static)) -> bool {
    certificate_error(error).is_some()
}

/// Whether that is because it has expired.
#[must_use]
pub fn is_of_expired_certificate(error: &(dyn Error + 'static)) -> bool {
    matches!(certificate_error(error), Some(CertificateError::Expired | CertificateError::ExpiredContext { .. }))
}

fn certificate_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    if let Some(rustls::Error::InvalidCertificate(wrong)) = error.downcast_ref() {
        return Some(wrong);
    }
    let below = match error.downcast_ref::<io::Error>() {
        // It holds what is none of its sources.
        Some(error) => error.get_ref().map(|held| held as &(dyn Error + 'static)),
        None => error.source(),
    };
    below.and_then(certificate_error)
}

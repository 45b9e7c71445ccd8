//! Why files can't be used for TLS.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use rustls::{CertificateError, OtherError};
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

/// Why whoever connects gets no TLS, where there is something to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The other side speaks something else.
    Plain,
    /// The other side's certificate is that of an authority, which proves no server.
    Authority,
    /// It has expired.
    Expired,
    /// It is not accepted for another reason.
    Untrusted,
}

impl TlsFault {
    /// What lies below an error. `None`: it is nothing of these.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        match error.downcast_ref() {
            Some(rustls::Error::InvalidMessage(_)) => return Some(Self::Plain),
            Some(rustls::Error::InvalidCertificate(wrong)) => return Some(Self::of_certificate(wrong)),
            _ => {}
        }
        let below = match error.downcast_ref::<io::Error>() {
            // It holds what is none of its sources.
            Some(error) => error.get_ref().map(|held| held as &(dyn Error + 'static)),
            None => error.source(),
        };
        below.and_then(Self::of)
    }

    fn of_certificate(wrong: &CertificateError) -> Self {
        match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::Other(OtherError(other))
                if matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
            {
                Self::Authority
            }
            _ => Self::Untrusted,
        }
    }
}

//! Files of certificates and keys.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::TlsError;

/// A chain of certificates has some ten thousand bytes.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// A file of PEM, as it was read.
pub(super) struct Pem {
    pub(super) path: PathBuf,
    pub(super) text: Vec<u8>,
}

impl Pem {
    /// Blocks.
    pub(super) fn read(path: &Path) -> Result<Self, TlsError> {
        let path = path.to_owned();
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut text));
        match read {
            Err(source) => Err(TlsError::Unreadable { path, source }),
            Ok(read) if read > FILE_BYTES_MAX => Err(TlsError::TooLarge { path }),
            Ok(_) => Ok(Self { path, text }),
        }
    }

    /// All certificates; there is at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.text).collect();
        let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
        certificates.ok_or_else(|| self.no_certificate())
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|_| TlsError::NoKey { path: self.path.clone() })
    }

    fn no_certificate(&self) -> TlsError {
        TlsError::NoCertificate { path: self.path.clone() }
    }
}

/// A certificate that is valid now, those that lead from it to its authority, and a key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) expires: Timestamp,
}

impl Identity {
    pub(super) fn read(certificate: &Pem, key: &Pem) -> Result<Self, TlsError> {
        let chain = certificate.certificates()?;
        let [from, expires] = chain.first().and_then(validity).ok_or_else(|| certificate.no_certificate())?;
        let (path, now) = (certificate.path.clone(), Timestamp::now());
        if expires < now {
            return Err(TlsError::Expired { path, at: expires });
        }
        if from > now {
            return Err(TlsError::NotYetValid { path, from });
        }
        Ok(Self { chain, key: key.key()?, expires })
    }
}

/// Until when a certificate is valid, given in DER. `None`: it is none.
#[must_use]
pub fn expires(certificate: &[u8]) -> Option<Timestamp> {
    validity(&CertificateDer::from(certificate)).map(|[_, expires]| expires)
}

/// From when to when a certificate is valid.
fn validity(certificate: &CertificateDer<'_>) -> Option<[Timestamp; 2]> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let timestamp = |time: x509_cert::time::Time| Timestamp::try_from(time.to_system_time()).ok();
    Some([timestamp(validity.not_before)?, timestamp(validity.not_after)?])
}

/// What `rustls` says against an identity.
pub(super) fn unusable(error: rustls::Error, certificate: &Pem, key: &Pem) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { certificate: certificate.path.clone(), key: key.path.clone() }
        }
        source => TlsError::Unusable { path: certificate.path.clone(), source },
    }
}

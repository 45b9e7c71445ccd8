//! Keys that prove tokens.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// Keys at once: those of several issuers, and of each the next beside the present one.
const KEYS_MAX: usize = 64;

/// RFC 7518, section 3.2: at least as long as the hash.
const SECRET_BYTES_MIN: usize = 32;

/// RFC 7518, section 3.3: 2048 bits.
const RSA_BYTES_MIN: usize = 256;

/// Why something is no key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Neither PEM nor JSON, or damaged.
    #[error("this is neither a public key in PEM nor a JWK nor a set of them (JWKS)")]
    Format,
    /// A node only verifies.
    #[error("this is a private key, and a node needs the public one: `openssl pkey -in private.pem -pubout`")]
    Private,
    /// A public key is known to everybody, and would be a secret that everybody knows.
    #[error("this is a key or a document, and not a secret: keys are named with --token-key-file")]
    NotSecret,
    /// It could be guessed.
    #[error(
        "this secret has {len_bytes} bytes, at least {SECRET_BYTES_MIN} are needed: `openssl rand -hex 32` makes one"
    )]
    Short {
        /// Without whitespace around it.
        len_bytes: usize,
    },
    /// Of a kind that no algorithm here uses.
    #[error("there is no key for EdDSA (Ed25519), ES256 or RS256 (2048 bits and more) in it")]
    Unsupported,
    /// More than anybody rotates.
    #[error("these are more than {KEYS_MAX} keys")]
    TooMany,
}

/// A key, and the one algorithm that it is for.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    /// Its name, if it has one: a token may say which key it is signed with.
    id: Option<String>,
    pub(super) key: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Keys, any of which may prove a token.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads public keys: one in PEM, a JWK, or a JWKS, of which keys for other purposes are passed over.
    ///
    /// # Errors
    /// There is no key in it that could be used.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        if let Ok(json) = serde_json::from_slice::<Value>(text) {
            let jwks = Jwks::deserialize(&json).map_or_else(|_| vec![json], |jwks| jwks.keys);
            if jwks.iter().any(|jwk| jwk.get("d").is_some()) {
                return Err(KeyError::Private);
            }
            let keys: Vec<Key> = jwks.into_iter().filter_map(Key::from_jwk).collect();
            return if keys.is_empty() { Err(KeyError::Unsupported) } else { Self(keys).bounded() };
        }
        let text = std::str::from_utf8(text).map_err(|_| KeyError::Format)?;
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        if !text.contains("-----BEGIN ") {
            return Err(KeyError::Format);
        }
        Key::from_pem(text.as_bytes()).map(|key| Self(vec![key])).ok_or(KeyError::Unsupported)
    }

    /// A secret for HS256, without the whitespace around it.
    ///
    /// # Errors
    /// It is too short, or what should rather be a key.
    pub fn secret(text: &[u8]) -> Result<Self, KeyError> {
        let key = DecodingKey::from_secret(secret_bytes(text)?);
        Ok(Self(vec![Key { algorithm: Algorithm::HS256, id: None, key }]))
    }

    /// These keys and those.
    ///
    /// # Errors
    /// They are too many.
    pub fn and(mut self, other: Self) -> Result<Self, KeyError> {
        self.0.extend(other.0);
        self.bounded()
    }

    /// Without the secrets: those of a document that is fetched would be no secrets.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.0.retain(|key| key.algorithm != Algorithm::HS256);
        self
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that a token may be signed with that says so of itself.
    pub(super) fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        let is_meant = move |key: &&Key| match (&key.id, id) {
            (Some(own), Some(wanted)) => own == wanted,
            (None, _) | (_, None) => true,
        };
        self.0.iter().filter(move |key| key.algorithm == algorithm).filter(is_meant)
    }

    fn bounded(self) -> Result<Self, KeyError> {
        if self.0.len() > KEYS_MAX { Err(KeyError::TooMany) } else { Ok(self) }
    }
}

impl Key {
    /// `None`: no key for an algorithm that is used here.
    fn from_pem(text: &[u8]) -> Option<Self> {
        let ed = || Some((Algorithm::EdDSA, DecodingKey::from_ed_pem(text).ok()?));
        let ec = || Some((Algorithm::ES256, DecodingKey::from_ec_pem(text).ok()?));
        let rsa = || Some((Algorithm::RS256, DecodingKey::from_rsa_pem(text).ok()?));
        let (algorithm, key) = ed().or_else(ec).or_else(rsa)?;
        let len = key.try_get_as_bytes().ok()?.len();
        let is_of_its_size = match algorithm {
            Algorithm::EdDSA => len == 32,
            // An uncompressed point on P-256, and on no larger curve.
            Algorithm::ES256 => len == 65,
            _ => len > RSA_BYTES_MIN,
        };
        is_of_its_size.then_some(Self { algorithm, id: None, key })
    }

    /// `None`: no key for an algorithm that is used here, or one that is not for signatures.
    fn from_jwk(jwk: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
            return None;
        }
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::OctetKey(_) => (Algorithm::HS256, KeyAlgorithm::HS256),
            _ => return None,
        };
        if jwk.common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let is_long_enough = match key.kind() {
            jsonwebtoken::DecodingKeyKind::SecretOrDer(bytes) => bytes.len() >= SECRET_BYTES_MIN,
            jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } => n.len() >= RSA_BYTES_MIN,
        };
        is_long_enough.then_some(Self { algorithm, id: jwk.common.key_id, key })
    }
}

/// The bytes of a secret, without the whitespace around it.
pub(super) fn secret_bytes(text: &[u8]) -> Result<&[u8], KeyError> {
    let secret = text.trim_ascii();
    // What is written over several lines, in JSON, or in DER is something else, which others know perhaps.
    let is_document = secret.iter().any(|byte| byte.is_ascii_whitespace()) || secret.starts_with(b"{");
    if is_document || secret.starts_with(b"-----") || secret.starts_with(&[0x30, 0x82]) {
        return Err(KeyError::NotSecret);
    }
    if secret.len() < SECRET_BYTES_MIN {
        return Err(KeyError::Short { len_bytes: secret.len() });
    }
    Ok(secret)
}

//! Making tokens: for `repl token create` and for tests. Nodes don't.

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::KeyError;
use super::key::secret_bytes;
use crate::domain::{MemberData, Pattern, Timestamp};

/// Why no token was made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SigningError {
    /// Not a private key that is used here.
    #[error("this is not a private key in PEM (PKCS #8) for EdDSA (Ed25519), ES256 or RS256")]
    Format,
    /// It can't be a secret.
    #[error(transparent)]
    Secret(#[from] KeyError),
    /// The key does not fit its algorithm.
    #[error("the key can't sign")]
    Unusable,
}

/// What signs tokens.
pub struct SigningKey {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What a new token says.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// `kid`: which key it is signed with.
    pub key_id: Option<String>,
    /// `sub`.
    pub subject: Option<String>,
    /// `jti`.
    pub token: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp`.
    pub expires_at: Timestamp,
    /// Patterns of topics to publish to; `{sub}` stands for the subject.
    pub publish: Vec<Pattern>,
    /// Patterns of topics to read.
    pub subscribe: Vec<Pattern>,
    /// Patterns of topics to manage.
    pub manage: Vec<Pattern>,
    /// Patterns of users whose presence may be seen.
    pub presence: Vec<Pattern>,
    /// What others see of the subject.
    pub data: Option<MemberData>,
    /// Whether its bearer is an operator.
    pub admin: bool,
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    iat: u64,
    exp: u64,
    repl: Rights<'a>,
}

#[derive(Serialize)]
struct Rights<'a> {
    #[serde(skip_serializing_if = "<[Pattern]>::is_empty")]
    publish: &'a [Pattern],
    #[serde(skip_serializing_if = "<[Pattern]>::is_empty")]
    subscribe: &'a [Pattern],
    #[serde(skip_serializing_if = "<[Pattern]>::is_empty")]
    manage: &'a [Pattern],
    #[serde(skip_serializing_if = "<[Pattern]>::is_empty")]
    presence: &'a [Pattern],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    admin: bool,
}

impl SigningKey {
    /// A private key in PEM. It has one algorithm.
    ///
    /// # Errors
    /// It is none that is used here.
    pub fn from_pem(text: &[u8]) -> Result<Self, SigningError> {
        let ed = || Some((Algorithm::EdDSA, EncodingKey::from_ed_pem(text).ok()?));
        let ec = || Some((Algorithm::ES256, EncodingKey::from_ec_pem(text).ok()?));
        let rsa = || Some((Algorithm::RS256, EncodingKey::from_rsa_pem(text).ok()?));
        let (algorithm, key) = ed().or_else(ec).or_else(rsa).ok_or(SigningError::Format)?;
        Ok(Self { algorithm, key })
    }

    /// A secret for HS256, without the whitespace around it.
    ///
    /// # Errors
    /// It is none that a node would take.
    pub fn from_secret(text: &[u8]) -> Result<Self, SigningError> {
        Ok(Self { algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret_bytes(text)?) })
    }

    /// A signed token.
    ///
    /// # Errors
    /// The key can't sign.
    pub fn sign(&self, token: &NewToken) -> Result<String, SigningError> {
        let NewToken {
            subject, token: id, audience, issuer, publish, subscribe, manage, presence, data, admin, ..
        } = token;
        let payload = Payload {
            sub: subject.as_deref(),
            jti: id.as_deref(),
            aud: audience.as_deref(),
            iss: issuer.as_deref(),
            iat: token.issued_at.as_millis() / 1_000,
            exp: token.expires_at.as_millis() / 1_000,
            repl: Rights {
                publish,
                subscribe,
                manage,
                presence,
                data: data.as_ref().map(MemberData::as_raw),
                admin: *admin,
            },
        };
        let header = Header { kid: token.key_id.clone(), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, &payload, &self.key).map_err(|_| SigningError::Unusable)
    }
}

//! What decides whom a token speaks for.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use thiserror::Error;

use super::cache::{Cache, Fingerprint};
use super::claims::Claims;
use super::key::Key;
use super::{ClaimError, KeySet, Principal, Rights};
use crate::domain::Timestamp;

/// In bytes. What is longer is not looked at.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What is asked of tokens beside a signature.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What `aud` must name.
    pub audience: Option<String>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// How far away `exp` may be.
    pub life_max: Duration,
    /// Whether whoever is signed in may publish to everybody's inbox, and read his own.
    pub inboxes: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { audience: None, issuer: None, life_max: Duration::from_secs(86_400), inboxes: false }
    }
}

/// Why a token speaks for nobody.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token has more than {TOKEN_BYTES_MAX} bytes")]
    TooLarge,
    /// Not a JWT, or one with claims of the wrong types.
    #[error("this is not a JWT with the claims that are used here")]
    Malformed,
    /// `none`, or another algorithm that no key is for.
    #[error("the token is signed with another algorithm than EdDSA, ES256, RS256 or HS256")]
    Algorithm,
    /// It says that it needs something that is not known here.
    #[error("the token's header has `crit`, which no extension is known for here")]
    Critical,
    /// No key for its algorithm, or none of its name.
    #[error("there is no key for the token's algorithm and `kid`")]
    UnknownKey,
    /// Somebody else made it, or changed it.
    #[error("the token's signature is wrong")]
    Signature,
    /// It is genuine, but what it says is not accepted.
    #[error(transparent)]
    Claim(#[from] ClaimError),
}

impl TokenError {
    /// The same in a word, for those who count.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Claim(claim) => claim.reason(),
        }
    }
}

/// What decides whom a token speaks for.
#[derive(Debug)]
pub struct Authority {
    policy: Policy,
    anonymous: Arc<Principal>,
    proof: RwLock<Arc<Proof>>,
}

/// Keys, and the tokens that they have proven.
#[derive(Debug, Default)]
struct Proof {
    keys: KeySet,
    proven: Cache,
}

impl Authority {
    /// One that accepts tokens by these keys, and lets everybody else do what `anonymous` says.
    #[must_use]
    pub fn new(keys: KeySet, policy: Policy, anonymous: Rights) -> Self {
        let proof = RwLock::new(Arc::new(Proof { keys, proven: Cache::default() }));
        Self { policy, anonymous: Arc::new(Principal::anonymous(anonymous)), proof }
    }

    /// Accepts tokens by these keys from now on, and by no others.
    pub fn set_keys(&self, keys: KeySet) {
        // With nothing proven: it was by keys that may be gone.
        *self.proof.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Proof { keys, proven: Cache::default() });
    }

    /// Whoever sends no token.
    #[must_use]
    pub fn anonymous(&self) -> &Arc<Principal> {
        &self.anonymous
    }

    /// How far away the end of a token may be.
    #[must_use]
    pub fn life_max(&self) -> Duration {
        self.policy.life_max
    }

    /// Whom a token speaks for.
    ///
    /// # Errors
    /// Nobody: it is not genuine, not of this time, or not for this broker.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Principal>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLarge);
        }
        let proof = Arc::clone(&self.proof.read().unwrap_or_else(PoisonError::into_inner));
        let fingerprint = Fingerprint::of(token);
        if let Some(known) = proof.proven.get(fingerprint) {
            let expired = known.expires_at.is_some_and(|expires_at| expires_at <= now);
            return if expired { Err(ClaimError::Expired.into()) } else { Ok(known) };
        }
        let principal = Arc::new(claims(&proof.keys, token)?.accept(&self.policy, now)?);
        proof.proven.insert(fingerprint, &principal);
        Ok(principal)
    }
}

/// What a token says, if one of the keys proves it.
fn claims(keys: &KeySet, token: &str) -> Result<Claims, TokenError> {
    let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        // serde: `none`, or a name that nobody knows.
        ErrorKind::Json(_) => TokenError::Algorithm,
        _ => TokenError::Malformed,
    })?;
    if !matches!(header.alg, Algorithm::EdDSA | Algorithm::ES256 | Algorithm::RS256 | Algorithm::HS256) {
        return Err(TokenError::Algorithm);
    }
    if header.crit.is_some() {
        return Err(TokenError::Critical);
    }
    let mut outcome = Err(TokenError::UnknownKey);
    for Key { algorithm, key, .. } in keys.candidates(header.alg, header.kid.as_deref()) {
        match jsonwebtoken::decode::<Claims>(token, key, &signature_of(*algorithm)) {
            Ok(token) => return Ok(token.claims),
            Err(error) => {
                outcome = Err(match error.kind() {
                    ErrorKind::InvalidSignature => TokenError::Signature,
                    _ => TokenError::Malformed,
                });
            }
        }
    }
    outcome
}

/// The library proves the signature; claims are judged by [`Claims::accept`].
fn signature_of(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

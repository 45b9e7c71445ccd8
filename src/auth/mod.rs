//! Who may do what: tokens, the keys that prove them, and the rights that they carry.
//!
//! A token is a JWT. Whoever runs the application signs it; a node only verifies, with keys that [`Authority`] is given
//! and may be given anew. Out of a token comes a [`Principal`]: whose it is, until when, and its [`Rights`], which are
//! patterns over topic names. Whoever sends no token has the rights of everybody.
//!
//! - A key has one algorithm, which is known before any token is seen: a public key can't be taken for an HMAC secret,
//!   and what a token says of its own algorithm only selects among keys. `none` is not an algorithm here.
//! - Every token expires, and not later than [`Policy::life_max`] from now.
//! - A token is good as a whole or not at all: a claim that can't be understood is refused, not left out.
//! - `{sub}` in a pattern stands for the token's subject, which then can be neither a wildcard nor several levels.
//! - No error and no `Debug` shows a token or a key.
//!
//! It is pure: no files, no network, no clock. It does *not* know requests (`http` finds the token and asks for rights) or
//! what was revoked (that is replicated state).

mod authority;
mod cache;
mod claims;
mod key;
mod principal;
mod rights;
mod signing;
#[cfg(test)]
mod tests;

pub use self::authority::{Authority, Policy, TOKEN_BYTES_MAX, TokenError};
pub use self::claims::ClaimError;
pub use self::key::{KeyError, KeySet};
pub use self::principal::Principal;
pub use self::rights::{Action, Refused, Rights};
pub use self::signing::{NewToken, SigningError, SigningKey};

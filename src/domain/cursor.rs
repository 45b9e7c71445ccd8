//! The text form of a position, which clients hand back to resume.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Position;

/// Names the history that positions count in. It is the same on every node of a cluster and changes only when the
/// cluster is founded anew, so that a cursor of another history never matches by accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Epoch([u8; Epoch::LEN]);

impl Epoch {
    /// In characters. 32^8 histories: two clusters that a client might confuse practically never share one.
    pub const LEN: usize = 8;

    /// Crockford's base 32, in lower case: no letter looks like a digit.
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    /// Takes the first 40 bits of `seed`, which should be random.
    #[must_use]
    pub fn from_seed(seed: [u8; 16]) -> Self {
        let mut bits = seed.iter().take(5).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        Self(std::array::from_fn(|_| {
            let digit = usize::try_from(bits & 31).expect("five bits");
            bits >>= 5;
            Self::ALPHABET.get(digit).copied().expect("five bits index 32 digits")
        }))
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; Self::LEN] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| Self::ALPHABET.contains(byte)).then_some(Self(bytes))
    }

    /// The epoch as text, of `[0-9a-z]`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the alphabet is ASCII")
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `<epoch>-<position>`. Opaque to clients. As an SSE `id` it needs no escaping and, being short and of
/// `[A-Za-z0-9._-]`, never makes a cross-origin reconnect ask first (Fetch standard, CORS-safelisted request header).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The history the position counts in.
    pub epoch: Epoch,
    /// The last position the client has, or has no need of.
    pub position: Position,
}

/// The text is not a cursor.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not a cursor: send back an `id` as it came")]
pub struct CursorError;

impl Cursor {
    /// # Errors
    /// The text was not made by this broker.
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        let (epoch, position) = text.split_once('-').ok_or(CursorError)?;
        let epoch = Epoch::parse(epoch).ok_or(CursorError)?;
        // `u64::from_str` also takes a sign and leading zeros, which would give one position several texts.
        if position.is_empty() || !position.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CursorError);
        }
        if position.len() > 1 && position.starts_with('0') {
            return Err(CursorError);
        }
        let position = position.parse().map_err(|_| CursorError)?;
        Ok(Self { epoch, position: Position::new(position) })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.position)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_comes_back_from_its_text(seed: [u8; 16], position: u64) {
            let cursor = Cursor { epoch: Epoch::from_seed(seed), position: Position::new(position) };
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_or_an_error(text: String) {
            if let Ok(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn near_misses_are_refused() {
        let good = Cursor { epoch: Epoch::from_seed([7; 16]), position: Position::new(7) }.to_string();
        let epoch = good.strip_suffix("-7").expect("position 7");
        for text in ["", "-", "7", epoch, &format!("{epoch}-"), &format!("{epoch}-+7"), &format!("{epoch}-07")] {
            assert_eq!(Cursor::parse(text), Err(CursorError), "{text:?}");
        }
        assert_eq!(Cursor::parse(&format!("{epoch}-18446744073709551616")), Err(CursorError));
    }
}

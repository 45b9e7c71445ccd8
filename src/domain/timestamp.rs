//! A point in time, in milliseconds.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Milliseconds since the Unix epoch, in UTC. In the log it is the leader's clock; on the wire it is RFC 3339 with
/// three decimals (`2026-11-21T07:33:00.000Z`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

/// The text is not an RFC 3339 time.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not an RFC 3339 time, such as 2026-11-21T07:33:00Z")]
pub struct TimestampError;

impl Timestamp {
    /// 9999-12-30T22:00:00.000Z, the last moment that RFC 3339 can write in every time zone. [`Self::from_millis`] stops
    /// there.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// This machine's wall clock. For edges only: everything behind the log takes its time from the entry.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since the Unix epoch, at most [`Self::MAX`].
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(Self::MAX.0))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment `duration` before this one, or the Unix epoch.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The moment `duration` after this one, at most [`Self::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this moment is; nothing if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Parses RFC 3339 with any offset. What lies before 1970 counts as 1970.
    ///
    /// # Errors
    /// The text is not an RFC 3339 time.
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimestampError> {
        let parsed: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        Ok(Self::from_millis(u64::try_from(parsed.as_millisecond()).unwrap_or(0)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).expect("a timestamp is at most the year 9999");
        let timestamp = jiff::Timestamp::from_millisecond(millis).expect("a timestamp is at most the year 9999");
        write!(f, "{timestamp:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_three_decimals_and_comes_back() {
        let time = Timestamp::from_millis(1_795_246_380_007);
        assert_eq!(time.to_string(), "2026-11-21T07:33:00.007Z");
        assert_eq!(Timestamp::parse_rfc3339(&time.to_string()), Ok(time));
        assert_eq!(Timestamp::parse_rfc3339("2026-11-21T09:33:00.007+02:00"), Ok(time));
        assert_eq!(Timestamp::from_millis(u64::MAX).to_string(), "9999-12-30T22:00:00.000Z");
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in ["", "yesterday", "2026-11-21", "2026-13-01T00:00:00Z", "99999-01-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse_rfc3339(text), Err(TimestampError), "{text}");
        }
    }
}

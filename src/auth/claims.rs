//! What a token says.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Policy, Principal, Rights};
use crate::domain::{Bearer, JsonText, MemberData, Pattern, PatternError, Timestamp};

/// In a pattern, what stands for the token's subject.
const SUBJECT: &str = "{sub}";

/// In bytes, of `sub` and of `jti`: they are kept where revocations are, and a subject may be a topic's level.
const NAME_BYTES_MAX: usize = 255;

/// By how much another machine's clock may be ahead: a token is good at once where it is used. Its end is not moved.
const LEEWAY: Duration = Duration::from_secs(10);

/// Why what a token says is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ClaimError {
    /// Without an end a token that got lost could be used for ever.
    #[error("the token has no `exp`")]
    NoExpiry,
    /// Its time has passed.
    #[error("the token has expired")]
    Expired,
    /// It expires too late.
    #[error("the token's `exp` is more than {} seconds away", max.as_secs())]
    TooLong {
        /// How far away it may be.
        max: Duration,
    },
    /// Its time has not come.
    #[error("the token's `nbf` has not come yet")]
    NotYet,
    /// It is for somebody else.
    #[error("the token's `aud` does not name this broker")]
    Audience,
    /// It is from somebody else.
    #[error("the token's `iss` is not the one that is trusted here")]
    Issuer,
    /// `sub` or `jti` is empty, too long, or holds a control character.
    #[error("the token's `{claim}` is empty, longer than {NAME_BYTES_MAX} bytes, or holds a control character")]
    Name {
        /// Which of them.
        claim: &'static str,
    },
    /// A pattern asks for the subject, and there is none, or one that would be more than a part of a level.
    #[error("a pattern of the token says {SUBJECT}, and its `sub` is missing or holds `:` or `*`")]
    Subject,
    /// What others should see of the subject is too large.
    #[error("the token's `repl.data` is larger than {} bytes, or nested too deep", MemberData::LEN_BYTES_MAX)]
    Data,
    /// A text is not a pattern.
    #[error("`{pattern}` in the token is not a pattern: {source}")]
    Pattern {
        /// The text.
        pattern: String,
        /// Why not.
        source: PatternError,
    },
}

impl ClaimError {
    /// The same in a word, for those who count.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::TooLong { .. } => "too_long",
            Self::NotYet => "not_yet",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::Name { .. } => "name",
            Self::Subject => "subject",
            Self::Pattern { .. } => "pattern",
            Self::Data => "data",
        }
    }
}

/// The payload of a token. Claims that are not for a broker are passed over.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    iss: Option<String>,
    sub: Option<String>,
    jti: Option<String>,
    aud: Option<Audience>,
    #[serde(default)]
    repl: RightsClaim,
}

/// The claim that is for a broker, and may hold nothing else.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RightsClaim {
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    manage: Vec<String>,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    presence: Vec<String>,
    data: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Several(several) => several.iter().any(|one| one == wanted),
        }
    }
}

/// Seconds since 1970, perhaps with a fraction (RFC 7519, section 2).
#[derive(Clone, Copy, Debug)]
struct NumericDate(Timestamp);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let since = Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)?;
        Ok(Self(Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))))
    }
}

impl Claims {
    /// Whoever the token speaks for, if what it says is accepted now.
    pub(super) fn accept(self, policy: &Policy, now: Timestamp) -> Result<Principal, ClaimError> {
        let NumericDate(expires_at) = self.exp.ok_or(ClaimError::NoExpiry)?;
        if expires_at <= now {
            return Err(ClaimError::Expired);
        }
        if expires_at > now.plus(policy.life_max).plus(LEEWAY) {
            return Err(ClaimError::TooLong { max: policy.life_max });
        }
        if self.nbf.is_some_and(|NumericDate(begin)| begin > now.plus(LEEWAY)) {
            return Err(ClaimError::NotYet);
        }
        if let Some(wanted) = &policy.audience
            && !self.aud.is_some_and(|audience| audience.names(wanted))
        {
            return Err(ClaimError::Audience);
        }
        if policy.issuer.is_some() && self.iss != policy.issuer {
            return Err(ClaimError::Issuer);
        }
        for (claim, name) in [("sub", &self.sub), ("jti", &self.jti)] {
            if name.as_deref().is_some_and(|name| !is_name(name)) {
                return Err(ClaimError::Name { claim });
            }
        }
        let mut rights = self.repl.rights(self.sub.as_deref())?;
        if policy.inboxes && self.sub.is_some() {
            rights.publish.extend(pattern("inbox:*", None));
            rights.subscribe.extend(pattern("inbox:{sub}", self.sub.as_deref()));
        }
        Ok(Principal {
            rights,
            data: self.repl.data()?,
            bearer: Bearer {
                subject: self.sub,
                token: self.jti,
                issued_at: self.iat.map(|NumericDate(issued_at)| issued_at),
                ticket: None,
            },
            expires_at: Some(expires_at),
        })
    }
}

impl RightsClaim {
    fn rights(&self, subject: Option<&str>) -> Result<Rights, ClaimError> {
        let patterns = |texts: &[String]| texts.iter().map(|text| pattern(text, subject)).collect::<Result<_, _>>();
        Ok(Rights {
            publish: patterns(&self.publish)?,
            subscribe: patterns(&self.subscribe)?,
            manage: patterns(&self.manage)?,
            admin: self.admin,
            presence: patterns(&self.presence)?,
        })
    }

    fn data(&self) -> Result<Option<MemberData>, ClaimError> {
        let Some(raw) = &self.data else { return Ok(None) };
        let data = JsonText::from_raw(raw).ok().and_then(|data| MemberData::new(data).ok());
        data.map(Some).ok_or(ClaimError::Data)
    }
}

/// A pattern of a token. The subject comes from whoever has an account, and must not become a wildcard or a level more.
fn pattern(text: &str, subject: Option<&str>) -> Result<Pattern, ClaimError> {
    let mut replaced = text.to_owned();
    if text.contains(SUBJECT) {
        let subject = subject.filter(|subject| !subject.contains([':', '*'])).ok_or(ClaimError::Subject)?;
        replaced = text.replace(SUBJECT, subject);
    }
    Pattern::parse(&replaced).map_err(|source| ClaimError::Pattern { pattern: text.to_owned(), source })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::TopicName;

    #[test]
    fn a_subject_is_a_part_of_one_level() {
        let check = |text: &str, subject: Option<&str>, expected: Option<&str>| {
            let found = pattern(text, subject).ok();
            assert_eq!(found.as_ref().map(Pattern::as_str), expected, "{text} for {subject:?}");
        };
        check("inbox:{sub}", Some("ada"), Some("inbox:ada"));
        check("{sub}:**", Some("ada"), Some("ada:**"));
        check("a:{sub}-{sub}", Some("{sub}"), Some("a:{sub}-{sub}"));
        check("inbox:*", None, Some("inbox:*"));
        for subject in ["*", "**", "a:b", "a:*", ":"] {
            check("inbox:{sub}", Some(subject), None);
            check("inbox:x", Some(subject), Some("inbox:x"));
        }
        check("inbox:{sub}", None, None);
        // What a topic can't be named, nobody can have.
        check("{sub}", Some("$sys"), None);
        check("{sub}", Some("repl.x"), None);
        check("inbox:{sub}", Some(&"x".repeat(255)), None);
    }

    proptest! {
        #[test]
        fn no_subject_reaches_the_topics_of_another(subject in "\\PC{1,6}|[:*{}sub]{1,6}", other in "[a-z]{1,6}") {
            let granted = pattern("inbox:{sub}", Some(&subject));
            let other_inbox = TopicName::parse(&format!("inbox:{other}")).expect("a name");
            if let Ok(granted) = granted {
                prop_assert_eq!(granted.matches(&other_inbox), subject == other);
            }
        }
    }
}

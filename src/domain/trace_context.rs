//! Traces as W3C Trace Context has them: <https://www.w3.org/TR/trace-context/>.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use serde::{Deserialize, Serialize};

/// Everything that one request comes to, in whatever process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceId(NonZeroU128);

/// One piece of work of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpanId(NonZeroU64);

/// What one piece of work tells another that it is the cause of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The trace that both belong to.
    pub trace: TraceId,
    /// The cause.
    pub span: SpanId,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// The bit among the flags.
    const SAMPLED: u64 = 1;

    /// Reads a `traceparent`, of this version of the standard or a later one. `None` if it is not one, and has to be
    /// ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.splitn(5, '-');
        let mut field = |digits| hex(fields.next()?, digits);
        let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        // Later versions may say more, behind what this one says.
        if version == 0xff || version == 0 && fields.next().is_some() {
            return None;
        }
        Some(Self {
            trace: TraceId(NonZeroU128::new(trace)?),
            span: SpanId(NonZeroU64::new(u64::try_from(span).ok()?)?),
            sampled: u64::try_from(flags).ok()? & Self::SAMPLED != 0,
        })
    }
}

/// A number of so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

impl TraceId {
    /// The id with this number.
    #[must_use]
    pub const fn new(number: NonZeroU128) -> Self {
        Self(number)
    }
}

impl SpanId {
    /// The id with this number.
    #[must_use]
    pub const fn new(number: NonZeroU64) -> Self {
        Self(number)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "00b7ad6b71692033";

    #[test]
    fn a_traceparent_names_a_trace_a_span_and_whether_they_are_recorded() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let context = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-{flags}")).expect("one");
            assert_eq!((context.trace.to_string(), context.span.to_string()), (TRACE.to_owned(), SPAN.to_owned()));
            assert_eq!(context.sampled, sampled, "{flags}");
        }
    }

    /// The cases of the standard's own tests.
    #[test]
    fn what_is_no_traceparent_is_ignored() {
        let (no_trace, no_span) = ("0".repeat(32), "0".repeat(16));
        for text in [
            String::new(),
            "00".to_owned(),
            TRACE.to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-001"),
            format!("00-{TRACE}-{SPAN}-.0"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01.more"),
            format!("cc-{TRACE}-{SPAN}-01.more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!(".0-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{no_trace}-{SPAN}-01"),
            format!("00-{TRACE}-{no_span}-01"),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}-{}-01", &SPAN[1..]),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
        ] {
            assert_eq!(TraceContext::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        let context = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-01"));
        assert_eq!(TraceContext::parse(&format!("cc-{TRACE}-{SPAN}-01")), context);
        assert_eq!(TraceContext::parse(&format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like")), context);
    }
}

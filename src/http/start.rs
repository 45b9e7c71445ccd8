//! Where a stream starts.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use jiff::SignedDuration;

use super::{Code, LAST_EVENT_ID, Problem};
use crate::domain::{Cursor, Timestamp};
use crate::node::Start;

/// The cursor of the `Last-Event-ID` header. An empty one counts as absent: some clients send one before their first
/// event.
#[derive(Debug)]
pub(super) struct LastEventId(pub(super) Option<Cursor>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        last_event_id(&parts.headers).map(Self)
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text =
        value.to_str().map_err(|_| Problem::new(Code::InvalidCursor, "Last-Event-ID: send an `id` as it came."))?;
    Ok(Some(Cursor::parse(text)?))
}

/// Reads `?after=`: a cursor, `earliest`, `now`, how long ago (`10m`, `PT10M`), or an RFC 3339 time.
pub(super) fn parse(text: &str) -> Result<Start, Problem> {
    match text {
        "now" => return Ok(Start::Now),
        "earliest" => return Ok(Start::Earliest),
        _ => {}
    }
    if let Ok(cursor) = Cursor::parse(text) {
        return Ok(Start::Cursor(cursor));
    }
    if let Ok(time) = Timestamp::parse_rfc3339(text) {
        return Ok(Start::Since(time));
    }
    // A negative duration is one that ends in `ago`, or lies in the future.
    let ago: Option<SignedDuration> = text.parse().ok();
    let ago = ago.and_then(|ago| ago.try_into().ok());
    ago.map(|ago| Start::Since(Timestamp::now().minus(ago))).ok_or_else(|| {
        Problem::new(
            Code::InvalidCursor,
            "Start after a cursor (an `id` as it came), `earliest`, `now`, how long ago (`10m`), or an RFC 3339 time.",
        )
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_start_is_a_cursor_a_word_a_duration_or_a_time() {
        let cursor = Cursor::parse("00000000-7").expect("a cursor");
        assert_eq!(parse("00000000-7"), Ok(Start::Cursor(cursor)));
        assert_eq!(parse("now"), Ok(Start::Now));
        assert_eq!(parse("earliest"), Ok(Start::Earliest));
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(Start::Since(Timestamp::from_millis(1_000))));
        for (text, ago_ms) in [("10m", 600_000), ("1h 30m", 5_400_000), ("PT90S", 90_000), ("0s", 0)] {
            let Ok(Start::Since(time)) = parse(text) else { panic!("{text}") };
            let late_ms = Timestamp::now().as_millis() - ago_ms - time.as_millis();
            assert!(late_ms < 60_000, "{text}: off by {late_ms} ms");
        }
        for text in ["", "00000000-", "latest", "-10m", "10m ago", "10", "1970-01-01", "00000000-07"] {
            assert_eq!(parse(text).map_err(|problem| problem.code()), Err(Code::InvalidCursor), "{text:?}");
        }
    }

    #[test]
    fn an_empty_last_event_id_counts_as_absent() {
        let header = |text: &'static str| {
            last_event_id(&HeaderMap::from_iter([(LAST_EVENT_ID, HeaderValue::from_static(text))]))
        };
        assert_eq!(last_event_id(&HeaderMap::new()), Ok(None));
        assert_eq!(header(""), Ok(None));
        assert_eq!(header("00000000-7"), Ok(Cursor::parse("00000000-7").ok()));
        assert_eq!(header("7").map_err(|problem| problem.code()), Err(Code::InvalidCursor));
    }

    proptest! {
        #[test]
        fn any_text_is_a_start_or_a_problem(text in "\\PC{0,40}|[0-9]{1,30}[a-zµ ]{1,9}|P[0-9TYMDHS.]{0,30}") {
            let _ = parse(&text);
        }
    }
}

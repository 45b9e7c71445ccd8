//! What is published: a value that tells who sent it, as which of his, and when, and that can be told from a damaged one.
//!
//! Who and which is what subscribers check order and completeness by: not every system numbers its messages itself.

use std::fmt::Write;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;

/// The time since the load began, the same for publishers and subscribers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn now_us(self) -> u64 {
        u64::try_from(self.now().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Who published a value, and as which of his: 1, 2, 3 …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) publisher: usize,
    pub(crate) number: u64,
}

/// Values of one length: `{"w":<publisher>,"n":<number>,"t":<microseconds>,"p":"<text>"}`.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    len_bytes: usize,
    /// Where the text is taken from.
    filler: String,
    begin: Finder<'static>,
}

const BEGIN: &str = r#"{"w":"#;
const NUMBER: &str = r#","n":"#;
const TIME: &str = r#","t":"#;
const TEXT: &str = r#","p":""#;
const END: &str = r#""}"#;

impl Values {
    /// The least length: the longest numbers, and some text.
    pub(crate) const LEN_BYTES_MIN: usize = 80;

    /// Of so many bytes, at least [`Self::LEN_BYTES_MIN`].
    pub(crate) fn new(len_bytes: usize) -> Self {
        let len_bytes = len_bytes.max(Self::LEN_BYTES_MIN);
        let filler = std::iter::repeat_with(fastrand::alphanumeric).take(len_bytes).collect();
        Self { len_bytes, filler, begin: Finder::new(BEGIN) }
    }

    /// Writes a value that was sent at this time.
    pub(crate) fn write(&self, tag: Tag, sent_us: u64, out: &mut String) {
        let from = out.len();
        let Tag { publisher, number } = tag;
        let _ = write!(out, "{BEGIN}{publisher}{NUMBER}{number}{TIME}{sent_us}{TEXT}");
        let text = self.text(out.len() - from);
        out.push_str(text);
        out.push_str(END);
    }

    /// Whose the value in this event is.
    pub(crate) fn tag(&self, event: &[u8]) -> Option<Tag> {
        parse_tag(event.get(self.begin.find(event)?..)?).map(|(tag, _)| tag)
    }

    /// When the value in this event was sent. `None` if it is not as it was written.
    pub(crate) fn sent_us(&self, event: &[u8]) -> Option<u64> {
        let value = event.get(self.begin.find(event)?..)?;
        let (_, rest) = parse_tag(value)?;
        let (sent_us, rest) = number(rest.strip_prefix(TIME.as_bytes())?)?;
        let rest = rest.strip_prefix(TEXT.as_bytes())?;
        let text = self.text(value.len() - rest.len());
        rest.strip_prefix(text.as_bytes())?.starts_with(END.as_bytes()).then_some(sent_us)
    }

    /// What fills a value of which so much is written.
    fn text(&self, written: usize) -> &str {
        let len = self.len_bytes.saturating_sub(written + END.len());
        self.filler.get(..len).unwrap_or(&self.filler)
    }
}

/// The tag that a value begins with, and what follows it.
fn parse_tag(value: &[u8]) -> Option<(Tag, &[u8])> {
    let (publisher, rest) = number(value.strip_prefix(BEGIN.as_bytes())?)?;
    let (number, rest) = number(rest.strip_prefix(NUMBER.as_bytes())?)?;
    Some((Tag { publisher: usize::try_from(publisher).ok()?, number }, rest))
}

/// The number that a text begins with, and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut rest) = (None, text);
    while let Some((digit, behind)) = rest.split_first().filter(|(digit, _)| digit.is_ascii_digit()) {
        number = Some(number.unwrap_or(0_u64).checked_mul(10)?.checked_add(u64::from(digit - b'0'))?);
        rest = behind;
    }
    Some((number?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = Tag { publisher: 31, number: 42 };

    fn event(values: &Values, sent_us: u64) -> String {
        let mut event = r#"data: {"id":"k-1","topic":"bench","seq":7,"value":"#.to_owned();
        values.write(TAG, sent_us, &mut event);
        event + r#","headers":{}}"#
    }

    #[test]
    fn a_value_has_its_length_and_tells_whose_it_is_and_when_it_was_sent() {
        for len in [80, 150, 5_000] {
            let values = Values::new(len);
            for sent_us in [0, 7, 1_234_567, u64::MAX / 10] {
                let mut value = String::new();
                values.write(TAG, sent_us, &mut value);
                assert_eq!(value.len(), len);
                assert!(serde_json::from_str::<serde_json::Value>(&value).is_ok());
                let event = event(&values, sent_us);
                assert_eq!(values.sent_us(event.as_bytes()), Some(sent_us));
                assert_eq!(values.tag(event.as_bytes()), Some(TAG));
            }
        }
    }

    #[test]
    fn a_damaged_value_is_noticed() {
        let values = Values::new(80);
        let good = event(&values, 1_000);
        let start = good.find(BEGIN).expect("a value");
        let end = good.find(",\"headers\"").expect("its end");
        for at in start..end {
            let mut damaged = good.clone().into_bytes();
            damaged[at] = b'~';
            assert_eq!(values.sent_us(&damaged), None, "byte {at}");
        }
        for empty in [&b""[..], br#"{"w":"#, br#"{"w":1,"#, br#"{"w":1,"n":}"#] {
            assert_eq!(values.tag(empty), None);
        }
    }
}

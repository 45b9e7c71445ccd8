//! What is published: a value that tells when it was sent, and that can be told from a damaged one.

use std::fmt::Write;
use std::time::Instant;

use memchr::memmem;

/// The time since the load began, the same for publishers and subscribers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now_us(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Values of one length: `{"t":<microseconds>,"p":"<text>"}`.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    len_bytes: usize,
    /// Where the text is taken from.
    filler: String,
}

const BEGIN: &str = r#"{"t":"#;
const MIDDLE: &str = r#","p":""#;
const END: &str = r#""}"#;

impl Values {
    /// The least length: the longest time, and some text.
    pub(crate) const LEN_BYTES_MIN: usize = 40;

    /// Of so many bytes, at least [`Self::LEN_BYTES_MIN`].
    pub(crate) fn new(len_bytes: usize) -> Self {
        let len_bytes = len_bytes.max(Self::LEN_BYTES_MIN);
        Self { len_bytes, filler: std::iter::repeat_with(fastrand::alphanumeric).take(len_bytes).collect() }
    }

    /// Writes a value that was sent at this time.
    pub(crate) fn write(&self, sent_us: u64, out: &mut String) {
        let from = out.len();
        let _ = write!(out, "{BEGIN}{sent_us}{MIDDLE}");
        let text = self.text(out.len() - from);
        out.push_str(text);
        out.push_str(END);
    }

    /// When the value in this event, which stands behind `"value":`, was sent. `None` if it is not as it was written.
    pub(crate) fn read(&self, event: &[u8]) -> Option<u64> {
        let at = memmem::find(event, br#""value":"#)?;
        let value = event.get(at + br#""value":"#.len()..)?;
        let digits = value.strip_prefix(BEGIN.as_bytes())?;
        let (sent_us, rest) = number(digits)?;
        let rest = rest.strip_prefix(MIDDLE.as_bytes())?;
        let text = self.text(value.len() - rest.len());
        let end = rest.strip_prefix(text.as_bytes())?.strip_prefix(END.as_bytes())?;
        matches!(end.first(), None | Some(b',' | b'}')).then_some(sent_us)
    }

    /// What fills a value of which so much is written.
    fn text(&self, written: usize) -> &str {
        let len = self.len_bytes.saturating_sub(written + END.len());
        self.filler.get(..len).unwrap_or(&self.filler)
    }
}

/// The number of a message in its topic.
pub(crate) fn seq(event: &[u8]) -> Option<u64> {
    // The only fields before it are an id and the name of our topic, so what is found first is the field.
    let at = memmem::find(event, br#""seq":"#)?;
    number(event.get(at + br#""seq":"#.len()..)?).map(|(seq, _)| seq)
}

/// The digits that a text begins with, and what follows them.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(len)?;
    let digits = (!digits.is_empty()).then_some(digits)?;
    let number =
        digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    Some((number?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(values: &Values, sent_us: u64) -> String {
        let mut event = r#"data: {"id":"k-1","topic":"bench","seq":42,"value":"#.to_owned();
        values.write(sent_us, &mut event);
        event + r#","headers":{}}"#
    }

    #[test]
    fn a_value_has_its_length_and_tells_when_it_was_sent() {
        for len in [40, 150, 5_000] {
            let values = Values::new(len);
            for sent_us in [0, 7, 1_234_567, u64::MAX / 10] {
                let mut value = String::new();
                values.write(sent_us, &mut value);
                assert_eq!(value.len(), len);
                assert!(serde_json::from_str::<serde_json::Value>(&value).is_ok());
                let event = event(&values, sent_us);
                assert_eq!(values.read(event.as_bytes()), Some(sent_us));
                assert_eq!(seq(event.as_bytes()), Some(42));
            }
        }
    }

    #[test]
    fn a_damaged_value_is_noticed() {
        let values = Values::new(60);
        let good = event(&values, 1_000);
        let start = good.find("{\"t\"").expect("a value");
        let end = good.find(",\"headers\"").expect("its end");
        for at in start..end {
            let mut damaged = good.clone().into_bytes();
            damaged[at] = b'~';
            assert_eq!(values.read(&damaged), None, "byte {at}");
        }
        for empty in [&b""[..], br#""value":"#, br#""value":null,"#, br#""value":{},"#] {
            assert_eq!(values.read(empty), None);
        }
    }
}

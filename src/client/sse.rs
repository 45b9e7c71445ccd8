//! Server-Sent Events, as the HTML standard has clients read them (section 9.2.6).

use std::mem;
use std::time::Duration;

/// Of one event, more than any node sends.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// Empty if it has no name.
    pub(super) kind: String,
    pub(super) data: String,
}

/// Takes a stream in pieces that may end anywhere.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The line that has not ended yet.
    line: Vec<u8>,
    after_cr: bool,
    kind: String,
    data: String,
    /// The id of the stream, which stays as it is until there is another one.
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// Hands out each event that is complete with these bytes, with the stream's last id. False: an event is endless.
    pub(super) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(SseEvent, Option<&str>)) -> bool {
        for byte in bytes {
            let after_cr = mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    let line = mem::take(&mut self.line);
                    if let Some(event) = self.end_line(&String::from_utf8_lossy(&line)) {
                        each(event, self.last_id.as_deref());
                    }
                }
                byte => self.line.push(*byte),
            }
        }
        self.line.len() + self.data.len() <= EVENT_BYTES_MAX
    }

    /// When to come back after the end, if the stream has said so.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn end_line(&mut self, line: &str) -> Option<SseEvent> {
        if line.is_empty() {
            let (kind, mut data) = (mem::take(&mut self.kind), mem::take(&mut self.data));
            return data.pop().map(|_| SseEvent { kind, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.last_id = Some(value.to_owned()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_alike_wherever_its_pieces_end() {
        let stream = ": hi\nretry: 1500\nid: 1\r\nevent: x\ndata: a\ndata:  b\r\rid: 2\n\ndata\n\ndata: ä\n\ndata: cut";
        let expected = [("x", "a\n b", Some("1")), ("", "", Some("2")), ("", "ä", Some("2"))];
        for cut in 0..=stream.len() {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for piece in [&stream.as_bytes()[..cut], &stream.as_bytes()[cut..]] {
                assert!(parser.feed(piece, |event, id| found.push((event.kind, event.data, id.map(str::to_owned)))));
            }
            let found: Vec<_> = found.iter().map(|(kind, data, id)| (&**kind, &**data, id.as_deref())).collect();
            assert_eq!(found, expected, "cut at {cut}");
            assert_eq!(parser.retry(), Some(Duration::from_millis(1500)));
        }
    }

    #[test]
    fn an_endless_event_is_noticed() {
        let mut parser = Parser::default();
        assert!(parser.feed(b"data: ", |_, _| ()));
        assert!(!parser.feed(&vec![b'x'; EVENT_BYTES_MAX + 1], |_, _| ()));
    }
}

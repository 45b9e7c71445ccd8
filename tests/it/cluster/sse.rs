//! Server-Sent Events as the HTML standard reads them (section 9.2.6), written from the standard and not from our writer.

use std::mem;

/// An event as a page would see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// `message` if the block named none.
    pub(crate) kind: String,
    /// The last id of the stream when the event was dispatched.
    pub(crate) id: String,
    /// Whether the block had an id of its own.
    pub(crate) has_id: bool,
    pub(crate) data: String,
}

impl Event {
    /// The data, which every event of the broker has as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

/// Takes a stream in pieces that may end anywhere.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Whether the byte order mark at the beginning, if there is one, lies behind.
    begun: bool,
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// A CR has ended the last line: a LF that follows belongs to it.
    after_cr: bool,
    kind: String,
    data: String,
    has_id: bool,
    last_id: String,
    /// Milliseconds.
    retry: Option<u64>,
    comments: usize,
    ghosts: usize,
    in_block: bool,
}

impl Parser {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in bytes {
            let after_cr = mem::take(&mut self.after_cr);
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    self.after_cr = *byte == b'\r';
                    events.extend(self.end_line());
                }
                byte => self.line.push(*byte),
            }
        }
        events
    }

    /// The reconnection time that the stream asked for, in milliseconds.
    pub(crate) fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// Comments so far.
    pub(crate) fn comments(&self) -> usize {
        self.comments
    }

    /// Blank lines behind something that is no event, so far. The standard ignores them; several clients make empty
    /// events of them.
    pub(crate) fn ghosts(&self) -> usize {
        self.ghosts
    }

    /// Whether the stream, if it ended here, would end within an event.
    pub(crate) fn is_within_event(&self) -> bool {
        !self.line.is_empty() || !self.data.is_empty() || !self.kind.is_empty() || self.has_id
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let at_start = !mem::replace(&mut self.begun, true);
        let text = text.strip_prefix('\u{feff}').filter(|_| at_start).unwrap_or(&text);
        if text.is_empty() {
            return self.dispatch();
        }
        self.in_block = true;
        if text.starts_with(':') {
            self.comments += 1;
            return None;
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => {
                value.clone_into(&mut self.last_id);
                self.has_id = true;
            }
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok();
            }
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        let (kind, mut data) = (mem::take(&mut self.kind), mem::take(&mut self.data));
        let (has_id, in_block) = (mem::take(&mut self.has_id), mem::take(&mut self.in_block));
        if data.is_empty() {
            self.ghosts += usize::from(in_block);
            return None;
        }
        data.pop();
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(Event { kind, id: self.last_id.clone(), has_id, data })
    }
}

#[test]
fn a_stream_is_read_alike_wherever_its_pieces_end() {
    let stream = "\u{feff}:\nretry: 1500\r\n: hi\r\rid: 1\nevent:x\ndata: a\ndata:  b\n\ndata\n\nid: 2\r\ndata: ä\r\n\r\nevent: y\nid: 3\n\ndata: cut";
    let event = |kind: &str, id: &str, has_id, data: &str| Event {
        kind: kind.to_owned(),
        id: id.to_owned(),
        has_id,
        data: data.to_owned(),
    };
    let expected = [event("x", "1", true, "a\n b"), event("message", "1", false, ""), event("message", "2", true, "ä")];
    for cut in 0..=stream.len() {
        let mut parser = Parser::default();
        let mut events = parser.feed(&stream.as_bytes()[..cut]);
        events.extend(parser.feed(&stream.as_bytes()[cut..]));
        assert_eq!(events, expected, "cut at {cut}");
        assert_eq!((parser.retry(), parser.comments(), parser.ghosts()), (Some(1500), 2, 2));
        assert!(parser.is_within_event());
        assert_eq!(parser.last_id, "3", "a block without data still moves the id");
    }
}

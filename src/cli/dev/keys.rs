//! Keys, as they are pressed on a terminal or come as letters from elsewhere.

use std::io::{self, Read};
use std::sync::mpsc::Sender;
use std::thread;

use super::Event;
use crate::cli::terminal::Raw;

/// What is ordered by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Kill a node, or start it again.
    Node(u16),
    Add,
    Quit,
}

impl Key {
    fn of(byte: u8) -> Option<Self> {
        match byte {
            b'1'..=b'9' => Some(Self::Node(u16::from(byte - b'0'))),
            b'a' => Some(Self::Add),
            b'q' => Some(Self::Quit),
            _ => None,
        }
    }
}

/// Sends each key as an event.
pub(super) fn listen(events: Sender<Event>) -> Raw {
    let raw = Raw::enter();
    thread::spawn(move || {
        for key in io::stdin().lock().bytes().map_while(Result::ok).filter_map(Key::of) {
            if events.send(Event::Key(key)).is_err() {
                return;
            }
        }
    });
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_an_order_or_nothing() {
        let keys = *b"19aq0\nx";
        let orders = keys.map(Key::of);
        let expected = [Some(Key::Node(1)), Some(Key::Node(9)), Some(Key::Add), Some(Key::Quit), None, None, None];
        assert_eq!(orders, expected);
    }
}

//! Keys, as they are pressed on a terminal or come as letters from elsewhere.

use std::io::{self, IsTerminal, Read};
use std::sync::mpsc::Sender;
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Event;

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

/// A terminal that gives keys at once and doesn't show them, until this is dropped.
pub(super) struct Raw(Option<Termios>);

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

impl Raw {
    fn enter() -> Self {
        let stdin = io::stdin();
        let Some(before) = stdin.is_terminal().then(|| tcgetattr(&stdin).ok()).flatten() else { return Self(None) };
        let mut modes = before.clone();
        // Ctrl-C stays a signal.
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        // Without it keys need Enter, and show; that is all.
        let _ = tcsetattr(&stdin, OptionalActions::Now, &modes);
        Self(Some(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
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

//! The keys of a live screen.

use std::io::{self, Read};
use std::thread;

use tokio::sync::mpsc::{self, UnboundedReceiver};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Up,
    Down,
    /// Another order.
    Next,
    Previous,
}

/// Bytes become keys, of which arrows have three.
#[derive(Debug, Default)]
struct Keyboard {
    escaped: usize,
}

impl Keyboard {
    fn press(&mut self, byte: u8) -> Option<Key> {
        let before = self.escaped;
        self.escaped = 0;
        match (before, byte) {
            (_, 0x1b) => self.escaped = 1,
            (1, b'[' | b'O') => self.escaped = 2,
            (2, b'A') | (0, b'k') => return Some(Key::Up),
            (2, b'B') | (0, b'j') => return Some(Key::Down),
            (2, b'C') | (0, b's') => return Some(Key::Next),
            (2, b'D') => return Some(Key::Previous),
            // Ctrl-C and Ctrl-D among them.
            (0, b'q' | 0x03 | 0x04) => return Some(Key::Quit),
            _ => {}
        }
        None
    }
}

/// Keys as they are pressed. Ends with standard input.
pub(super) fn listen() -> UnboundedReceiver<Key> {
    let (send, keys) = mpsc::unbounded_channel();
    // It waits for a key until the process ends.
    thread::spawn(move || {
        let mut keyboard = Keyboard::default();
        for byte in io::stdin().lock().bytes().map_while(Result::ok) {
            if let Some(key) = keyboard.press(byte)
                && send.send(key).is_err()
            {
                return;
            }
        }
    });
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_and_letters_are_keys_and_all_else_is_nothing() {
        let mut keyboard = Keyboard::default();
        let keys: Vec<Key> = b"\x1b[A\x1bOBx\x1b[Cs\x1b[D\x1b\x1b[5~kj\xc3\xa4\x03q"
            .iter()
            .filter_map(|byte| keyboard.press(*byte))
            .collect();
        let expected =
            [Key::Up, Key::Down, Key::Next, Key::Next, Key::Previous, Key::Up, Key::Down, Key::Quit, Key::Quit];
        assert_eq!(keys, expected);
    }
}

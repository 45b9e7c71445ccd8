//! The terminal as a place for keys and pictures, put back as it was.

use std::io::{self, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// A terminal that gives keys at once and doesn't show them, until this is dropped.
#[derive(Debug)]
pub(super) struct Raw(Option<Termios>);

impl Raw {
    /// Ctrl-C stays a signal.
    pub(super) fn enter() -> Self {
        Self::without(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Ctrl-C is a key like any other.
    pub(super) fn enter_with_all_keys() -> Self {
        Self::without(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    fn without(modes: LocalModes) -> Self {
        let stdin = io::stdin();
        let Some(before) = stdin.is_terminal().then(|| tcgetattr(&stdin).ok()).flatten() else { return Self(None) };
        let mut now = before.clone();
        now.local_modes.remove(modes);
        // Without it keys need Enter, and show; that is all.
        let _ = tcsetattr(&stdin, OptionalActions::Now, &now);
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

/// A screen of its own on standard output, until this is dropped.
#[derive(Debug)]
pub(super) struct Screen;

impl Screen {
    /// The other screen, no cursor, and lines that end at the edge (ECMA-48, and xterm's private modes).
    const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
    const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

    /// # Errors
    /// It can't be written.
    pub(super) fn enter() -> io::Result<Self> {
        write(Self::ENTER)?;
        Ok(Self)
    }

    /// Columns and lines.
    pub(super) fn size() -> (usize, usize) {
        let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
    }

    /// Shows these lines and nothing else, without a moment in which nothing is shown.
    ///
    /// # Errors
    /// They can't be written.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let mut text = "\x1b[H".to_owned();
        for (number, line) in lines.iter().enumerate() {
            text += if number == 0 { "" } else { "\r\n" };
            text += line;
            text += "\x1b[0m\x1b[K";
        }
        write(&(text + "\x1b[J"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(Self::LEAVE);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

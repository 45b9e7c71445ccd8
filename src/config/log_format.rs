//! How the log looks.

use super::value::Text;

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum LogFormat {
    /// [`Self::Text`] on a terminal, else [`Self::Json`].
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Text for LogFormat {
    const NAME: &str = "FORMAT";
    const EXPECTED: &str = "one of auto, text and json";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

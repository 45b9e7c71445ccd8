//! Patterns over topic names.

use super::value::Text;
use crate::domain::Pattern;

impl Text for Pattern {
    const NAME: &str = "PATTERN";
    const EXPECTED: &str = "a pattern over topic names, such as news, news:* or public:**";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

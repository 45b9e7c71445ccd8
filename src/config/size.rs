//! Numbers of bytes.

use super::value::Text;

/// A number of bytes, written `65536`, `64KiB` or `1GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// Wraps a number of bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// A number of bytes as settings have it: `64KiB`.
#[must_use]
pub fn size(text: &str) -> Option<Size> {
    Size::parse(text)
}

impl Text for Size {
    const NAME: &str = "SIZE";
    const EXPECTED: &str = "a number of bytes, such as 65536, 64KiB, 16MiB or 1GB";

    fn parse(text: &str) -> Option<Self> {
        let unit_at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let unit: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            // "64K" is 64,000 to some and 65,536 to others.
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_that_means_one_thing() {
        let bytes = |text: &str| Size::parse(text).map(Size::bytes);
        assert_eq!(bytes("65536"), Some(65_536));
        assert_eq!(bytes("64KiB"), Some(65_536));
        assert_eq!(bytes("64 kib"), Some(65_536));
        assert_eq!(bytes("1GB"), Some(1_000_000_000));
        for text in ["", "B", "64K", "-1", "1.5MiB", "1TiB?", "18446744073709551615KiB", "٣KiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}

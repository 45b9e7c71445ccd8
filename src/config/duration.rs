//! Spans of time.

use std::time::Duration;

use super::value::Text;

/// A time as settings have it: `15m`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    Duration::parse(text)
}

impl Text for Duration {
    const NAME: &str = "TIME";
    const EXPECTED: &str = "a time with its unit, such as 500ms, 15s, 10m, 24h, 7d or 1h30m";

    fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut total_ms = 0_u64;
        while !rest.is_empty() {
            let unit_at = rest.find(|character: char| !character.is_ascii_digit())?;
            let (number, from_unit) = rest.split_at(unit_at);
            let number_at = from_unit.find(|character: char| character.is_ascii_digit()).unwrap_or(from_unit.len());
            let (unit, after) = from_unit.split_at(number_at);
            let unit_ms = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            total_ms = total_ms.checked_add(number.parse::<u64>().ok()?.checked_mul(unit_ms)?)?;
            rest = after;
        }
        (!text.is_empty()).then(|| Self::from_millis(total_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_names_its_unit() {
        let ms = |text: &str| Duration::parse(text).map(|time| time.as_millis());
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("0s"), Some(0));
        assert_eq!(ms("1h30m"), Some(5_400_000));
        assert_eq!(ms("7d"), Some(604_800_000));
        for text in ["", "15", "s", "1.5s", "-1s", "1 s", "1y", "10m5", "18446744073709551615d", "1sä"] {
            assert_eq!(ms(text), None, "{text}");
        }
    }
}

//! How the text of a setting becomes a value.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Kind, Setting};

/// One value as text.
pub(super) trait Text: Sized + PartialOrd {
    /// What the help calls it.
    const NAME: &str;

    /// What a text has to be, as the end of the sentence "… is not …".
    const EXPECTED: &str;

    fn parse(text: &str) -> Option<Self>;
}

/// The type of a setting: one value, an optional one, several, or a switch.
pub(super) trait Value: Sized {
    const KIND: Kind;

    /// # Errors
    /// The first text that is wrong.
    fn read(setting: &Setting, texts: &[String]) -> Result<Self, Wrong>;
}

/// A text that is not a value of its setting.
pub(super) struct Wrong {
    pub(super) text: String,
    pub(super) reason: String,
}

impl Wrong {
    fn new(text: &str, reason: impl Into<String>) -> Self {
        Self { text: text.to_owned(), reason: reason.into() }
    }
}

/// Parses one text and holds it to the bounds of its setting.
fn parse<T: Text>(setting: &Setting, text: &str) -> Result<T, Wrong> {
    let value = T::parse(text).ok_or_else(|| Wrong::new(text, format!("is not {}", T::EXPECTED)))?;
    let bound = |bound: Option<&str>| bound.map(|text| T::parse(text).expect("the bounds in the table are valid"));
    if let (Some(text_of_min), Some(min)) = (setting.min, bound(setting.min))
        && value < min
    {
        return Err(Wrong::new(text, format!("is too little: at least {text_of_min}")));
    }
    if let (Some(text_of_max), Some(max)) = (setting.max, bound(setting.max))
        && value > max
    {
        return Err(Wrong::new(text, format!("is too much: at most {text_of_max}")));
    }
    Ok(value)
}

/// The text of a setting that takes one.
fn only(texts: &[String]) -> Result<Option<&str>, Wrong> {
    match texts {
        [] => Ok(None),
        [text] => Ok(Some(text)),
        [.., last] => Err(Wrong::new(last, "is one value too many")),
    }
}

impl<T: Text> Value for T {
    const KIND: Kind = Kind::One(T::NAME);

    fn read(setting: &Setting, texts: &[String]) -> Result<Self, Wrong> {
        parse(setting, only(texts)?.unwrap_or_default())
    }
}

impl<T: Text> Value for Option<T> {
    const KIND: Kind = Kind::One(T::NAME);

    fn read(setting: &Setting, texts: &[String]) -> Result<Self, Wrong> {
        only(texts)?.map(|text| parse(setting, text)).transpose()
    }
}

impl<T: Text> Value for Vec<T> {
    const KIND: Kind = Kind::Many(T::NAME);

    fn read(setting: &Setting, texts: &[String]) -> Result<Self, Wrong> {
        items(texts).map(|text| parse(setting, text)).collect()
    }
}

/// The items of a list, which commas may separate.
pub(super) fn items(texts: &[String]) -> impl Iterator<Item = &str> {
    texts.iter().flat_map(|text| text.split(',')).map(str::trim)
}

impl Value for bool {
    const KIND: Kind = Kind::Switch;

    fn read(_: &Setting, texts: &[String]) -> Result<Self, Wrong> {
        match only(texts)? {
            Some("true" | "1") => Ok(true),
            None | Some("false" | "0") => Ok(false),
            Some(text) => Err(Wrong::new(text, "is neither true nor false")),
        }
    }
}

impl Text for u64 {
    const NAME: &str = "COUNT";
    const EXPECTED: &str = "a whole number of 0 or more";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Text for f64 {
    const NAME: &str = "NUMBER";
    const EXPECTED: &str = "a number, such as 0.01";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &Self| number.is_finite())
    }
}

impl Text for String {
    const NAME: &str = "TEXT";
    const EXPECTED: &str = "a text";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl Text for PathBuf {
    const NAME: &str = "PATH";
    const EXPECTED: &str = "a path";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }
}

impl Text for SocketAddr {
    const NAME: &str = "IP:PORT";
    const EXPECTED: &str = "an IP address and a port, such as 127.0.0.1:7375, 0.0.0.0:7375 or [::1]:7375";

    fn parse(text: &str) -> Option<Self> {
        // The one name that means the same everywhere.
        match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}").parse().ok(),
            None => text.parse().ok(),
        }
    }
}

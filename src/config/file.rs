//! Settings from a TOML file.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{ConfigError, SETTINGS, Setting};

/// A setting, the line it stands in, and its values.
type Entry = (&'static Setting, usize, Vec<String>);

/// Reads a file. Notes names and values that no setting has.
///
/// # Errors
/// It can't be read, or is not TOML.
pub(super) fn read(path: &Path, faults: &mut Vec<ConfigError>) -> Result<Vec<Entry>, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::FileUnreadable { path: path.to_owned(), source })?;
    parse(path, &text, faults)
}

fn parse(path: &Path, text: &str, faults: &mut Vec<ConfigError>) -> Result<Vec<Entry>, ConfigError> {
    let line_of = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: line_of(error.span().map_or(0, |span| span.start)),
        message: error.message().trim().replace('\n', ", "),
    })?;
    let mut entries = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line_of(key.span().start);
        let name = key.get_ref();
        let setting = SETTINGS.iter().find(|setting| setting.name() == *name);
        match (setting, texts(value.get_ref())) {
            (None, _) => faults.push(ConfigError::unknown_key(path, line, name)),
            (Some(setting), None) => faults.push(ConfigError::ValueKind {
                path: path.to_owned(),
                line,
                name: setting.name(),
                kind: value.get_ref().type_str(),
            }),
            (Some(setting), Some(texts)) => entries.push((setting, line, texts)),
        }
    }
    Ok(entries)
}

/// The texts of a value that a setting may have.
fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::Array(items) => items.iter().map(|item| scalar(item.get_ref())).collect(),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => scalar(value).map(|text| vec![text]),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        // What doesn't fit is refused by the setting, in its own words.
        DeValue::Integer(number) => Some(
            u64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        ),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(on) => Some(on.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_may_be_a_text_a_number_a_switch_or_a_list() {
        let text = "# comment\nlisten = '127.0.0.1:1'\n\nmax-bytes = 0x400\nmax-messages = 1_000\nauto-create = true\ntrace-ratio = 1e-2\njoin = [\n 'a',\n 'b:1'\n]\n";
        let entries = parse(Path::new("repl.toml"), text, &mut Vec::new()).expect("valid");
        let mut lines: Vec<_> =
            entries.iter().map(|(setting, line, texts)| (*line, setting.field, texts.join(" "))).collect();
        lines.sort();
        let expected = [
            (2, "listen", "127.0.0.1:1"),
            (4, "max_bytes", "1024"),
            (5, "max_messages", "1000"),
            (6, "auto_create", "true"),
            (7, "trace_ratio", "1e-2"),
            (8, "join", "a b:1"),
        ];
        assert_eq!(lines, expected.map(|(line, name, text)| (line, name, text.to_owned())));
    }

    proptest! {
        #[test]
        fn any_text_is_a_table_of_settings_or_an_error(text: String) {
            let _ = parse(Path::new("repl.toml"), &text, &mut Vec::new());
        }

        #[test]
        fn any_toml_is_a_table_of_settings_or_an_error(
            text in "((listen|max-bytes|join|a\\.b|\\[t\\])( = )?(\"x\"|'|0x1f|99999999999999999999|-1|1e5|true|\\[|\\]|\\{|\\}|,|2026-01-01)?\n?){0,8}"
        ) {
            let _ = parse(Path::new("repl.toml"), &text, &mut Vec::new());
        }
    }
}

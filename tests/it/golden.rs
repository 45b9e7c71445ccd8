//! Texts that users see, each kept in a file, so that a change of it is read before it is committed.

use std::env;
use std::fs;
use std::path::Path;

/// Compares a text with `tests/it/golden/<name>`. With `UPDATE_GOLDENFILES=1` the text is written there instead.
#[track_caller]
pub(crate) fn check(name: &str, text: &str) {
    check_at(&format!("tests/it/golden/{name}"), text);
}

/// The same, of any file of the repository.
#[track_caller]
pub(crate) fn check_at(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if env::var_os("UPDATE_GOLDENFILES").is_some_and(|value| value == "1") {
        fs::write(&path, text).expect("the golden file can be written");
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == golden, "{name} has changed (if that is right, UPDATE_GOLDENFILES=1 writes it):\n{text}");
}

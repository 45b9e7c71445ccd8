//! What commands print on standard output: for people unless `--output json` asks for a document, one for each command,
//! whose members keep their names and meaning.

use std::fmt::Display;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches};
use serde_json::{Value, json};

use super::exit;

/// What a command has come to.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) text: String,
    /// How the program ends.
    pub(super) code: u8,
}

impl From<String> for Done {
    fn from(text: String) -> Self {
        Self { text, code: exit::DONE }
    }
}

/// The argument of a command that can print both.
pub(super) fn argument() -> Arg {
    Arg::new("output")
        .long("output")
        .value_name("FORMAT")
        .help("How to print it")
        .default_value("text")
        .value_parser(PossibleValuesParser::new(["text", "json"]))
}

/// A number of things. What they are called has an s if they are many.
pub(super) fn counted(number: impl Copy + Display + From<u8> + PartialEq, name: &str) -> String {
    format!("{number} {name}{}", if number == 1.into() { "" } else { "s" })
}

/// Whether a document was asked for.
pub(super) fn is_json(matches: &ArgMatches) -> bool {
    matches.get_one::<String>("output").is_some_and(|output| output == "json")
}

/// What was asked for: the document, or the text.
pub(super) fn choose(matches: &ArgMatches, document: &impl Display, text: impl FnOnce() -> String) -> String {
    if is_json(matches) { format!("{document}\n") } else { text() }
}

/// The document that answers a question (`valid`, `accepted`) with no, and says why. There is one reason at least.
pub(super) fn no(question: &str, errors: &[anyhow::Error]) -> Done {
    let error = |error: &anyhow::Error| {
        let causes: Value = error.chain().skip(1).map(ToString::to_string).collect();
        json!({ "error": error.to_string(), "causes": causes })
    };
    let document = json!({ question: false, "errors": errors.iter().map(error).collect::<Vec<_>>() });
    Done { text: format!("{document}\n"), code: errors.first().map_or(exit::FAILED, exit::code) }
}

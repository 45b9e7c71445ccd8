//! A file of settings to begin with: every setting, what it is for, and what holds unless it is said.

use std::fmt::Write;

use super::{Fallback, Kind, SETTINGS, Setting};

const HEAD: &str = "\
# Settings of repl. As it stands, this file changes nothing: take away the # before a setting to change it. A flag
# (--data-dir) and a variable (REPL_DATA_DIR) beat what stands here. `repl config check --config FILE` reads it.
#
# SIZE is 65536, \"64KiB\", \"16MiB\" or \"1GB\"; TIME is \"500ms\", \"15s\", \"10m\", \"24h\", \"7d\" or \"1h30m\".
";

/// Of a line, in characters.
const WIDTH: usize = 110;

/// The text of a configuration file that says nothing, and explains everything that may be said.
#[must_use]
pub fn template() -> String {
    let mut text = HEAD.to_owned();
    let mut group = "";
    for setting in SETTINGS.iter().filter(|setting| setting.group != Setting::HIDDEN) {
        if setting.group != group {
            group = setting.group;
            let _ = write!(text, "\n# ---- {group} ----\n");
        }
        let _ = write!(text, "\n{}#{} = {}\n", comment(&explanation(setting)), setting.name(), value(setting));
    }
    text
}

fn explanation(setting: &Setting) -> String {
    let unset = match setting.fallback {
        Fallback::Unset(what) if setting.kind != Kind::Switch => format!(" Unless said: {what}."),
        Fallback::Unset(_) | Fallback::Value(_) => String::new(),
    };
    let bound = |name: &str, bound: Option<&str>| bound.map(|bound| format!(" {name} {bound}.")).unwrap_or_default();
    format!("{}{unset}{}{}", setting.help.trim(), bound("At least", setting.min), bound("At most", setting.max))
}

/// The default; or, where there is none, what kind of value it takes.
fn value(setting: &Setting) -> String {
    match (setting.fallback, setting.kind) {
        (Fallback::Value(text), _) if text.parse::<u64>().is_ok() => text.to_owned(),
        (Fallback::Value(text), _) => format!("{text:?}"),
        (Fallback::Unset(_), Kind::Switch) => "false".to_owned(),
        (Fallback::Unset(_), Kind::One(name)) => format!("{name:?}"),
        (Fallback::Unset(_), Kind::Many(name)) => format!("[{name:?}]"),
    }
}

fn comment(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the beginning");
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("# {word}"));
        } else {
            *line += " ";
            *line += word;
        }
    }
    lines.join("\n") + "\n"
}

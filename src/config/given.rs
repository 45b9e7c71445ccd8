//! What was said, and by whom.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::value::{self, Value};
use super::{ConfigError, Fallback, Kind, Setting};

/// Where the value of a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The configuration file.
    File {
        /// Its path, as given.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// Nobody said anything.
    Default,
}

impl Origin {
    /// How to name the setting to whoever set it there.
    #[must_use]
    pub fn name(&self, setting: &Setting) -> String {
        match self {
            Self::Flag => setting.flag(),
            Self::Environment => setting.variable(),
            Self::File { path, line } => format!("{}, line {line}: `{}`", path.display(), setting.name()),
            Self::Default => format!("the default of {}", setting.flag()),
        }
    }
}

/// The settings that somebody said something about, as text.
#[derive(Debug, Default)]
pub struct Given(BTreeMap<&'static str, (Origin, Vec<String>)>);

impl Given {
    /// Where the value of a setting came from.
    #[must_use]
    pub fn origin(&self, setting: &Setting) -> Origin {
        self.0.get(setting.field).map_or(Origin::Default, |(origin, _)| origin.clone())
    }

    /// The value of a setting as it was written, or its default.
    #[must_use]
    pub fn texts(&self, setting: &Setting) -> Vec<String> {
        match (self.0.get(setting.field), setting.fallback) {
            (Some((_, texts)), _) => texts.clone(),
            (None, Fallback::Value(text)) => vec![text.to_owned()],
            (None, Fallback::Unset(_)) => Vec::new(),
        }
    }

    /// The values of a setting, one each; of a list its items.
    #[must_use]
    pub fn values(&self, setting: &Setting) -> Vec<String> {
        let texts = self.texts(setting);
        match setting.kind {
            Kind::Many(_) => value::items(&texts).map(str::to_owned).collect(),
            Kind::Switch | Kind::One(_) => texts,
        }
    }

    /// Notes a value, unless there is one: whoever has more to say comes first.
    pub(super) fn add(&mut self, setting: &Setting, origin: Origin, texts: Vec<String>) {
        self.0.entry(setting.field).or_insert((origin, texts));
    }

    /// The value of a setting.
    pub(super) fn read<V: Value>(&self, setting: &Setting) -> Result<V, ConfigError> {
        V::read(setting, &self.texts(setting)).map_err(|wrong| self.wrong(setting, &wrong.text, wrong.reason))
    }

    /// The error for a value that is refused where it is used, such as a filter that the log doesn't understand.
    #[must_use]
    pub fn wrong(&self, setting: &Setting, text: &str, reason: String) -> ConfigError {
        ConfigError::Value { name: self.origin(setting).name(setting), text: text.to_owned(), reason }
    }
}

//! One setting: its name in three spellings, and what the help says of it.

use super::value::Value;

/// A row of the table of settings.
#[derive(Debug)]
pub struct Setting {
    /// The field of [`super::Settings`] that holds the value.
    pub field: &'static str,
    /// What it is for, in a sentence or two.
    pub help: &'static str,
    /// The heading under which the help lists it. [`Self::HIDDEN`] is not listed.
    pub group: &'static str,
    /// How many values it takes, and what to call them.
    pub kind: Kind,
    /// What holds when nobody says anything.
    pub fallback: Fallback,
    /// The least value, as text.
    pub min: Option<&'static str>,
    /// The greatest value, as text.
    pub max: Option<&'static str>,
}

/// How many values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; a flag alone means `true`.
    Switch,
    /// One value, of the kind named.
    One(&'static str),
    /// Any number: a flag given several times, commas, or a TOML array.
    Many(&'static str),
}

/// What holds when nobody says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This value.
    Value(&'static str),
    /// No value; the text says what happens then, for the help.
    Unset(&'static str),
}

impl Setting {
    /// The group of settings that only tests and experts turn.
    pub const HIDDEN: &str = "Internals";

    /// The name: `data-dir`, as in the file.
    #[must_use]
    pub fn name(&self) -> String {
        self.field.replace('_', "-")
    }

    /// The name on the command line: `--data-dir`.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.name())
    }

    /// The name in the environment: `REPL_DATA_DIR`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("REPL_{}", self.field.to_ascii_uppercase())
    }

    /// A row of the table. `V` says how many values there are and what they are called.
    pub(super) const fn new<V: Value>(
        field: &'static str,
        help: &'static str,
        group: &'static str,
        fallback: Fallback,
        min: Option<&'static str>,
        max: Option<&'static str>,
    ) -> Self {
        Self { field, help, group, kind: V::KIND, fallback, min, max }
    }
}

/// Turns the table into the struct of values, the list of rows, and the function that fills the one by the other.
macro_rules! settings {
    (
        $(#[$doc:meta])*
        pub struct $name:ident;
        $($group:expr => {
            $(
                $(#[doc = $help:literal])+
                $field:ident: $type:ty = $fallback:expr $(, from $min:literal)? $(, to $max:literal)?;
            )+
        })+
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($($(#[doc = $help])+ pub $field: $type,)+)+
        }

        /// Every setting, in the order of the help.
        pub static SETTINGS: &[Setting] = &[
            $($(Setting::new::<$type>(
                stringify!($field),
                concat!($($help),+),
                $group,
                $fallback,
                settings!(@bound $($min)?),
                settings!(@bound $($max)?),
            ),)+)+
        ];

        impl $name {
            /// Turns texts into values. Notes those that are none.
            pub(super) fn read(given: &Given, faults: &mut Vec<ConfigError>) -> Option<Self> {
                let mut rows = SETTINGS.iter();
                $($(
                    let row = rows.next().expect("there is a row for each field");
                    let $field = given.read(row).map_err(|fault| faults.push(fault)).ok();
                )+)+
                Some(Self { $($($field: $field?,)+)+ })
            }
        }
    };
    (@bound $bound:literal) => { Some($bound) };
    (@bound) => { None };
}
pub(super) use settings;

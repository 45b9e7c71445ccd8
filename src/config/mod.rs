//! What the operator says: every setting, where its value came from, and whether the values go together.
//!
//! A setting is defined once, in the table of [`settings`](self::Settings); the table yields the struct, the flags, the
//! help and the rules. It has one name in three spellings: `--data-dir`, `REPL_DATA_DIR`, and `data-dir = …` in a TOML
//! file. A flag beats the environment, which beats the file, which beats the default; a list is replaced as a whole,
//! never merged.
//!
//! A name that is not in the table is refused wherever it stands, with the name that was probably meant: a setting that
//! is silently ignored is found out in production. Texts become types here, so that nothing behind this module parses
//! or doubts them.
//!
//! It is *not* where a part of the server keeps its options: `server` reads [`Settings`] and hands each part its own
//! few values, so that the layers below don't know the whole. Nor does it touch the network or the data directory.

mod address;
mod check;
mod collector_url;
mod cors_origin;
mod duration;
mod environment;
mod error;
mod file;
mod given;
mod jwks_url;
mod log_format;
mod pattern;
mod secret;
mod setting;
mod settings;
mod size;
mod template;
mod value;

use std::ffi::OsString;
use std::path::Path;

pub use address::{Advertised, JoinTarget, PeerAddress};
pub use collector_url::CollectorUrl;
pub use cors_origin::CorsOrigin;
pub use duration::duration;
pub use error::ConfigError;
pub use given::{Given, Origin};
pub use jwks_url::JwksUrl;
pub use log_format::LogFormat;
pub use secret::{ClusterSecret, SecretError};
pub use setting::{Fallback, Kind, Setting};
pub use settings::{CONFIG, SETTINGS, Settings, reachable};
pub use size::{Size, size};
pub use template::template;

/// Valid settings, and where each came from.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub settings: Settings,
    /// What was said, by whom.
    pub given: Given,
}

/// Reads the configuration: `flags` as the command line gave them, the `environment`, and the file that either names.
///
/// # Errors
/// The first thing that is wrong, where it stands, and what to do about it.
pub fn load(
    flags: impl IntoIterator<Item = (&'static Setting, Vec<String>)>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    examine(flags, environment).map_err(|mut faults| faults.swap_remove(0))
}

/// The same, for who wants to know of all that is wrong.
///
/// # Errors
/// Everything that is wrong, at least one thing. Whether values go together is only known once each is one.
pub fn examine(
    flags: impl IntoIterator<Item = (&'static Setting, Vec<String>)>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Vec<ConfigError>> {
    let mut faults = Vec::new();
    let mut given = Given::default();
    for (setting, texts) in flags {
        given.add(setting, Origin::Flag, texts);
    }
    for (setting, text) in environment::read(environment, &mut faults) {
        given.add(setting, Origin::Environment, vec![text]);
    }
    let file = given.texts(&CONFIG).first().cloned();
    if let Some(path) = file.as_deref().map(Path::new) {
        match file::read(path, &mut faults) {
            Ok(entries) => {
                for (setting, line, texts) in entries {
                    given.add(setting, Origin::File { path: path.to_owned(), line }, texts);
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
    match Settings::read(&given, &mut faults) {
        Some(settings) if faults.is_empty() => {
            check::check(&settings, &given).map_err(|fault| vec![fault])?;
            Ok(Loaded { settings, given })
        }
        _ => Err(faults),
    }
}

#[cfg(test)]
mod tests;

//! The file that holds contexts: private, since it may hold tokens, and never half written.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::cli::exit::Misuse;

/// Every context, and the one that holds unless another is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Contexts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    #[serde(default)]
    pub(super) contexts: BTreeMap<String, Context>,
}

/// Where a cluster is reached, and who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(in crate::cli) struct Context {
    pub(in crate::cli) servers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) token: Option<String>,
    /// Read anew each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) ca_file: Option<PathBuf>,
}

/// Variables and what they are set to.
pub(in crate::cli) type Environment = BTreeMap<OsString, OsString>;

/// Where the file is: `repl/contexts.toml` in `XDG_CONFIG_HOME`, or else in `~/.config`. `None` for who has no home.
pub(in crate::cli) fn path(environment: &Environment) -> Option<PathBuf> {
    // Relative ones don't count, says the XDG base directory specification.
    let directory = |name: &str| environment.get(OsStr::new(name)).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")))?;
    Some(base.join("repl/contexts.toml"))
}

impl Contexts {
    /// Reads the file. One that is not there holds none.
    ///
    /// # Errors
    /// It can't be read, or is damaged.
    pub(in crate::cli) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            text => text.with_context(|| format!("the contexts in {} can't be read", path.display()))?,
        };
        // The parser's own words show the line, which may hold a token.
        let damaged = |error: &toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            let what = error.message().trim().replace('\n', ", ");
            Misuse::new(format!(
                "{}, line {line}: these are no contexts: {what}. Mend the file, or move it away and add them again \
                 (repl context add)",
                path.display()
            ))
        };
        let contexts: Self = toml::from_str(&text).map_err(|error| damaged(&error))?;
        let holds_tokens = contexts.contexts.values().any(|context| context.token.is_some());
        if holds_tokens && fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0) {
            // Whoever wrote it by hand may not have thought of it.
            let _ = writeln!(io::stderr(), "repl: others can read the tokens in {0}: chmod 600 {0}", path.display());
        }
        Ok(contexts)
    }

    /// Changes the file in one step, after those who change it now.
    ///
    /// # Errors
    /// It can't be read or written, or what is asked for is refused; it is what it was.
    pub(super) fn change<T>(path: &Path, change: impl FnOnce(&mut Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        // Where people keep such files under version control it is a link to the file.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let unwritten = || format!("{} was not written", path.display());
        let _locked = lock(path).with_context(unwritten)?;
        let mut contexts = Self::read(path)?;
        let changed = change(&mut contexts)?;
        contexts.replace(path).with_context(unwritten)?;
        Ok(changed)
    }

    fn replace(&self, path: &Path) -> anyhow::Result<()> {
        let directory = directory(path)?;
        // Nobody else may read it: temporary files are so from the beginning.
        let mut file = NamedTempFile::new_in(directory)?;
        file.write_all(toml::to_string(self)?.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(directory)?.sync_all()?;
        Ok(())
    }

    /// The context of this name.
    ///
    /// # Errors
    /// There is none.
    pub(in crate::cli) fn get(&self, name: &str) -> Result<&Context, Misuse> {
        self.contexts.get(name).ok_or_else(|| {
            Misuse::new(if self.contexts.is_empty() {
                format!("there is no context {name:?}, nor any other: repl context add {name} --server URL makes it")
            } else {
                let known = self.contexts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                format!(
                    "there is no context {name:?}: there are {known}; repl context add {name} --server URL makes it"
                )
            })
        })
    }

    /// The context that holds unless another is named.
    ///
    /// # Errors
    /// It was removed by hand.
    pub(in crate::cli) fn current(&self) -> Result<Option<&Context>, Misuse> {
        self.current.as_deref().map(|name| self.get(name)).transpose()
    }
}

/// Waits until nobody else changes the file, and lets nobody do so until it is dropped. That takes a file of its own: the
/// one that is changed is replaced.
fn lock(path: &Path) -> anyhow::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory(path)?)?;
    let lock = File::create(path.with_extension("lock"))?;
    lock.lock()?;
    Ok(lock)
}

fn directory(path: &Path) -> anyhow::Result<&Path> {
    path.parent().context("a file is in a directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Contexts {
        let context = Context {
            servers: vec!["http://a:1".to_owned(), "http://b:1".to_owned()],
            token: Some("secret".to_owned()),
            token_file: None,
            ca_file: Some("/etc/ca.pem".into()),
        };
        Contexts { current: Some("prod".to_owned()), contexts: BTreeMap::from([("prod".to_owned(), context)]) }
    }

    fn write(path: &Path) {
        Contexts::change(path, |kept| Ok(std::mem::replace(kept, contexts()))).expect("written");
    }

    #[test]
    fn what_is_written_is_read_again_and_private() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("repl/contexts.toml");
        assert_eq!(Contexts::read(&path).expect("none yet"), Contexts::default());
        write(&path);
        write(&path);
        assert_eq!(Contexts::read(&path).expect("read"), contexts());
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("a directory"))), (0o600, 0o700));
        let left = fs::read_dir(path.parent().expect("a directory")).expect("read");
        assert_eq!(left.count(), 2, "with the lock");
    }

    #[test]
    fn a_link_stays_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (file, link) = (directory.path().join("kept.toml"), directory.path().join("contexts.toml"));
        fs::write(&file, "").expect("written");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        write(&link);
        assert_eq!(Contexts::read(&file).expect("read"), contexts());
        assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
    }

    #[test]
    fn a_damaged_file_is_told_with_its_line_and_without_its_tokens() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("contexts.toml");
        for (line, text) in [
            (2, "\n[contexts.a\nservers = []\ntoken = 'secret'"),
            (3, "[contexts.a]\nservers = []\ntocken = 'secret'"),
            (1, "[contexts.a]\ntoken = 'secret'"),
        ] {
            fs::write(&path, text).expect("written");
            let error = Contexts::read(&path).expect_err(text).to_string();
            assert!(error.contains(&format!("contexts.toml, line {line}: these are no contexts: ")), "{error}");
            assert!(!error.contains("secret") && error.contains("Mend the file"), "{error}");
        }
    }

    #[test]
    fn the_file_is_where_such_files_are() {
        let path = |variables: &[(&str, &str)]| {
            let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
            path(&environment).map(|path| path.display().to_string())
        };
        assert_eq!(path(&[("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")]).as_deref(), Some("/x/repl/contexts.toml"));
        assert_eq!(path(&[("XDG_CONFIG_HOME", ""), ("HOME", "/h")]).as_deref(), Some("/h/.config/repl/contexts.toml"));
        assert_eq!(path(&[("XDG_CONFIG_HOME", "x")]), None);
    }
}

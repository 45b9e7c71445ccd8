//! Why settings are refused.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{CONFIG, SETTINGS, SecretError, Setting};

/// Why settings are refused: where, and what to do about it.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The configuration file is not there, or not for us.
    #[error("the configuration file {} can't be read", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The configuration file is not TOML.
    #[error("{}, line {line}: this is not TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// The configuration file holds a name that no setting has.
    #[error("{}, line {line}: no setting is named `{name}`: {advice}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The name.
        name: String,
        /// The name that was probably meant, or where to find it.
        advice: String,
    },
    /// The environment holds a name that starts with `REPL_` and that no setting has.
    #[error("the environment sets {name}, which no setting is named: {advice}")]
    UnknownVariable {
        /// The name.
        name: String,
        /// The name that was probably meant, or where to find it.
        advice: String,
    },
    /// A variable is not UTF-8.
    #[error("{name} is not UTF-8 text")]
    NotUnicode {
        /// The variable.
        name: String,
    },
    /// A value in the file is of a kind that no setting has.
    #[error("{}, line {line}: `{name}` is a {kind}: give a text, a number, true, false, or a list of them", path.display())]
    ValueKind {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The setting.
        name: String,
        /// What TOML calls it.
        kind: &'static str,
    },
    /// A value is not one of its setting's.
    #[error("{name}: `{text}` {reason}")]
    Value {
        /// The setting, as whoever set it knows it.
        name: String,
        /// The value.
        text: String,
        /// Why not.
        reason: String,
    },
    /// The cluster secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Two ways of forming a cluster.
    #[error(
        "{bootstrap} founds a cluster and {join} joins one: use --bootstrap on the first node only, and --join on the others"
    )]
    BootstrapAndJoin {
        /// The one setting, as whoever set it knows it.
        bootstrap: String,
        /// The other.
        join: String,
    },
    /// A founder that doesn't vote.
    #[error("{expect} founds a cluster of voters, and {learner} makes this node none: leave out one of them")]
    ExpectedLearner {
        /// The one setting, as whoever set it knows it.
        expect: String,
        /// The other.
        learner: String,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("{name} is nothing without {missing}")]
    Alone {
        /// The setting, as whoever set it knows it.
        name: String,
        /// The flag of what else is needed.
        missing: String,
    },
    /// Everybody on the network could publish and read.
    #[error(
        "{name}: {address} is reachable from other machines, and nobody is asked who they are: ask for tokens \
         (--token-key-file), listen on loopback, or say --insecure if everyone who reaches that address may publish and read"
    )]
    OpenToAll {
        /// The setting, as whoever set it knows it.
        name: String,
        /// The address.
        address: String,
    },
    /// Everybody on the network could write the log.
    #[error(
        "{name}: {address} is reachable from other machines: give every node the same --cluster-secret-file (make one \
         with `openssl rand -hex 32`) or a certificate (--peer-tls-cert), or listen for peers on loopback"
    )]
    PeersWithoutSecret {
        /// The setting, as whoever set it knows it.
        name: String,
        /// The address.
        address: String,
    },
    /// The cluster couldn't call back.
    #[error(
        "{name}: {peer} is another machine, which could not reach this node at {address}: give every node the same \
         --cluster-secret-file or a certificate, and say where this one listens with --peer-listen"
    )]
    OutOfReach {
        /// The setting, as whoever set it knows it.
        name: String,
        /// The node to join through.
        peer: String,
        /// Where this node would be.
        address: String,
    },
    /// A node that listens everywhere doesn't know which of its addresses to tell.
    #[error(
        "{name}: {address} stands for every address of this machine: say with {advertise} which one others are told"
    )]
    Unspecified {
        /// The setting, as whoever set it knows it.
        name: String,
        /// The address.
        address: String,
        /// The flag that says it.
        advertise: String,
    },
    /// Clients and peers on one port.
    #[error("{name}: {address} is where clients connect: peers need a port of their own")]
    SamePort {
        /// The setting, as whoever set it knows it.
        name: String,
        /// The address.
        address: String,
    },
    /// The operating system takes no such path for a socket.
    #[error(
        "{name}: {} has {} bytes, and the path of a socket at most {max}: name a shorter one with --admin-socket, such as \
         /run/repl.sock", path.display(), path.as_os_str().len()
    )]
    SocketPath {
        /// The setting, as whoever set it knows it.
        name: String,
        /// The path.
        path: PathBuf,
        /// In bytes.
        max: usize,
    },
    /// Elections would be called while the leader is well.
    #[error("{name}: at least three times --heartbeat, or a late heartbeat calls an election")]
    ElectionTimeout {
        /// The setting, as whoever set it knows it.
        name: String,
    },
}

impl ConfigError {
    pub(super) fn unknown_key(path: &Path, line: usize, name: &str) -> Self {
        let advice = if name == CONFIG.name() {
            "a file can't name another one".to_owned()
        } else {
            advice(name, |setting| format!("`{}`", setting.name()))
        };
        Self::UnknownKey { path: path.to_owned(), line, name: name.to_owned(), advice }
    }

    pub(super) fn unknown_variable(name: &str) -> Self {
        let meant = name.trim_start_matches("REPL_");
        Self::UnknownVariable { name: name.to_owned(), advice: advice(meant, Setting::variable) }
    }
}

/// Below this likeness a suggestion is more often wrong than right.
const LIKENESS_MIN: f64 = 0.8;

/// Names the setting that was probably meant, spelt as `spell` does.
fn advice(name: &str, spell: impl Fn(&Setting) -> String) -> String {
    let name = name.to_lowercase().replace('-', "_");
    let likeness = |setting: &Setting| strsim::jaro_winkler(&name, setting.field);
    let nearest = SETTINGS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|setting| likeness(setting) >= LIKENESS_MIN) {
        Some(setting) => format!("did you mean {}?", spell(setting)),
        None => "see `repl --help` for those there are".to_owned(),
    }
}

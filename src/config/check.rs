//! Whether the settings go together.

use std::path::PathBuf;

use super::settings::is_loopback;
use super::{ConfigError, Given, SETTINGS, Setting, Settings};

/// What Linux takes, unix(7): 108 with the zero at the end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Refuses what would be unsafe, or could not work.
///
/// # Errors
/// The first rule that is broken.
pub(super) fn check(settings: &Settings, given: &Given) -> Result<(), ConfigError> {
    let name = |field: &str| {
        let setting = setting(field);
        given.origin(setting).name(setting)
    };
    if settings.bootstrap && !settings.join.is_empty() {
        return Err(ConfigError::BootstrapAndJoin { bootstrap: name("bootstrap"), join: name("join") });
    }
    if settings.bootstrap_expect.is_some() {
        let expect = || name("bootstrap_expect");
        if settings.join.is_empty() {
            return Err(ConfigError::Alone { name: expect(), missing: setting("join").flag() });
        }
        if settings.learner {
            return Err(ConfigError::ExpectedLearner { expect: expect(), learner: name("learner") });
        }
    }

    let Settings { tls_cert, tls_key, peer_tls_cert, peer_tls_key, peer_tls_ca, .. } = settings;
    let clients: [(&str, &Option<PathBuf>); 2] = [("tls_cert", tls_cert), ("tls_key", tls_key)];
    let peers = [("peer_tls_cert", peer_tls_cert), ("peer_tls_key", peer_tls_key), ("peer_tls_ca", peer_tls_ca)];
    for files in [clients.as_slice(), &peers] {
        let given = files.iter().find(|(_, file)| file.is_some());
        let missing = files.iter().find(|(_, file)| file.is_none());
        if let (Some((given, _)), Some((missing, _))) = (given, missing) {
            return Err(ConfigError::Alone { name: name(given), missing: setting(missing).flag() });
        }
    }

    let (listen, peer_listen) = (settings.listen, settings.peer_listen_address());
    if !is_loopback(listen.ip()) && !settings.asks_for_tokens() && !settings.insecure {
        return Err(ConfigError::OpenToAll { name: name("listen"), address: listen.to_string() });
    }
    if !is_loopback(peer_listen.ip()) && !settings.peers_prove_themselves() {
        return Err(ConfigError::PeersWithoutSecret { name: name("peer_listen"), address: peer_listen.to_string() });
    }
    if listen == peer_listen && listen.port() != 0 {
        return Err(ConfigError::SamePort { name: name("peer_listen"), address: listen.to_string() });
    }

    let unspecified = |field: &str, address: std::net::SocketAddr, advertise: &str| ConfigError::Unspecified {
        name: name(field),
        address: address.to_string(),
        advertise: setting(advertise).flag(),
    };
    if settings.expects_peers() && listen.ip().is_unspecified() && settings.advertise.is_none() {
        return Err(unspecified("listen", listen, "advertise"));
    }
    if peer_listen.ip().is_unspecified() && settings.advertise_peer.is_none() {
        // By default peers are listened for on the host of --listen, so that is the setting to name.
        let field = if settings.peer_listen.is_some() { "peer_listen" } else { "listen" };
        return Err(unspecified(field, peer_listen, "advertise_peer"));
    }

    let stays_home = settings.advertise_peer.is_none() && is_loopback(peer_listen.ip());
    if let Some(remote) = settings.join.iter().find(|peer| !peer.is_local())
        && stays_home
    {
        return Err(ConfigError::OutOfReach {
            name: name("join"),
            peer: remote.to_string(),
            address: peer_listen.to_string(),
        });
    }

    let socket = settings.admin_socket_path();
    if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(ConfigError::SocketPath { name: name("admin_socket"), path: socket, max: SOCKET_PATH_BYTES_MAX });
    }

    if settings.election_timeout < settings.heartbeat.saturating_mul(3) {
        return Err(ConfigError::ElectionTimeout { name: name("election_timeout") });
    }
    Ok(())
}

/// The row of a setting that the rules above name.
fn setting(field: &str) -> &'static Setting {
    SETTINGS.iter().find(|setting| setting.field == field).expect("the rules name settings of the table")
}

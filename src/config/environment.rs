//! Settings from the environment.

use std::ffi::{OsStr, OsString};

use super::{CONFIG, ConfigError, SETTINGS, Setting};

/// What the commands of clients read, and nodes don't.
const OF_CLIENTS: [&str; 3] = ["REPL_CONTEXT", "REPL_SERVER", "REPL_TOKEN"];

/// The settings among the variables. Every name that starts with `REPL_` has to be one, or is for clients.
/// Notes unknown names and values that are not UTF-8.
pub(super) fn read(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    faults: &mut Vec<ConfigError>,
) -> Vec<(&'static Setting, String)> {
    let mut found = Vec::new();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if !name.starts_with("REPL_") || OF_CLIENTS.contains(&&*name) || is_service_link(&name, &value) {
            continue;
        }
        let setting = SETTINGS.iter().chain([&CONFIG]).find(|setting| setting.variable() == name);
        match (setting, value.into_string()) {
            (None, _) => faults.push(ConfigError::unknown_variable(&name)),
            (Some(setting), Err(_)) => faults.push(ConfigError::NotUnicode { name: setting.variable() }),
            // Unit files and compose files leave a variable out by leaving it empty.
            (Some(_), Ok(value)) if value.is_empty() => {}
            (Some(setting), Ok(value)) => found.push((setting, value)),
        }
    }
    found
}

/// Whether the variable is one of those that Kubernetes sets in every pod for a service named `repl` or `repl-…`
/// (`REPL_SERVICE_HOST`, `REPL_PORT_7375_TCP_ADDR`; "Discovering services" in its documentation). Nobody wrote them, so
/// nobody misspelt them.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let is_url = || value.to_string_lossy().contains("://");
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP"))
        // With a number for a value, it is somebody looking for `REPL_LISTEN`.
        || name.ends_with("_PORT") && is_url()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_are_not_settings_and_no_setting_looks_like_one() {
        let links = [
            ("REPL_SERVICE_HOST", "10.0.0.1"),
            ("REPL_SERVICE_PORT", "7375"),
            ("REPL_SERVICE_PORT_HTTP", "7375"),
            ("REPL_PORT", "tcp://10.0.0.1:7375"),
            ("REPL_PORT_7375_TCP", "tcp://10.0.0.1:7375"),
            ("REPL_PORT_7375_TCP_ADDR", "10.0.0.1"),
            ("REPL_PEERS_PORT_7376_TCP_PROTO", "tcp"),
        ];
        let mut faults = Vec::new();
        let found = read(links.map(|(name, value)| (name.into(), value.into())), &mut faults);
        assert!(found.is_empty() && faults.is_empty());
        for setting in SETTINGS {
            assert!(!is_service_link(&setting.variable(), "http://a".as_ref()), "{}", setting.variable());
        }
        read([("REPL_PORT".into(), "7375".into())], &mut faults);
        assert_eq!(faults.len(), 1);
    }
}

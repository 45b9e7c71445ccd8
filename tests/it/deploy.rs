//! The files of deploy/, as far as they can be checked where they don't run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The words that name metrics of ours.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("repl_")).collect()
}

#[test]
fn every_metric_of_the_alerts_and_the_dashboard_exists() {
    let reference = read("docs/reference/metrics.md");
    let known = metrics(&reference);
    for file in ["deploy/prometheus/alerts.yml", "deploy/grafana/repl.json"] {
        let text = read(file);
        let named = metrics(&text);
        assert!(!named.is_empty(), "{file}");
        // Of a histogram the reference has the name, and Prometheus three series.
        let is_series = |name: &str| {
            ["_bucket", "_count", "_sum"].iter().any(|end| {
                name.strip_suffix(end).is_some_and(|name| reference.contains(&format!("| `{name}` | histogram |")))
            })
        };
        let unknown: Vec<_> = named.iter().filter(|name| !known.contains(*name) && !is_series(name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana/repl.json")).expect("JSON");
    assert!(dashboard["panels"].as_array().is_some_and(|panels| !panels.is_empty()));
}

#[test]
fn every_alert_has_its_section() {
    let headings: BTreeSet<String> = read("docs/operations.md")
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let alerts = read("deploy/prometheus/alerts.yml");
    let runbooks: Vec<_> = alerts.lines().filter_map(|line| line.split_once("docs/operations.md#")).collect();
    assert_eq!(runbooks.len(), alerts.matches("- alert: ").count(), "each alert has one");
    for (_, anchor) in runbooks {
        assert!(headings.contains(anchor), "{anchor} is none of {headings:?}");
    }
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    let directory = tempfile::tempdir().expect("a directory");
    let unit: PathBuf = directory.path().join("repl.service");
    let text = read("deploy/systemd/repl.service").replace("=repl ", concat!("=", env!("CARGO_BIN_EXE_repl"), " "));
    fs::write(&unit, text).expect("written");
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&unit).output() else {
        eprintln!("SKIPPED: there is no systemd-analyze");
        return;
    };
    let told = String::from_utf8_lossy(&output.stderr);
    // It looks at the whole system; only what it says of this unit counts.
    let ours: Vec<_> = told.lines().filter(|line| line.contains("repl.service")).collect();
    assert!(ours.is_empty(), "{ours:?}");

    // Of 100, which is a service that may do everything.
    let exposure_max = "--threshold=20";
    let mut security = Command::new("systemd-analyze");
    let output = security.args(["security", "--offline=true", exposure_max]).arg(&unit).output().expect("it is there");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("Overall exposure level"), "{told}");
}

#[test]
fn the_package_for_debian_has_what_it_names() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let package = &manifest["package"]["metadata"]["deb"];
    let text = |value: &toml::Value| value.as_str().expect("a text").to_owned();
    let mut installed = BTreeSet::new();
    for asset in package["assets"].as_array().expect("a list") {
        let (from, to) = (text(&asset[0]), text(&asset[1]));
        let name = Path::new(&from).file_name().expect("a name").to_str().expect("UTF-8").to_owned();
        assert!(from.starts_with("target/release/") || root().join(&from).is_file(), "{from}");
        installed.insert(format!("/{to}{name}"));
    }
    for file in package["conf-files"].as_array().expect("a list") {
        assert!(installed.contains(&text(file)), "{file}");
    }

    let unit = read(&format!("{}/repl.service", text(&package["systemd-units"]["unit-scripts"])));
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let (program, words) = start.split_once(' ').expect("a program and its arguments");
    assert!(installed.contains(&format!("/usr/bin/{program}")));
    assert!(words.split_once("--config ").is_some_and(|(_, rest)| installed.iter().any(|file| rest.starts_with(file))));
    let user = unit.lines().find_map(|line| line.strip_prefix("User=")).expect("a user");
    let scripts = text(&package["maintainer-scripts"]);
    let postinst = read(&format!("{scripts}/postinst"));
    assert!(postinst.contains("useradd ") && postinst.contains(&format!(" {user}\n")), "{postinst}");
    assert!(postinst.contains("\n#DEBHELPER#\n"), "what concerns systemd comes there");
    let syntax = Command::new("sh").arg("-n").arg(root().join(scripts).join("postinst")).status().expect("a shell");
    assert!(syntax.success());
}

#[test]
fn the_settings_of_the_package_are_right_as_they_are_and_as_they_propose() {
    let file = read("deploy/debian/repl.toml");
    let is_setting = |line: &str| line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '));
    let proposed = file.lines().map(|line| line.strip_prefix("# ").filter(|line| is_setting(line)).unwrap_or(line));
    let proposed = proposed.collect::<Vec<_>>().join("\n");
    assert_ne!(proposed, file.trim_end());

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("repl.toml");
    for text in [file, proposed] {
        let here = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
        fs::write(here("cluster-secret"), "0123456789abcdef").expect("written");
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        fs::write(here("token-key.pem"), key.public_key_pem()).expect("written");
        fs::write(&path, text.replace("/etc/repl", &here("")).replace("/var/lib/repl", &here("data")))
            .expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_repl"));
        let output = command.env_clear().args(["config", "check", "--config"]).arg(&path).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

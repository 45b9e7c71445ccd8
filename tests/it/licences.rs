//! THIRD-PARTY.txt names what the program is linked to. That the licences are among those accepted, and what each says, takes
//! tools that need not be there (`make licences`).

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::tidy::root;

/// Crates with their versions, and the licences of each.
type Crates = BTreeMap<String, String>;

/// What is linked, by Cargo.lock. Needs no network: what is linked was built.
fn linked() -> Crates {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--offline", "--package", "repl", "--edges", "normal"]);
    cargo.args(["--prefix", "none", "--no-dedupe", "--format", "{p}\t{l}"]);
    let settings = fs::read_to_string(root().join("deploy/licences/about.toml")).expect("the settings");
    let settings: toml::Table = settings.parse().expect("TOML");
    for target in settings["targets"].as_array().expect("a list") {
        cargo.arg("--target").arg(target.as_str().expect("a text"));
    }
    let output = cargo.current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let crates = lines.lines().filter(|line| !line.is_empty()).map(|line| {
        let (package, licences) = line.split_once('\t').expect("as it was asked for");
        // Behind the version may be where it is, and what it is.
        let [name, version, ..] = package.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        (format!("{name} {}", version.trim_start_matches('v')), licences.to_owned())
    });
    crates.collect()
}

/// What the file names.
fn named() -> Crates {
    let text = fs::read_to_string(root().join("THIRD-PARTY.txt")).expect("the file");
    let rule = format!("{}\n", "-".repeat(80));
    let mut crates = Crates::new();
    for part in text.split(&rule).skip(1) {
        let (licence, users) =
            part.lines().next().and_then(|line| line.split_once(": ")).expect("a licence and crates");
        for user in users.split(", ") {
            *crates.entry(user.to_owned()).or_default() += &format!("{licence}\n");
        }
    }
    crates
}

#[test]
fn every_crate_that_is_linked_is_named_with_a_licence_of_its_own() {
    let (linked, named) = (linked(), named());
    let lacking: Vec<_> = linked.keys().filter(|name| !named.contains_key(*name)).collect();
    let left_over: Vec<_> = named.keys().filter(|name| !linked.contains_key(*name)).collect();
    assert!(lacking.is_empty() && left_over.is_empty(), "lacking {lacking:?}, left over {left_over:?}: make licences");
    for (name, licences) in named {
        for licence in licences.lines() {
            assert!(linked[&name].contains(licence), "{name}: {licence} is none of {}", linked[&name]);
        }
    }
}

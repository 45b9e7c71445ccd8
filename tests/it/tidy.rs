//! What the sources have to keep to, and the compiler doesn't check: which module may import which, who owns an
//! external crate, and what must not be committed.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Every module of the crate, the lowest first, and what it may import. A new arrow is a change of the architecture.
const LAYERS: &[(&str, &[&str])] = &[
    (FOR_TESTS, &[]),
    ("domain", &[]),
    ("durations", &[]),
    ("trace", &["domain"]),
    ("auth", &["domain"]),
    ("config", &["domain"]),
    ("state", &["domain"]),
    ("storage", &["domain", "durations"]),
    ("broker", &["domain", "durations", "state"]),
    ("tls", &[]),
    ("rpc", &["domain", "tls"]),
    ("consensus", &["domain", "durations", "state", "storage", "broker", "rpc"]),
    ("node", &["domain", "durations", "trace", "state", "storage", "broker", "tls", "rpc", "consensus"]),
    ("http", &["domain", "durations", "trace", "auth", "state", "broker", "tls", "node"]),
    ("peer", &["domain", "state", "rpc", "consensus", "node"]),
    (
        "server",
        &[
            "domain",
            "durations",
            "trace",
            "auth",
            "config",
            "state",
            "storage",
            "broker",
            "tls",
            "rpc",
            "consensus",
            "node",
            "http",
            "peer",
        ],
    ),
    ("telemetry", &["trace", "config"]),
    ("client", &["tls"]),
    ("cli", &["domain", "auth", "config", "server", "telemetry", "client"]),
    ("main", &["cli"]),
];

/// Is there for the tests of any module, and only for tests.
const FOR_TESTS: &str = "fuzz";

/// The modules that may name an external crate, so that replacing it changes one place.
const OWNERS: &[(&str, &[&str])] = &[
    ("anyhow", &["cli", "main"]),
    ("axum", &["http"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("hickory_resolver", &["node"]),
    ("hyper", &["http", "cli"]),
    ("hyper_util", &["http", "cli"]),
    ("jsonwebtoken", &["auth"]),
    ("openraft", &["consensus"]),
    ("pulldown_cmark", &["http"]),
    ("reqwest", &["server", "client"]),
    ("rustls", &["tls"]),
    ("sled", &["storage"]),
    ("strsim", &["config"]),
    ("tokio_rustls", &["tls"]),
    ("toml", &["config", "cli"]),
    ("tower", &["http"]),
    ("tower_http", &["http"]),
    ("tracing_subscriber", &["telemetry"]),
    ("x509_cert", &["tls"]),
];

/// A longer file has more than one noun in it.
const LINES_MAX: usize = 600;

/// What is larger is built, not written.
const TRACKED_BYTES_MAX: u64 = 200_000;

/// Plans live in issues. (Written so that this file doesn't hold them.)
const PLANS: [&str; 3] = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")];

/// What makes a test slow on good days and false on bad ones.
const SLEEP: &str = concat!("sle", "ep(");

#[test]
fn the_sources_are_tidy() {
    let files = tracked_files();
    assert!(files.iter().any(|file| file == "tests/it/tidy.rs"), "the sources are found");
    let mut faults = Vec::new();
    for file in files {
        // Deleted, but not yet committed as such.
        let Ok(bytes) = fs::read(root().join(&file)) else { continue };
        faults.extend(check_size(&file, bytes.len()));
        if let Ok(text) = String::from_utf8(bytes) {
            faults.extend(check(&file, &text));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is committed or about to be.
pub(crate) fn tracked_files() -> Vec<String> {
    let mut git = Command::new("git");
    // The owner of a clone made for a build need not be the user who tests it.
    git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.current_dir(root()).output().expect("git is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("names are UTF-8");
    names.split_terminator('\0').map(str::to_owned).collect()
}

fn check_size(file: &str, len_bytes: usize) -> Option<String> {
    let is_large = u64::try_from(len_bytes).is_ok_and(|len| len > TRACKED_BYTES_MAX);
    is_large.then(|| format!("{file}: {len_bytes} bytes, at most {TRACKED_BYTES_MAX} are tracked"))
}

/// What is wrong with a file, a line each.
fn check(file: &str, text: &str) -> Vec<String> {
    let mut faults = check_text(file, text);
    if file.ends_with(".rs") {
        let code = without_comments(text);
        faults.extend(check_waiting(file, &code));
        faults.extend(module_of(file).map(|module| check_imports(file, module, &code)).unwrap_or_default());
    }
    faults.sort_by_key(|(at, _)| *at);
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    faults.into_iter().map(|(at, what)| format!("{file}:{}: {what}", line(at))).collect()
}

/// Where something is wrong, and what.
type Faults = Vec<(usize, String)>;

fn check_text(file: &str, text: &str) -> Faults {
    let plans = PLANS.iter().flat_map(|plan| words(text, plan).map(move |at| (at, format!("{plan} is for issues"))));
    let lines = text.lines().count();
    let is_long = (file.ends_with(".rs") || file.ends_with(".ts")) && lines > LINES_MAX;
    let long = is_long.then(|| (0, format!("{lines} lines, at most {LINES_MAX} are read")));
    plans.chain(long).collect()
}

fn check_waiting(file: &str, code: &str) -> Faults {
    // Where time is paused, sleeping only lets the others run.
    if code.contains("start_paused") {
        return Vec::new();
    }
    let naps = code.match_indices(SLEEP).filter(|(at, _)| *at >= tests_at(file, code));
    naps.map(|(at, _)| (at, "tests wait for a condition, with a deadline".to_owned())).collect()
}

fn check_imports(file: &str, module: &str, code: &str) -> Faults {
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == module) else {
        return vec![(0, format!("`{module}` is not among the layers"))];
    };
    let mut faults = Vec::new();
    for (at, import) in imports(code).into_iter().chain(imports_by_parent(code, depth(file))) {
        if import != module && import != FOR_TESTS && !allowed.contains(&import) {
            faults.push((at, format!("`{module}` must not import `{import}`")));
        }
    }
    // A test may look at its subject from any side.
    let code = &code[..tests_at(file, code)];
    for (name, owners) in OWNERS.iter().filter(|(_, owners)| !owners.contains(&module)) {
        for at in words(code, name).filter(|at| code[at + name.len()..].starts_with("::")) {
            // `crate::http::axum::…` would be a module of ours.
            if !code[..at].ends_with("::") {
                faults.push((at, format!("`{module}` must not name `{name}`, only {owners:?} may")));
            }
        }
    }
    faults
}

/// Where the tests of a file begin: at its end if it has none.
fn tests_at(file: &str, code: &str) -> usize {
    if is_test(file) { 0 } else { code.find("#[cfg(test)]").unwrap_or(code.len()) }
}

/// Whether a file holds nothing but tests.
fn is_test(file: &str) -> bool {
    file.starts_with("tests/") || file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// The top module that a file of the crate belongs to. The root that lists them belongs to none.
fn module_of(file: &str) -> Option<&str> {
    let module = file.strip_prefix("src/")?.split(['/', '.']).next()?;
    (module != "lib").then_some(module)
}

/// The text with its comments blanked out, so that places in it stay.
fn without_comments(text: &str) -> String {
    let blank = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        format!("{code}{}", " ".repeat(line.len() - code.len()))
    };
    text.split('\n').map(blank).collect::<Vec<_>>().join("\n")
}

/// Where a word stands by itself.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> {
    let in_word = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !text[..*at].ends_with(in_word) && !text[at + word.len()..].starts_with(in_word))
}

/// The modules of this crate that a code names, and where. `main` sees the crate by its name.
fn imports(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for root in ["crate", "repl"] {
        for at in words(code, root) {
            let Some(path) = code[at + root.len()..].strip_prefix("::") else { continue };
            match path.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group).into_iter().map(|head| (at, head))),
                None => found.extend(identifier(path).map(|head| (at, head))),
            }
        }
    }
    found
}

/// The modules of this crate that a code names by going up to the root, and where: `super::super::broker` in
/// `src/state/topic.rs`.
fn imports_by_parent(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for at in words(code, "super").filter(|at| !code[..*at].ends_with("super::")) {
        let rest = code[at..].trim_start_matches("super::");
        let steps = (code.len() - at - rest.len()) / "super::".len();
        let layer = LAYERS.iter().find(|(layer, _)| identifier(rest) == Some(layer));
        found.extend(layer.filter(|_| steps >= depth).map(|(layer, _)| (at, *layer)));
    }
    found
}

/// How many modules deep a file is: 1 for `src/state/mod.rs`.
fn depth(file: &str) -> usize {
    let path = file.trim_start_matches("src/").trim_end_matches("/mod.rs");
    path.split('/').count()
}

/// The first word of each path in `a::b, c::{d, e}}`.
fn group_heads(group: &str) -> Vec<&str> {
    let mut heads = Vec::new();
    let (mut depth, mut at_head) = (0, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            _ if at_head && !character.is_whitespace() => {
                heads.extend(identifier(&group[at..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

/// The lower-case word at the start of a path: a module, or a function of the crate's root.
fn identifier(path: &str) -> Option<&str> {
    let end = path.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(path.len());
    Some(&path[..end]).filter(|word| !word.is_empty())
}

/// Checks that a planted source is found out, or let through.
#[track_caller]
fn check_planted(file: &str, text: &str, expected: &[&str]) {
    assert_eq!(check(file, text), expected, "{text}");
}

#[test]
fn the_layers_go_one_way() {
    for (row, (layer, allowed)) in LAYERS.iter().enumerate() {
        for import in *allowed {
            let below = LAYERS[..row].iter().any(|(lower, _)| lower == import);
            assert!(below, "{layer} imports {import}, which doesn't stand before it");
        }
    }
}

#[test]
fn an_import_against_the_direction_is_found() {
    let fault = "src/state/topic.rs:1: `state` must not import `broker`";
    check_planted("src/state/topic.rs", "use crate::broker::Broker;", &[fault]);
    check_planted("src/state/topic.rs", "use crate::{broker::{Broker, frame}, domain::Seq};", &[fault]);
    check_planted("src/state/topic.rs", "fn f(b: &crate::broker::Broker) {}", &[fault]);
    check_planted(
        "src/storage/log.rs",
        "\nuse crate::{\n    state,\n};",
        &["src/storage/log.rs:2: `storage` must not import `state`"],
    );
    check_planted("src/main.rs", "repl::node::run();", &["src/main.rs:1: `main` must not import `node`"]);
    check_planted("src/state/topic.rs", "use super::super::broker::Broker;", &[fault]);
    check_planted("src/new.rs", "", &["src/new.rs:1: `new` is not among the layers"]);
}

#[test]
fn an_import_in_the_direction_passes() {
    check_planted(
        "src/broker/log.rs",
        "use crate::{domain::{Seq, Cursor}, state::Event};\nuse crate::broker::frame;",
        &[],
    );
    check_planted("src/state/topic.rs", "//! See [`crate::broker`].\nuse super::Machine; // not crate::http", &[]);
    check_planted("src/rpc/tests/attack.rs", "use super::super::hello::Hello;", &[]);
    check_planted("src/lib.rs", "pub mod http;", &[]);
    check_planted("tests/it/cli.rs", "use repl::server::Started;", &[]);
}

#[test]
fn an_external_crate_outside_its_owner_is_found() {
    let fault = "src/node/mod.rs:1: `node` must not name `openraft`, only [\"consensus\"] may";
    check_planted("src/node/mod.rs", "use openraft::Raft;", &[fault]);
    check_planted("src/node/mod.rs", "fn f(raft: &openraft::Raft) {}", &[fault]);
    check_planted("src/consensus/mod.rs", "use openraft::Raft;", &[]);
    check_planted("src/rpc/tests/calls.rs", "use tracing_subscriber::fmt;", &[]);
    check_planted("src/telemetry.rs", "// openraft::Raft\nconst NAME: &str = \"openraft=info\";", &[]);
}

#[test]
fn a_test_that_waits_for_time_is_found() {
    let nap = format!("tokio::time::{SLEEP}second).await;");
    let expected = |file: &str, line: u32| format!("{file}:{line}: tests wait for a condition, with a deadline");
    check_planted("tests/it/cli.rs", &nap, &[&expected("tests/it/cli.rs", 1)]);
    let in_tests = format!("\n#[cfg(test)]\nmod tests {{ {nap} }}");
    check_planted("src/rpc/peer.rs", &in_tests, &[&expected("src/rpc/peer.rs", 3)]);
    check_planted("src/rpc/peer.rs", &nap, &[]);
    check_planted("tests/it/cli.rs", &format!("#[tokio::test(start_paused = true)]\nasync fn f() {{ {nap} }}"), &[]);
}

#[test]
fn plans_and_what_is_too_long_are_found() {
    let plan = PLANS[1];
    check_planted("docs/a.md", &format!("# A\n{plan}: b"), &[&format!("docs/a.md:2: {plan} is for issues")]);
    check_planted("docs/a.md", &format!("{plan}S and m{plan}"), &[]);
    check_planted(
        "clients/ts/src/a.ts",
        &"\n".repeat(601),
        &["clients/ts/src/a.ts:1: 601 lines, at most 600 are read"],
    );
    check_planted("docs/a.md", &"\n".repeat(601), &[]);
    assert!(check_size("a.png", 200_001).is_some() && check_size("a.png", 200_000).is_none());
}

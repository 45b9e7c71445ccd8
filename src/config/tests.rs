//! The configuration from outside: what somebody says, and what comes of it.

use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::domain::Retention;

/// Reads settings from a file of this content, variables and flags: `NAME=value --flag=value`. An error is its text,
/// with the file as `repl.toml`.
fn try_load(file: &str, words: &str) -> Result<Loaded, String> {
    let mut path = tempfile::NamedTempFile::new().expect("a temporary file");
    path.write_all(file.as_bytes()).expect("written");
    let path_text = path.path().to_str().expect("a path of ASCII");
    let mut flags = vec![(&CONFIG, vec![path_text.to_owned()])];
    let mut environment = Vec::new();
    for word in words.split_whitespace() {
        let (name, value) = word.split_once('=').expect("name=value");
        match SETTINGS.iter().find(|setting| setting.flag() == name) {
            Some(setting) => flags.push((setting, vec![value.to_owned()])),
            None => environment.push((name.into(), value.into())),
        }
    }
    load(flags, environment).map_err(|error| error.to_string().replace(path_text, "repl.toml"))
}

fn settings(file: &str, words: &str) -> Settings {
    try_load(file, words).expect(words).settings
}

#[track_caller]
fn check_refused(file: &str, words: &str, expected: &str) {
    assert_eq!(try_load(file, words).expect_err(words), expected);
}

#[test]
fn a_flag_beats_a_variable_which_beats_the_file_which_beats_the_default() {
    let file = "max-messages = 3\n";
    let max_messages = |file, words| settings(file, words).max_messages;
    assert_eq!(max_messages("", ""), 1_000);
    assert_eq!(max_messages(file, ""), 3);
    assert_eq!(max_messages(file, "REPL_MAX_MESSAGES=2"), 2);
    assert_eq!(max_messages(file, "REPL_MAX_MESSAGES=2 --max-messages=1"), 1);
    assert!(!settings("auto-create = true\n", "--auto-create=false").auto_create);
}

#[test]
fn where_a_value_came_from_is_known() {
    let given = try_load("max-age = '1h'\nmax-bytes = 1\n", "REPL_MAX_BYTES=2 --max-messages=3").expect("valid").given;
    let origin = |field: &str| given.origin(SETTINGS.iter().find(|setting| setting.field == field).expect(field));
    assert_eq!(origin("max_messages"), Origin::Flag);
    assert_eq!(origin("max_bytes"), Origin::Environment);
    assert!(matches!(origin("max_age"), Origin::File { line: 1, .. }));
    assert_eq!(origin("listen"), Origin::Default);
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"max-messages = 3").expect("written");
    let variable = ("REPL_CONFIG".into(), file.path().into());
    assert_eq!(load([], [variable]).expect("valid").settings.max_messages, 3);
}

#[test]
fn a_list_is_replaced_not_merged() {
    let join = |file, words| settings(file, words).join.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(join("join = ['localhost:1', '127.0.0.1']\n", ""), ["localhost", "127.0.0.1"]);
    assert_eq!(join("join = '127.0.0.1:1'\n", "REPL_JOIN=localhost:2,[::1]:3"), ["localhost", "::1"]);
}

#[test]
fn an_empty_variable_counts_as_absent() {
    assert_eq!(settings("max-messages = 3\n", "REPL_MAX_MESSAGES=").max_messages, 3);
}

#[test]
fn the_defaults_are_those_of_the_domain() {
    assert_eq!(Settings::default().retention(), Retention::default());
}

#[test]
fn peers_are_listened_for_on_the_next_port_and_on_loopback_unless_they_prove_themselves() {
    let peer = |words: &str| settings("", words).peer_listen_address().to_string();
    assert_eq!(peer(""), "127.0.0.1:7376");
    assert_eq!(peer("--listen=[::1]:8000"), "[::1]:8001");
    assert_eq!(peer("--listen=127.0.0.1:0"), "127.0.0.1:0");
    assert_eq!(peer("--listen=127.0.0.1:65535"), "127.0.0.1:0");
    assert_eq!(peer("--listen=0.0.0.0:7375 --insecure=true"), "127.0.0.1:7376");
    assert_eq!(peer("--listen=10.0.0.5:7375 --insecure=true --cluster-secret-file=s"), "10.0.0.5:7376");
    let certified = "--peer-tls-cert=c --peer-tls-key=k --peer-tls-ca=a";
    assert_eq!(peer(&format!("--listen=10.0.0.5:7375 --insecure=true {certified}")), "10.0.0.5:7376");
    assert_eq!(peer("--peer-listen=127.0.0.1:9"), "127.0.0.1:9");
}

#[test]
fn others_are_told_the_advertised_address_else_the_bound_one() {
    let bound = "10.0.0.5:4000".parse().expect("an address");
    let everywhere = "[::]:4000".parse().expect("an address");
    let told = |words: &str, bound| (settings("", words).client_url(bound), settings("", words).peer_address(bound));
    let pair = |client: &str, peer: &str| (client.to_owned(), peer.to_owned());
    assert_eq!(told("", bound), pair("http://10.0.0.5:4000", "10.0.0.5:4000"));
    assert_eq!(told("", everywhere), pair("http://[::1]:4000", "[::1]:4000"));
    assert_eq!(told("--tls-cert=c --tls-key=k", bound), pair("https://10.0.0.5:4000", "10.0.0.5:4000"));
    assert_eq!(told("--advertise=a --tls-cert=c --tls-key=k", bound).0, "https://a:4000");
    assert_eq!(
        told("--advertise=https://events.example --advertise-peer=node1", bound),
        pair("https://events.example", "node1:4000")
    );
}

#[test]
fn retention_is_never_shorter_than_was_asked() {
    assert_eq!(settings("", "--max-age=1500ms").retention().max_age_seconds, 2);
}

#[test]
fn an_unknown_name_is_refused_with_the_one_that_was_meant() {
    check_refused("\nlisen = 'a'\n", "", "repl.toml, line 2: no setting is named `lisen`: did you mean `listen`?");
    check_refused("data_dir = 'a'", "", "repl.toml, line 1: no setting is named `data_dir`: did you mean `data-dir`?");
    check_refused(
        "[server]\n",
        "",
        "repl.toml, line 1: no setting is named `server`: see `repl --help` for those there are",
    );
    check_refused("config = 'a'", "", "repl.toml, line 1: no setting is named `config`: a file can't name another one");
    check_refused(
        "",
        "REPL_DATADIR=a",
        "the environment sets REPL_DATADIR, which no setting is named: did you mean REPL_DATA_DIR?",
    );
    check_refused(
        "",
        "REPL_WIBBLE=a",
        "the environment sets REPL_WIBBLE, which no setting is named: see `repl --help` for those there are",
    );
}

#[test]
fn a_wrong_value_is_refused_where_it_stands() {
    check_refused(
        "max-messages = 1\nlisten = 'nowhere'\n",
        "",
        "repl.toml, line 2: `listen`: `nowhere` is not an IP address and a port, such as 127.0.0.1:7375, 0.0.0.0:7375 or \
         [::1]:7375",
    );
    check_refused("", "REPL_MAX_MESSAGES=-1", "REPL_MAX_MESSAGES: `-1` is not a whole number of 0 or more");
    check_refused(
        "",
        "--keep-alive=15",
        "--keep-alive: `15` is not a time with its unit, such as 500ms, 15s, 10m, 24h, 7d or 1h30m",
    );
    check_refused("", "--message-bytes-max=2MiB", "--message-bytes-max: `2MiB` is too much: at most 1MiB");
    check_refused("", "--trace-ratio=1.5", "--trace-ratio: `1.5` is too much: at most 1");
    check_refused("", "--trace-ratio=NaN", "--trace-ratio: `NaN` is not a number, such as 0.01");
    check_refused("", "--max-connections=0", "--max-connections: `0` is too little: at least 1");
    check_refused("", "--insecure=maybe", "--insecure: `maybe` is neither true nor false");
    check_refused(
        "listen = ['127.0.0.1:1', '127.0.0.1:2']\n",
        "",
        "repl.toml, line 1: `listen`: `127.0.0.1:2` is one value too many",
    );
    check_refused(
        "keep-alive = 2026-11-22\n",
        "",
        "repl.toml, line 1: `keep-alive` is a datetime: give a text, a number, true, false, or a list of them",
    );
    check_refused("a = 1\na = 2\n", "", "repl.toml, line 2: this is not TOML: duplicate key");
}

#[test]
fn the_template_says_what_holds_anyway() {
    let template = template();
    assert_eq!(settings(&template, ""), Settings::default());
    // Without the # before them, settings that have a default are that default.
    let has_default = |line: &&str| {
        let name = line.split(" = ").next().unwrap_or_default();
        let setting = SETTINGS.iter().find(|setting| format!("#{}", setting.name()) == name);
        setting.is_some_and(|setting| {
            matches!((setting.fallback, setting.kind), (Fallback::Value(_), _) | (_, Kind::Switch))
        })
    };
    let said: Vec<&str> = template.lines().filter(has_default).map(|line| line.trim_start_matches('#')).collect();
    assert!(said.len() > 20, "{said:?}");
    assert_eq!(settings(&said.join("\n"), ""), Settings::default());
}

#[test]
fn all_that_is_wrong_is_found_at_once() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"lisen = 'a'\nkeep-alive = 1.5\nmax-messages = 'many'\n").expect("written");
    let path = file.path().to_str().expect("a path of ASCII").to_owned();
    let environment = ["REPL_WIBBLE", "REPL_MAX_BYTES"].map(|name| (name.into(), "x".into()));
    let faults = examine([(&CONFIG, vec![path.clone()])], environment).expect_err("wrong");
    let faults: Vec<String> = faults.iter().map(|fault| fault.to_string().replace(&path, "repl.toml")).collect();
    let parts =
        ["REPL_WIBBLE", "line 2: `keep-alive`", "line 1: no setting", "line 3: `max-messages`", "REPL_MAX_BYTES"];
    assert_eq!(faults.len(), parts.len(), "{faults:?}");
    assert!(parts.iter().all(|part| faults.iter().any(|fault| fault.contains(part))), "{faults:?}");
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let error = load([(&CONFIG, vec!["/nowhere/repl.toml".to_owned()])], []).expect_err("no such file");
    assert_eq!(error.to_string(), "the configuration file /nowhere/repl.toml can't be read");
}

#[test]
fn a_node_either_founds_or_joins() {
    check_refused(
        "",
        "REPL_BOOTSTRAP=1 --join=localhost",
        "REPL_BOOTSTRAP founds a cluster and --join joins one: use --bootstrap on the first node only, and --join on the \
         others",
    );
}

#[test]
fn a_node_that_founds_with_others_knows_where_they_are_and_votes() {
    check_refused("", "--bootstrap-expect=3", "--bootstrap-expect is nothing without --join");
    check_refused(
        "",
        "--bootstrap-expect=3 --join=localhost REPL_LEARNER=1",
        "--bootstrap-expect founds a cluster of voters, and REPL_LEARNER makes this node none: leave out one of them",
    );
    check_refused("", "--bootstrap-expect=1 --join=localhost", "--bootstrap-expect: `1` is too little: at least 2");
    assert_eq!(settings("", "--bootstrap-expect=3 --join=localhost").bootstrap_expect, Some(3));
}

#[test]
fn clients_from_other_machines_are_let_in_only_on_purpose() {
    check_refused(
        "",
        "REPL_LISTEN=0.0.0.0:7375",
        "REPL_LISTEN: 0.0.0.0:7375 is reachable from other machines, and nobody is asked who they are: ask for \
         tokens (--token-key-file), listen on loopback, or say --insecure if everyone who reaches that address may publish and read",
    );
    assert!(settings("", "--listen=0.0.0.0:7375 --insecure=true").insecure);
    for asking in ["--token-key-file=k", "--token-secret-file=s", "--anonymous-subscribe=public:**"] {
        assert!(settings("", &format!("--listen=0.0.0.0:7375 {asking}")).asks_for_tokens());
    }
    assert!(try_load("", "--listen=[::ffff:127.0.0.1]:1").is_ok());
}

#[test]
fn a_certificate_comes_with_its_key() {
    let expected = "--tls-cert is nothing without --tls-key";
    check_refused("", "--tls-cert=c", expected);
    let expected = "repl.toml, line 1: `tls-key` is nothing without --tls-cert";
    check_refused("tls-key = 'k'", "", expected);
    let expected = "--peer-tls-cert is nothing without --peer-tls-ca";
    check_refused("", "--peer-tls-cert=c --peer-tls-key=k", expected);
}

#[test]
fn peers_from_other_machines_are_let_in_only_with_a_secret() {
    check_refused(
        "",
        "--peer-listen=10.0.0.5:7376 --insecure=true",
        "--peer-listen: 10.0.0.5:7376 is reachable from other machines: give every node the same --cluster-secret-file \
         (make one with `openssl rand -hex 32`) or a certificate (--peer-tls-cert), or listen for peers on loopback",
    );
    assert!(try_load("", "--peer-listen=10.0.0.5:7376 --cluster-secret-file=s").is_ok());
}

#[test]
fn a_node_out_of_reach_can_not_join_another_machine() {
    check_refused(
        "",
        "--join=node1",
        "--join: node1 is another machine, which could not reach this node at 127.0.0.1:7376: give every node the same \
         --cluster-secret-file or a certificate, and say where this one listens with --peer-listen",
    );
    assert!(try_load("", "--join=127.0.0.1,localhost:1,[::1]").is_ok());
    // Through a tunnel, say.
    assert!(try_load("", "--join=node1 --advertise-peer=node2").is_ok());
}

#[test]
fn a_node_of_a_cluster_that_listens_everywhere_says_where_it_is() {
    let everywhere = "--listen=0.0.0.0:7375 --insecure=true --cluster-secret-file=s";
    check_refused(
        "",
        everywhere,
        "--listen: 0.0.0.0:7375 stands for every address of this machine: say with --advertise which one others are told",
    );
    check_refused(
        "",
        &format!("{everywhere} --advertise=node1"),
        "--listen: 0.0.0.0:7376 stands for every address of this machine: say with --advertise-peer which one others are \
         told",
    );
    assert!(try_load("", &format!("{everywhere} --advertise=node1 --advertise-peer=node1")).is_ok());
}

#[test]
fn peers_have_a_port_of_their_own() {
    check_refused(
        "",
        "--peer-listen=127.0.0.1:7375",
        "--peer-listen: 127.0.0.1:7375 is where clients connect: peers need a port of their own",
    );
}

#[test]
fn an_election_waits_for_more_than_one_late_heartbeat() {
    check_refused(
        "",
        "--heartbeat=1s",
        "the default of --election-timeout: at least three times --heartbeat, or a late heartbeat calls an election",
    );
}

proptest! {
    #[test]
    fn whatever_is_said_is_settings_or_an_error(
        texts in prop::collection::vec((0..SETTINGS.len(), "\\PC{0,12}|[0-9]{1,25}(ms|d|GiB)?|\\[?[0-9a-f:.]{1,9}\\]?:?[0-9]{0,6}"), 0..4),
        name in "(REPL_)?[A-Z_]{0,12}",
    ) {
        let flags = texts.iter().map(|(row, text)| (&SETTINGS[*row], vec![text.clone()]));
        let environment = texts.iter().map(|(row, text)| (SETTINGS[*row].variable().into(), text.into()));
        let _ = load(flags, []);
        let _ = load([], environment.chain([(name.into(), "x".into())]));
    }
}

//! The image, and what runs it: deploy/docker and deploy/kubernetes, as far as they can be checked where no containers run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use repl::config::{SETTINGS, Settings, duration};
use serde_json::Value;

use crate::cluster::Cluster;

/// For what stopping takes beyond the drain window.
const STOP: Duration = Duration::from_secs(30);

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a file.
fn yaml(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The arguments of each of the instructions of this name, in the last stage.
fn instructions(name: &str) -> Vec<String> {
    let text = read("deploy/docker/Dockerfile").replace("\\\n", "");
    let stage = text.rsplit_once("\nFROM ").expect("a last stage").1;
    let begin = format!("{name} ");
    stage.lines().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect()
}

/// The variables of a container: those of the image, and its own.
fn variables(own: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let image = instructions("ENV");
    let image = image.iter().flat_map(|line| line.split_whitespace()).filter_map(|pair| pair.split_once('='));
    let image = image.map(|(name, value)| (name.to_owned(), value.to_owned()));
    image.chain(own).collect()
}

/// Asserts that a node could start with these variables, but for where its files are: those are made.
fn check(variables: &BTreeMap<String, String>) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_repl"));
    command.env_clear().args(["config", "check"]);
    for (name, value) in variables {
        let is_file = name.ends_with("_FILE") || name.ends_with("_DIR");
        let path = directory.path().join(name);
        if name.ends_with("_FILE") {
            fs::write(&path, "0123456789abcdef0123456789abcdef").expect("written");
        }
        command.env(name, if is_file { path.as_os_str() } else { value.as_ref() });
    }
    let output = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{variables:?}: {told}");
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} of {value}"))
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("no list at {pointer} of {value}"))
}

fn drain_window() -> Duration {
    Settings::default().drain_window
}

/// The ports of clients and nodes, unless said.
fn ports() -> [u16; 2] {
    [Settings::default().listen.port(), Settings::PEER_PORT]
}

#[test]
fn the_image_has_what_it_is_built_of_and_the_ports_of_a_node() {
    let exposed = instructions("EXPOSE").concat();
    assert_eq!(exposed, ports().map(|port| port.to_string()).join(" "));
    let image = variables([]);
    let known: BTreeSet<String> = SETTINGS.iter().map(|setting| setting.variable()).collect();
    assert!(image.keys().all(|name| known.contains(name)), "{image:?}");
    assert_eq!(instructions("VOLUME"), [image["REPL_DATA_DIR"].as_str()]);
    // It listens beyond the container: whoever starts it says who may come in.
    let mut open = image.clone();
    open.insert("REPL_INSECURE".to_owned(), "true".to_owned());
    check(&open);

    let manifest = read("Cargo.toml");
    let least = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).expect("there is one");
    let dockerfile = read("deploy/docker/Dockerfile");
    let builder = dockerfile.split_once("FROM rust:").expect("a builder").1.split_once('-').expect("a version").0;
    let version =
        |text: &str| text.trim_end_matches('"').split('.').map(|part| part.parse().unwrap()).collect::<Vec<u32>>();
    assert!(version(builder) >= version(least), "{builder} builds, and {least} is needed");
}

#[tokio::test]
async fn the_health_check_of_the_image_tells_whether_a_node_runs() {
    let check = instructions("HEALTHCHECK").concat();
    let (_, words) = check.split_once("CMD ").expect("a command");
    let words: Vec<String> = serde_json::from_str(words).expect("a list");
    let (program, words) = words.split_first().expect("a program");
    assert_eq!(instructions("ENTRYPOINT"), [format!("[\"{program}\"]")]);
    let copied = |line: &String| line.starts_with("--from=build ") && line.ends_with(&format!(" {program}"));
    assert!(instructions("COPY").iter().any(copied), "{program} is there");

    let mut cluster = Cluster::of(1).await;
    let data_dir = cluster.nodes[0].data_dir();
    let healthy = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_repl"));
        command.env_clear().env("REPL_DATA_DIR", &data_dir).args(words);
        command.output().expect("it runs").status.success()
    };
    assert!(healthy());
    cluster.nodes[0].kill();
    assert!(!healthy());
}

#[test]
fn the_nodes_of_the_compose_file_find_each_other() {
    let [file] = yaml("deploy/docker/compose.yaml").try_into().expect("one document");
    let services = file["services"].as_object().expect("services");
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    for (name, service) in services {
        let own = service["environment"].as_object().expect("variables");
        let own = own.iter().map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned()));
        let variables = variables(own);
        check(&variables);
        assert_eq!(variables["REPL_JOIN"].split(',').collect::<Vec<_>>(), names);
        assert_eq!(variables["REPL_BOOTSTRAP_EXPECT"], names.len().to_string());
        assert_eq!(&variables["REPL_ADVERTISE_PEER"], name);
        let published = format!("{}:{}", variables["REPL_ADVERTISE"].trim_start_matches("http://"), ports()[0]);
        assert_eq!(list(service, "/ports"), [Value::from(published)]);

        let (volume, path) = text(service, "/volumes/0").split_once(':').expect("a volume");
        assert!(file["volumes"].as_object().is_some_and(|volumes| volumes.contains_key(volume)));
        assert_eq!(path, variables["REPL_DATA_DIR"]);
        let secret = text(service, "/secrets/0");
        assert!(file["secrets"].get(secret).is_some());
        assert_eq!(variables["REPL_CLUSTER_SECRET_FILE"], format!("/run/secrets/{secret}"));
        let grace = duration(text(service, "/stop_grace_period")).expect("a time");
        assert!(grace > drain_window() + STOP, "{grace:?}");
        let dockerfile = text(service, "/build/dockerfile");
        assert!(read(dockerfile).contains("FROM"));
    }
}

#[test]
fn the_pods_of_the_stateful_set_find_each_other() {
    let path = "deploy/kubernetes/repl.yaml";
    let documents = yaml(path);
    let kind = |kind: &str| documents.iter().filter(|document| document["kind"] == kind).collect::<Vec<_>>();
    let [set] = kind("StatefulSet").try_into().expect("one");
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    let service = text(set, "/spec/serviceName");

    let own = |pod: &str| -> Vec<(String, String)> {
        let given = list(container, "/env").iter().filter(|variable| variable.get("value").is_some());
        let value = |variable: &Value| text(variable, "/value").replace("$(POD_NAME)", pod);
        given.map(|variable| (text(variable, "/name").to_owned(), value(variable))).collect()
    };
    let replicas = set["spec"]["replicas"].as_u64().expect("a number");
    for ordinal in 0..replicas {
        let pod = format!("{}-{ordinal}", text(set, "/metadata/name"));
        let variables = variables(own(&pod));
        check(&variables);
        assert_eq!(variables["REPL_BOOTSTRAP_EXPECT"], replicas.to_string());
        assert_eq!(variables["REPL_JOIN"], service);
        assert_eq!(variables["REPL_ADVERTISE_PEER"], format!("{pod}.{service}"));
        assert_eq!(variables["REPL_ADVERTISE"], format!("http://{pod}.{service}:{}", ports()[0]));
    }

    let named: BTreeMap<&str, u64> = list(container, "/ports")
        .iter()
        .map(|port| (text(port, "/name"), port["containerPort"].as_u64().expect("a number")))
        .collect();
    assert_eq!(named, BTreeMap::from([("clients", ports()[0].into()), ("peers", ports()[1].into())]));
    let services = kind("Service");
    for service in &services {
        assert_eq!(&service["spec"]["selector"], labels);
        for port in list(service, "/spec/ports") {
            assert_eq!(port["port"].as_u64(), named.get(text(port, "/targetPort")).copied());
        }
    }
    let [headless] =
        services.into_iter().filter(|other| text(other, "/metadata/name") == service).collect::<Vec<_>>()[..]
    else {
        panic!("no service {service}")
    };
    assert_eq!(
        (&headless["spec"]["clusterIP"], &headless["spec"]["publishNotReadyAddresses"]),
        (&"None".into(), &true.into())
    );
    let [budget] = kind("PodDisruptionBudget").try_into().expect("one");
    for selector in [&set["spec"]["selector"], &budget["spec"]["selector"]] {
        assert_eq!(&selector["matchLabels"], labels);
    }

    let reference = read("docs/reference/http.md");
    for probe in ["livenessProbe", "readinessProbe"] {
        let path = text(container, &format!("/{probe}/httpGet/path"));
        assert!(reference.contains(path), "{path} is in the reference");
        assert!(named.contains_key(text(container, &format!("/{probe}/httpGet/port"))));
    }
    let seconds = |value: &Value| Duration::from_secs(value.as_u64().expect("a number"));
    let before = seconds(&container["lifecycle"]["preStop"]["sleep"]["seconds"]);
    assert!(seconds(&pod["terminationGracePeriodSeconds"]) > before + drain_window() + STOP);

    let mounted: BTreeMap<&str, &str> = list(container, "/volumeMounts")
        .iter()
        .map(|mount| (text(mount, "/name"), text(mount, "/mountPath")))
        .collect();
    let variables = variables(own("repl-0"));
    assert_eq!(mounted["data"], variables["REPL_DATA_DIR"]);
    assert_eq!(text(set, "/spec/volumeClaimTemplates/0/metadata/name"), "data");
    assert_eq!(text(pod, "/volumes/0/name"), "secrets");
    let secret = text(pod, "/volumes/0/secret/secretName");
    let told = read(path);
    assert!(told.contains(&format!("kubectl create secret generic {secret} ")), "how {secret} is made is told");
    for file in variables.iter().filter_map(|(name, value)| name.ends_with("_FILE").then_some(value)) {
        let key = file.strip_prefix(mounted["secrets"]).expect("it is mounted there").trim_start_matches('/');
        assert!(told.contains(&format!("--from-literal={key}=")), "how {key} is made is told");
    }
}

/// What the build is not given is nothing that it needs.
#[test]
fn the_build_is_given_every_file_of_the_repository() {
    let ignored = read(".dockerignore");
    let ignored: Vec<&str> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let files = String::from_utf8(git.output().expect("git is installed").stdout).expect("UTF-8");
    assert!(files.lines().any(|file| file == "Cargo.lock"));
    for file in files.lines() {
        let is_ignored = |pattern: &&str| match pattern.strip_prefix("**/") {
            Some(name) => file.split('/').any(|part| part == name),
            None => file == *pattern || file.starts_with(&format!("{pattern}/")),
        };
        assert!(!ignored.iter().any(is_ignored), "{file}");
    }
}

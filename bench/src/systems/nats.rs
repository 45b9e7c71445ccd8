//! NATS: core, which passes messages on, and JetStream, which keeps them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep, timeout};

use super::server::{START_TIMEOUT, Server, configure, free_address};
use super::{Setup, Started};
use crate::wire::{Ack, Inlet, Outlet, SUBJECT, nats_request};

pub(super) const NEEDS: &[&str] = &["nats-server"];

/// Servers of a cluster.
const SERVERS: usize = 3;

/// For one answer of the API, which says nothing while there is no leader.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn start_core(setup: &Setup, dir: &Path) -> Result<Started> {
    let listen = free_address()?;
    let values = [("listen", &*listen.to_string())];
    let server = run(setup, dir, "nats", include_str!("../../peers/nats/core.conf"), &values, listen).await?;
    Ok(Started {
        version: setup.version("nats-server", "--version")?,
        inlet: Inlet::Nats { server: listen, ack: Ack::Read },
        outlet: Some(Outlet::Nats { server: listen }),
        cluster: None,
        servers: vec![server],
    })
}

pub(super) async fn start_jetstream(setup: &Setup, dir: &Path, sync: bool) -> Result<Started> {
    let mut addresses = Vec::new();
    for _ in 0..SERVERS {
        addresses.push((free_address()?, free_address()?));
    }
    let routes: Vec<String> = addresses.iter().map(|(_, route)| format!("\"nats://{route}\"")).collect();
    let mut servers = Vec::new();
    for (number, (listen, route)) in addresses.iter().enumerate() {
        let name = format!("server-{number}");
        let store = dir.join(&name);
        let values = [
            ("listen", &*listen.to_string()),
            ("name", &name),
            ("dir", &store.to_string_lossy()),
            ("sync", if sync { "sync_interval: always" } else { "" }),
            ("route", &route.to_string()),
            ("routes", &routes.join(", ")),
        ];
        servers.push(run(setup, dir, &name, include_str!("../../peers/nats/jetstream.conf"), &values, *listen).await?);
    }
    let any = addresses.first().context("no server")?.0;
    let leader = create_stream(any).await?;
    let number: usize = leader.trim_start_matches("server-").parse().context("an unknown leader")?;
    let server = addresses.get(number).context("an unknown leader")?.0;
    Ok(Started {
        version: setup.version("nats-server", "--version")?,
        inlet: Inlet::Nats { server, ack: Ack::Stored },
        outlet: None,
        cluster: None,
        servers,
    })
}

async fn run(
    setup: &Setup,
    dir: &Path,
    name: &str,
    template: &str,
    values: &[(&str, &str)],
    listen: SocketAddr,
) -> Result<Server> {
    let file = dir.join(format!("{name}.conf"));
    configure(&file, template, values)?;
    let mut command = setup.program("nats-server")?;
    command.arg("-c").arg(&file);
    let mut server = Server::start(command, &dir.join(format!("{name}.log")))?;
    server.wait_for_port(listen).await?;
    Ok(server)
}

/// Creates the stream, as soon as the servers have found each other, and tells who leads it.
async fn create_stream(server: SocketAddr) -> Result<String> {
    let stream = json!({
        "name": SUBJECT, "subjects": [SUBJECT], "num_replicas": SERVERS, "storage": "file", "retention": "limits",
        "discard": "old", "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_consumers": -1,
    });
    let give_up = Instant::now() + START_TIMEOUT;
    loop {
        ensure!(Instant::now() < give_up, "the servers do not become a cluster");
        let subject = format!("$JS.API.STREAM.CREATE.{SUBJECT}");
        let asked = timeout(ANSWER_TIMEOUT, nats_request(server, &subject, &stream.to_string())).await;
        if let Ok(Ok(answer)) = asked {
            let answer: Value = serde_json::from_str(&answer).context("not an answer of the API")?;
            if let Some(leader) = answer.pointer("/cluster/leader").and_then(Value::as_str) {
                return Ok(leader.to_owned());
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Messages of the stream.
pub(super) async fn stored(server: SocketAddr) -> Result<u64> {
    let answer = nats_request(server, &format!("$JS.API.STREAM.INFO.{SUBJECT}"), "").await?;
    let answer: Value = serde_json::from_str(&answer).context("not an answer of the API")?;
    let Some(messages) = answer.pointer("/state/messages").and_then(Value::as_u64) else {
        bail!("no count in {answer}");
    };
    Ok(messages)
}

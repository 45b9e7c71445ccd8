//! etcd: three members, driven through the JSON gateway, which is its HTTP API.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::{Duration, sleep};

use super::server::{START_TIMEOUT, Server, free_address};
use super::{Setup, Started};
use crate::wire::http::{Body, Connection, Inlet, base64};
use crate::wire::{self};

pub(super) const NEEDS: &[&str] = &["etcd"];

const MEMBERS: usize = 3;

pub(super) async fn start(setup: &Setup, dir: &Path) -> Result<Started> {
    let mut addresses = Vec::new();
    for _ in 0..MEMBERS {
        addresses.push((free_address()?, free_address()?));
    }
    let members = addresses.iter().enumerate();
    let members: Vec<String> = members.map(|(number, (_, peer))| format!("m{number}=http://{peer}")).collect();
    let mut servers = Vec::new();
    for (number, (client, peer)) in addresses.iter().enumerate() {
        let mut command = setup.program("etcd")?;
        let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
        command.args(["--name", &format!("m{number}"), "--initial-cluster", &members.join(",")]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--log-level", "error"]).arg("--data-dir").arg(dir.join(format!("m{number}")));
        servers.push(Server::start(command, &dir.join(format!("m{number}.log")))?);
    }
    for (server, (client, _)) in servers.iter_mut().zip(&addresses) {
        server.wait_for_port(*client).await?;
    }
    let clients: Vec<SocketAddr> = addresses.into_iter().map(|(client, _)| client).collect();
    Ok(Started {
        version: setup.version("etcd", "--version")?,
        inlet: wire::Inlet::Http(Inlet {
            servers: vec![leader(&clients).await?],
            path: "/v3/kv/put".to_owned(),
            headers: String::new(),
            body: Body::Base64Within { before: format!(r#"{{"key":"{}","value":""#, base64("bench")), behind: "\"}" },
        }),
        outlet: None,
        cluster: None,
        servers,
    })
}

/// Who leads, once somebody does.
async fn leader(clients: &[SocketAddr]) -> Result<SocketAddr> {
    let give_up = Instant::now() + START_TIMEOUT;
    loop {
        for client in clients {
            let status = ask(*client, "/v3/maintenance/status", "{}").await?;
            let leader = status.get("leader").and_then(Value::as_str);
            if leader.is_some() && leader == status.pointer("/header/member_id").and_then(Value::as_str) {
                return Ok(*client);
            }
        }
        ensure!(Instant::now() < give_up, "the members do not elect a leader");
        sleep(Duration::from_millis(50)).await;
    }
}

/// How often the key was written: a revision each, after the first.
pub(super) async fn stored(inlet: &Inlet) -> Result<u64> {
    let server = *inlet.servers.first().context("no member")?;
    let answer = ask(server, "/v3/kv/range", &format!(r#"{{"key":"{}"}}"#, base64("bench"))).await?;
    let version = answer.pointer("/kvs/0/version").and_then(Value::as_str);
    version.map_or(Ok(0), |version| version.parse().context("not a version"))
}

async fn ask(client: SocketAddr, path: &str, body: &str) -> Result<Value> {
    let mut connection = Connection::open(client).await?;
    connection.post(path, "content-type: application/json\r\n", body).await?.json(&[200, 503])
}

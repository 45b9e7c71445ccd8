//! The three demo applications of the thesis that `repl` grew out of: a chat whose messages one Node.js process hands to
//! its own subscribers, one that hands them on through Redis, and one that leaves its subscribers to `repl`.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::repl::Cluster;
use super::server::{Server, free_address};
use super::{Setup, Started, redis, source};
use crate::wire::http::{Body, Inlet};
use crate::wire::{self, Live, Outlet};

pub(super) const NEEDS: &[&str] = &["node"];
pub(super) const NEEDS_WITH_REDIS: &[&str] = &["node", "redis-server", "@redis/client"];

pub(super) async fn start(setup: &Setup, dir: &Path) -> Result<Started> {
    let (server, address) = run(setup, dir, "monolith.js", "").await?;
    started(setup, address, vec![server])
}

pub(super) async fn start_with_redis(setup: &Setup, dir: &Path) -> Result<Started> {
    let (redis, redis_address) = redis::run(setup, dir, include_str!("../../peers/redis/pubsub.conf")).await?;
    let (server, address) = run(setup, dir, "with-redis.js", &format!("redis://{redis_address}")).await?;
    started(setup, address, vec![server, redis])
}

pub(super) async fn start_with_repl(setup: &Setup, dir: &Path, cluster: Cluster) -> Result<Started> {
    let (outlet, repl) = (cluster.outlet("bench"), cluster.url_of("bench")?);
    let (server, address) = run(setup, dir, "with-repl.js", &repl).await?;
    let started = started(setup, address, vec![server])?;
    Ok(Started { outlet: Some(outlet), cluster: Some(cluster), ..started })
}

/// Starts one of the applications with what it hands its messages to.
async fn run(setup: &Setup, dir: &Path, application: &str, to: &str) -> Result<(Server, SocketAddr)> {
    let address = free_address()?;
    let mut command = setup.program("node")?;
    command.arg(source("node").join(application)).arg(address.port().to_string()).arg(to);
    let mut server = Server::start(command, &dir.join("node.log"))?;
    server.wait_for_port(address).await?;
    Ok((server, address))
}

fn started(setup: &Setup, address: SocketAddr, servers: Vec<Server>) -> Result<Started> {
    let (at, path) = (vec![address], "/chat".to_owned());
    Ok(Started {
        version: setup.version("node", "--version")?,
        inlet: wire::Inlet::Http(Inlet { servers: at.clone(), path, headers: String::new(), body: Body::Bare }),
        outlet: Some(Outlet::Sse { servers: at, path: "/chat/sse".to_owned(), live: Live::Answer }),
        cluster: None,
        servers,
    })
}

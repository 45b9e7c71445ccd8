//! Redis: Streams that are fsynced, and what the chat with Redis stands on.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use super::server::{Server, configure, free_address};
use super::{Setup, Started};
use crate::wire::{Inlet, redis_command};

pub(super) const NEEDS: &[&str] = &["redis-server"];

pub(super) async fn start(setup: &Setup, dir: &Path) -> Result<Started> {
    let (server, address) = run(setup, dir, include_str!("../../peers/redis/streams.conf")).await?;
    Ok(Started {
        version: version(address).await?,
        inlet: Inlet::Redis { server: address },
        outlet: None,
        cluster: None,
        servers: vec![server],
    })
}

/// Starts a server with this configuration.
pub(super) async fn run(setup: &Setup, dir: &Path, template: &str) -> Result<(Server, SocketAddr)> {
    let address = free_address()?;
    let file = dir.join("redis.conf");
    configure(&file, template, &[("port", &address.port().to_string()), ("dir", &dir.to_string_lossy())])?;
    let mut command = setup.program("redis-server")?;
    command.arg(&file);
    let mut server = Server::start(command, &dir.join("redis.log"))?;
    server.wait_for_port(address).await?;
    Ok((server, address))
}

/// Messages of the stream.
pub(super) async fn stored(server: SocketAddr) -> Result<u64> {
    let answer = redis_command(server, &["XLEN", "bench"]).await?;
    answer.trim().trim_start_matches(':').parse().with_context(|| format!("not a count: {answer}"))
}

async fn version(server: SocketAddr) -> Result<String> {
    let info = redis_command(server, &["INFO", "server"]).await?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Ok(version.unwrap_or("unknown").trim().to_owned())
}

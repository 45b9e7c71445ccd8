//! Nchan, the module that lets nginx publish and subscribe.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::server::{Server, configure, free_address};
use super::{Setup, Started};
use crate::wire::http::{Body, Inlet};
use crate::wire::{self, Live, Outlet};

pub(super) const NEEDS: &[&str] = &["nginx", "ngx_nchan_module.so"];

pub(super) async fn start(setup: &Setup, dir: &Path) -> Result<Started> {
    let address = free_address()?;
    let file = dir.join("nginx.conf");
    let module = setup.find("ngx_nchan_module.so").context("no module")?;
    let values = [
        ("module", &*module.to_string_lossy()),
        ("listen", &address.to_string()),
        ("user", if rustix::process::geteuid().is_root() { "user root;" } else { "" }),
    ];
    configure(&file, include_str!("../../peers/nchan/nginx.conf"), &values)?;
    fs::create_dir(dir.join("logs")).context("no directory for logs")?;
    let mut command = setup.program("nginx")?;
    command.arg("-p").arg(dir).arg("-c").arg(&file);
    let mut server = Server::start(command, &dir.join("log"))?;
    server.wait_for_port(address).await?;
    let servers = vec![address];
    Ok(Started {
        version: format!("on nginx {}", setup.version("nginx", "-v")?),
        inlet: wire::Inlet::Http(Inlet {
            servers: servers.clone(),
            path: "/publish/bench".to_owned(),
            headers: String::new(),
            body: Body::Bare,
        }),
        outlet: Some(Outlet::Sse { servers, path: "/subscribe/bench".to_owned(), live: Live::Answer }),
        cluster: None,
        servers: vec![server],
    })
}

//! What whoever has started a node is told.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::domain::NodeId;

/// What there is to know.
#[derive(Debug)]
pub enum News<'a> {
    /// The node serves. Once.
    Serves(&'a Started),
    /// How it is, in a line. Once a second, changed or not: it also shows that the process goes on.
    Condition(String),
    /// It is about to stop.
    Stops,
}

/// What a node says of itself once it serves: printed for people, written to the ready file for programs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// Of the program.
    pub version: String,
    /// Of the process.
    pub pid: u32,
    /// The cluster's id. The same on all its nodes, for ever.
    pub cluster: String,
    /// The node's id in its cluster.
    pub node: NodeId,
    /// Where clients connect, with the port that was picked.
    pub listen: SocketAddr,
    /// The URL that clients are told.
    pub url: String,
    /// Where other nodes connect, with the port that was picked.
    pub peer_listen: SocketAddr,
    /// `host:port` that other nodes are told, and that they `--join`.
    pub peer: String,
    /// Absolute.
    pub data_dir: PathBuf,
    /// Whether clients are served over TLS.
    pub serves_tls: bool,
    /// Whether clients are asked who they are.
    pub asks_for_tokens: bool,
}

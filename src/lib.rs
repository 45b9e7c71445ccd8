//! `repl`: a Raft-replicated publish/subscribe broker for web applications, over Server-Sent Events.
//!
//! The modules are layers: each knows only those below it. `ARCHITECTURE.md` tells the story; a test checks the arrows.

pub mod auth;
pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod consensus;
pub mod domain;
pub mod durations;
#[cfg(test)]
mod fuzz;
pub mod http;
pub mod node;
pub mod peer;
pub mod rpc;
pub mod server;
pub mod state;
pub mod storage;
pub mod telemetry;
pub mod tls;
pub mod trace;

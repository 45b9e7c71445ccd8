//! The tests that see repl from outside. One binary, so that it is linked once.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "clippy allows these in tests, but doesn't take the helpers of a test crate for tests"
)]

mod access;
mod administration;
#[path = "../../src/tls/tests/authority.rs"]
mod authority;
mod balance;
mod chaos;
mod cli;
mod cluster;
mod config;
mod containers;
mod context;
mod damage;
mod deploy;
mod digest;
mod disaster;
mod documents;
mod drain;
#[path = "../durability/ext4.rs"]
mod ext4;
mod failing_disk;
mod failover;
mod forgery;
mod founding;
mod full_disk;
mod golden;
mod interest;
mod licences;
mod lifecycle;
mod limits;
mod membership;
mod metrics;
mod monitor;
mod output;
mod presence;
mod reference;
mod regressions;
mod remote;
mod service;
mod soak;
mod terminal;
mod tidy;
mod tls;
mod top;
mod traces;

//! How many descriptors this process may have, and how many of them are for clients.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// What clients' connections never take: for the log, the store, other nodes, and those that claim to be nodes.
const RESERVED: u64 = 512;

/// Connections of clients that there are descriptors for, at most `wanted`. As many as that takes are asked of the system.
/// What a process may have is sometimes very little: then half of it.
pub(super) fn connections(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = wanted.saturating_add(RESERVED);
    let Some(limit) = current.filter(|limit| *limit < needed) else { return wanted };
    let raised = maximum.map_or(needed, |maximum| needed.min(maximum));
    let limit = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(_) => limit,
    };
    let connections = wanted.min(limit - RESERVED.min(limit / 2));
    if connections < wanted {
        warn!(
            "at most {connections} connections of clients, and not {wanted} (--max-connections): the process may have \
             {limit} descriptors (LimitNOFILE, ulimit -n)"
        );
    }
    connections
}

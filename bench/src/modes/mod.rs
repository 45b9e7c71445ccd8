//! One file for each mode: what it does, and a row of what it found.

pub(crate) mod failover;
pub(crate) mod fan;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod publish;
pub(crate) mod resume;
pub(crate) mod targets;
pub(crate) mod topics;

use std::time::Duration;

use tokio::time::sleep;

/// Lets a load go on.
async fn pass(seconds: f64) {
    sleep(Duration::from_secs_f64(seconds)).await;
}

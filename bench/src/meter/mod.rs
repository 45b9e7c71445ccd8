//! What is counted: time, memory and work of the servers, latencies, and the machine that all this happened on.

pub(crate) mod counts;
pub(crate) mod histogram;
pub(crate) mod machine;
pub(crate) mod process;

//! The `repl` program.

use std::env;
use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// A publish is allocated on one thread and freed on another, where glibc's allocator waits for locks: 41 k
/// acknowledgements a second became 67 k (256 publishers, one node, two cores).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    repl::cli::run(env::args_os(), env::vars_os())
}

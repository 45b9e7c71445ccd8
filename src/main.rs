//! The `repl` program.

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    repl::cli::run(env::args_os(), env::vars_os())
}

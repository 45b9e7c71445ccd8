//! The `repl` program.

fn main() {}

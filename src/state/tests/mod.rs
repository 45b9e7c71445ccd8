//! Tests of the whole machine: scripts for what a reader can check, properties for what must hold always.

mod fuzz;
mod marks;
mod properties;
mod replica;
mod restore;
mod scripts;

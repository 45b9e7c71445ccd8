//! The checkpoint store: its workloads; against a model, across exports, and what a crash leaves of sled's file.

mod crash;
mod export;
mod files;
mod generations;
mod model;
mod workload;

pub(crate) use workload::{Bulky, Imported, Mixed, StoreWorkload};

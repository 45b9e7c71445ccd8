//! The segment log: its workload, and what random histories and damaged bytes do to it.

mod damage;
mod history;
mod random_histories;
mod workload;

pub(crate) use workload::LogWorkload;

//! What a node keeps on disk: its identity, the fsynced log, and the checkpoint of what is older than the log.
//!
//! Storage deals in bytes and [`LogIndex`](crate::domain::LogIndex). It knows neither Raft's types nor what an entry or a
//! row says, so its rules can be read, and tested, on their own.

mod data_dir;
mod durable;
mod log;
mod plan_file;
mod store;

pub use data_dir::{DataDir, DataDirError, Identity};
pub use log::{Log, LogError, LogFailure, LogMetrics, LogOptions, LogState};
pub use plan_file::PlanFile;
pub use store::{
    Change, Export, KEY_BYTES_MAX, Row, Rows, Store, StoreError, VALUE_BYTES_MAX, exported_rows, verify_export,
};

//! openraft's own conformance suite for logs and state machines, against ours.

use std::path::Path;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::checkpoint::CheckpointOptions;
use super::log_storage::LogStorage;
use super::replica::{Replica, Stored};
use super::snapshot::Exports;
use super::state_machine::StateMachine;
use super::types::TypeConfig;
use crate::broker::{Broker, BrokerOptions};
use crate::domain::Epoch;
use crate::state::Machine;
use crate::storage::{Log, LogOptions, Store};

struct Builder;

impl StoreBuilder<TypeConfig, LogStorage, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStorage, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("a directory");
        let log = Log::open(&dir.path().join("log"), LogOptions::default()).expect("an empty log");
        let machine = state_machine(dir.path(), CheckpointOptions::default());
        Ok((dir, LogStorage::new(log), machine))
    }
}

/// One that has applied nothing.
pub(super) fn state_machine(dir: &Path, checkpoints: CheckpointOptions) -> StateMachine {
    let store = Store::open(&dir.join("state")).expect("an empty store");
    let exports = Exports::open(dir.join("export")).expect("an empty directory");
    let (_, feed, _) = Broker::new(Epoch::from_seed([7; 16]), BrokerOptions::default());
    let replica = Replica::new(Machine::new(), Stored::default(), store);
    StateMachine::new(replica, exports, checkpoints, feed, dir.to_owned())
}

#[tokio::test]
async fn log_and_state_machine_keep_openrafts_contract() {
    Suite::<TypeConfig, _, _, _, _>::test_all(Builder).await.expect("the suite passes");
}

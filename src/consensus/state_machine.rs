//! openraft's state machine over [`Replica`].

use std::io;
use std::path::PathBuf;

use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};

use super::checkpoint::{self, CheckpointOptions};
use super::replica::{Replica, Stored};
use super::snapshot::{self, Exports};
use super::types::{Applied, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::broker::Feed;
use crate::domain::LogIndex;
use crate::state::Machine;
use crate::storage::Store;

/// Entries applied under one lock and delivered to the broker as one batch. A commit brings all it has at once; the
/// bound keeps readers from waiting while a node catches up.
const GROUP_ENTRIES_MAX: usize = 256;

pub(super) type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// The content of a snapshot.
#[derive(Clone, Debug)]
pub(super) enum SnapshotData {
    /// A store that holds it. Nothing is copied before a follower needs it.
    Store(Store),
    /// A file that came from another node.
    Received(PathBuf),
}

/// What openraft applies entries to.
#[derive(Debug)]
pub(super) struct StateMachine {
    replica: Replica,
    exports: Exports,
    checkpoints: CheckpointOptions,
    feed: Feed,
    incoming_dir: PathBuf,
}

/// Takes a checkpoint when openraft wants a snapshot.
#[derive(Debug)]
pub(super) struct Checkpoints(Replica);

impl StateMachine {
    /// Over a replica, feeding a broker that starts where the replica does.
    pub(super) fn new(
        replica: Replica,
        exports: Exports,
        checkpoints: CheckpointOptions,
        mut feed: Feed,
        incoming_dir: PathBuf,
    ) -> Self {
        feed.reset(replica.read(Machine::position));
        Self { replica, exports, checkpoints, feed, incoming_dir }
    }

    /// Takes a checkpoint if those that are taken regularly can't keep up, or aren't yet: openraft replays the log before
    /// anything else runs. Applying waits for nobody else; whoever else takes one may be waiting for applying.
    async fn bound_memory(&self) -> io::Result<()> {
        let has_backlog = self.replica.read(|machine| self.checkpoints.has_backlog(machine));
        if has_backlog { checkpoint::take(&self.replica).await.map_err(io::Error::other) } else { Ok(()) }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Checkpoints;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok(self.replica.read_state(|state| (state.applied, state.membership.clone())))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut groups = entries.ready_chunks(GROUP_ENTRIES_MAX);
        while let Some(group) = groups.next().await {
            self.bound_memory().await?;
            let mut entries = Vec::with_capacity(group.len());
            let mut responders = Vec::with_capacity(group.len());
            for item in group {
                let (entry, responder) = item?;
                responders.push((LogIndex::new(entry.log_id.index), responder));
                entries.push(entry);
            }
            let (outcomes, events) = self.replica.apply(entries)?;
            self.feed.deliver(&events);
            self.replica.announce();
            for ((index, responder), outcomes) in responders.into_iter().zip(outcomes) {
                if let Some(responder) = responder {
                    responder.send(Applied { index, outcomes });
                }
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Checkpoints {
        Checkpoints(self.replica.clone())
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let file = match data {
            SnapshotData::Received(file) => file,
            SnapshotData::Store(store) => {
                let file = self.incoming_dir.join("copy");
                let copy = file.clone();
                let export = tokio::task::spawn_blocking(move || store.export(&copy));
                export.await.expect("an export never panics").map_err(io::Error::other)?;
                file
            }
        };
        snapshot::install(&self.replica, file, meta).await?;
        // What this node exported before is not continued by its log any more.
        self.exports.forget_before(meta.last_log_id.map_or(0, |last| last.index));
        self.feed.reset(self.replica.read(Machine::position));
        self.replica.announce();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        // openraft asks for it when a follower needs one, and counts the follower as holding what it says.
        let meta = self.exports.at_hand().unwrap_or_else(|| self.replica.stored().into());
        Ok(Some(snapshot(meta, &self.replica)).filter(|snapshot| snapshot.meta.last_log_id.is_some()))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Checkpoints {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let Self(replica) = self;
        checkpoint::take(replica).await.map_err(io::Error::other)?;
        // The last checkpoint *is* the snapshot.
        Ok(snapshot(replica.stored().into(), replica))
    }
}

fn snapshot(meta: SnapshotMeta, replica: &Replica) -> Snapshot {
    Snapshot { meta, snapshot: SnapshotData::Store(replica.store()) }
}

impl From<Stored> for SnapshotMeta {
    fn from(stored: Stored) -> Self {
        Self { last_log_id: stored.applied, last_membership: stored.membership }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use openraft::EntryPayload;
    use openraft::entry::RaftEntry as _;
    use tempfile::TempDir;

    use super::super::suite;
    use super::super::types::{Proposal, RaftEntry};
    use super::*;
    use crate::domain::{Headers, JsonText, NewMessage, Timestamp, TopicName, TopicSettings};
    use crate::state::{Command, Entry, KeyWindow, Quotas};

    const OPTIONS: CheckpointOptions =
        CheckpointOptions { bytes: 1_000, rows: 100, interval: Duration::from_secs(30), log_keep_segments: 4 };

    struct World {
        machine: StateMachine,
        next: u64,
        _dir: TempDir,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            Self { machine: suite::state_machine(dir.path(), OPTIONS), next: 1, _dir: dir }
        }

        /// Applies a kilobyte of messages, as openraft does: with nobody else at work.
        async fn apply(&mut self) -> LogId {
            let log_id = LogId { leader_id: 1.into(), index: self.next };
            self.next += 1;
            let value = JsonText::parse(&format!("\"{}\"", "x".repeat(1_000))).expect("JSON");
            let message = NewMessage::new(value, Headers::default(), None, None);
            let topic = TopicName::parse("orders").expect("a name");
            let publish = Command::Publish { topic, messages: vec![message], create: Some(TopicSettings::default()) };
            let time = Timestamp::from_millis(self.next);
            let entry = Entry::join(time, KeyWindow::default(), Quotas::default(), &[publish.encode()]);
            let entry = RaftEntry::new(log_id, EntryPayload::Normal(Proposal(entry)));
            let applied = self.machine.apply(stream::iter([Ok((entry, None))]));
            tokio::time::timeout(Duration::from_secs(10), applied).await.expect("within 10 s").expect("applied");
            log_id
        }
    }

    #[tokio::test]
    async fn replaying_a_long_log_waits_for_nobody_and_takes_little_memory() {
        let mut world = World::new();
        for _ in 0..20 {
            world.apply().await;
        }
        assert!(world.machine.replica.read(Machine::changed_bytes) <= 5 * 1_100);
        assert!(world.machine.replica.stored().applied.is_some_and(|stored| stored.index > 10));
    }

    #[tokio::test]
    async fn the_snapshot_is_the_one_that_is_offered_to_followers_as_long_as_the_log_continues_it() {
        let mut world = World::new();
        let first = world.apply().await;
        world.machine.get_snapshot_builder().await.build_snapshot().await.expect("built");
        let (replica, exports) = (world.machine.replica.clone(), world.machine.exports.clone());
        let offer = exports.offer(&replica, Some(first)).await.expect("exported");
        assert_eq!(offer.meta.last_log_id, Some(first));

        let second = world.apply().await;
        world.machine.get_snapshot_builder().await.build_snapshot().await.expect("built");
        let snapshot = world.machine.get_current_snapshot().await.expect("read").expect("there is one");
        assert_eq!(snapshot.meta, offer.meta);
        assert_eq!(exports.offer(&replica, Some(first)).await.expect("at hand"), offer);
        // Not what a follower got that is said to have more.
        let newer = exports.offer(&replica, Some(second)).await.expect("exported");
        assert_eq!(newer.meta.last_log_id, Some(second));

        world.apply().await;
        world.machine.get_snapshot_builder().await.build_snapshot().await.expect("built");
        exports.forget_before(second.index);
        assert_eq!(exports.at_hand(), Some(newer.meta));
        exports.forget_before(second.index + 1);
        let snapshot = world.machine.get_current_snapshot().await.expect("read").expect("there is one");
        assert!(snapshot.meta.last_log_id > Some(second));
    }
}

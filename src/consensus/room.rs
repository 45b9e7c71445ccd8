//! A disk without room: the node stays, says so, and leaves the cluster to others until there is room again.
//!
//! The log holds on to what it could not write and tries again, so to the engine the disk is slow. sled can't do that: a
//! commit that fails halfway is one that the node must start again from, so no checkpoint begins before room for it has
//! been set aside. Left alone the node would be a leader that flushes nothing, or a voter that never answers. So it stops
//! being the first: it hands over if it leads, sends no more heartbeats should that have failed, and calls no election.
//! The engine itself may stand still meanwhile: a vote that it gives has to be flushed before anything else goes on.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Consensus;
use super::replica::Replica;

/// How often a full disk is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a commit writes beside the rows: sled fills segments of 512 KiB, and its index of the file.
const COMMIT_BYTES: u64 = 4 * 1024 * 1024;

/// sled writes the whole page with each row that comes to it, and moves pages to free its segments. Measured with rows of 30
/// to 16,000 bytes, of which half go again: up to 4.1 bytes for each byte of a message, and at most a kilobyte for each row
/// beside that.
const WRITTEN_PER_BYTE: u64 = 4;
const ROW_BYTES: u64 = 1024;

/// Whether the disk has room for the next checkpoint.
#[derive(Debug, Default)]
pub(super) struct Room {
    lacking: watch::Sender<bool>,
    given_up: CancellationToken,
}

impl Room {
    /// Waits until there is room, or until nobody waits any more: then the checkpoint shows whether it fits.
    pub(super) async fn for_checkpoint(&self, replica: &Replica) {
        let needed = || {
            let (bytes, rows) = replica.read(|machine| (machine.changed_bytes(), machine.changed_rows() as u64));
            COMMIT_BYTES + WRITTEN_PER_BYTE * bytes + ROW_BYTES * rows
        };
        // Where it can't even be asked for, the checkpoint will say why.
        let lacks_room = || replica.store().reserve(needed()).is_ok_and(|reserved| !reserved);
        while !self.given_up.is_cancelled() && lacks_room() {
            self.lacking.send_replace(true);
            let _ = self.given_up.run_until_cancelled(sleep(LOOK_EVERY)).await;
        }
        self.lacking.send_if_modified(std::mem::take);
    }
}

impl Consensus {
    /// Whether something can't be written for the time being, for lack of room.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        self.inner.log.full().borrow().is_some() || *self.inner.replica.room().lacking.borrow()
    }

    /// Steps back when there is no room, and forward when there is. Until `stop`: then it is waited for no longer.
    pub(super) async fn mind_the_room(self, stop: CancellationToken) {
        let room = self.inner.replica.room();
        let (mut full, mut lacking) = (self.inner.log.full(), room.lacking.subscribe());
        let mut stepped_back = false;
        loop {
            tokio::select! {
                Ok(()) = full.changed() => {}
                Ok(()) = lacking.changed() => {}
                () = stop.cancelled() => {
                    self.inner.log.give_up();
                    room.given_up.cancel();
                    return;
                }
            }
            let lacks_room = self.lacks_room();
            if lacks_room == stepped_back {
                continue;
            }
            stepped_back = lacks_room;
            let engine = self.inner.raft.runtime_config();
            engine.elect(!lacks_room);
            if lacks_room {
                let what = full.borrow_and_update().clone();
                let what = what.unwrap_or_else(|| "can't write a checkpoint".to_owned());
                error!(error = what, "no room on the disk: leaving the cluster to the others until there is");
                self.hand_over().await;
            } else {
                info!("there is room on the disk again");
            }
            engine.heartbeat(!lacks_room);
        }
    }
}

//! What the log says about a peer.

use std::error::Error;
use std::sync::Mutex;

use tracing::{debug, info, warn};

use super::client::Target;
use super::lane::Lane;

/// What the log last said about a peer, so that it says each thing once however often the peer is called.
pub(super) struct Health {
    peer: String,
    lane: Lane,
    trouble: Mutex<Option<String>>,
}

impl Health {
    pub(super) fn new(target: &Target) -> Self {
        Self { peer: target.address.clone(), lane: target.lane, trouble: Mutex::new(None) }
    }

    pub(super) fn up(&self) {
        let Self { peer, lane, .. } = self;
        if self.replace(None).is_some() {
            info!(peer, ?lane, "connected again");
        } else {
            debug!(peer, ?lane, "connected");
        }
    }

    pub(super) fn down(&self, error: &(dyn Error + 'static)) {
        let Self { peer, lane, .. } = self;
        let trouble = format!("{error:?}");
        let told = self.replace(Some(trouble.clone())) == Some(trouble);
        // Whoever joins waits for nothing else, and tells it with all its causes.
        if told || *lane == Lane::Join {
            debug!(peer, ?lane, error, "no connection yet");
        } else {
            warn!(peer, ?lane, error, "no connection");
        }
    }

    /// What was said last.
    fn replace(&self, trouble: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.trouble.lock().expect("nothing panics under this lock"), trouble)
    }
}

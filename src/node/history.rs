//! Reading what is kept: from memory above the last checkpoint, from the store below it.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::Node;
use crate::consensus::Replica;
use crate::domain::{Message, Position, TopicName};
use crate::state::{CodecError, HistoryRange, PageLimit, Slot, TopicId, rows};
use crate::storage::{Store, StoreError};

/// What the messages of a page take, so that large ones don't make pages of 64 MiB.
const PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Which messages of a topic to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only those after this position.
    pub after: Option<Position>,
    /// Only those before this position.
    pub before: Option<Position>,
    /// At most so many, and fewer if they are large.
    pub limit: usize,
    /// The newest first, instead of the oldest.
    pub reverse: bool,
}

/// Messages of a topic.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// In the order asked for.
    pub messages: Vec<Arc<Message>>,
    /// Where the next page goes on: the position of the last message that this one covers. `None` on the last page.
    pub next: Option<Position>,
}

/// Why there is no history.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// There is no such topic.
    #[error("there is no such topic")]
    TopicNotFound,
    /// The store can't be read.
    #[error("the history can't be read")]
    Storage(#[from] ReadError),
}

/// What is on disk can't be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row is not a message.
    #[error(transparent)]
    Row(#[from] CodecError),
}

impl Node {
    /// A page of a topic's history.
    ///
    /// # Errors
    /// There is no such topic, or the disk fails.
    pub async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<HistoryPage, HistoryError> {
        let replica = self.inner.consensus.replica();
        let HistoryQuery { after, before, limit, reverse } = query;
        let range = HistoryRange { after: after.unwrap_or_default(), before, reverse };
        let limit = PageLimit { messages: limit, bytes: PAGE_BYTES_MAX };
        let page = replica.read(|machine| machine.history(topic, range, limit)).ok_or(HistoryError::TopicNotFound)?;
        let next = page.slots.last().filter(|_| page.more).map(Slot::position);
        Ok(HistoryPage { messages: load(replica, page.slots).await?, next })
    }
}

/// Turns slots into messages, in their order. A message that was evicted since the slots were read is left out.
pub(super) async fn load(replica: &Replica, slots: Vec<Slot>) -> Result<Vec<Arc<Message>>, ReadError> {
    if slots.iter().all(|slot| matches!(slot, Slot::Memory(_))) {
        return Ok(slots.into_iter().filter_map(in_memory).collect());
    }
    let store = replica.store();
    tokio::task::spawn_blocking(move || read(&store, slots)).await.expect("reading never panics")
}

fn in_memory(slot: Slot) -> Option<Arc<Message>> {
    match slot {
        Slot::Memory(message) => Some(message),
        Slot::Stored { .. } => None,
    }
}

fn read(store: &Store, slots: Vec<Slot>) -> Result<Vec<Arc<Message>>, ReadError> {
    let mut messages = Vec::with_capacity(slots.len());
    // What is left of the row that was read last, for each topic.
    let mut rows: BTreeMap<TopicId, BTreeMap<Position, Message>> = BTreeMap::new();
    for slot in slots {
        match slot {
            Slot::Memory(message) => messages.push(message),
            Slot::Stored { topic, name, position } => {
                let row = rows.entry(topic).or_default();
                if !row.contains_key(&position)
                    && let Some((key, value)) = store.last(&rows::message_row(topic, position))?
                {
                    let found = rows::decode_messages(&name, &key, &value)?;
                    *row = found.into_iter().map(|message| (message.position, message)).collect();
                }
                messages.extend(row.remove(&position).map(Arc::new));
            }
        }
    }
    Ok(messages)
}

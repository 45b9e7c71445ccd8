//! Writes: one command each, answered once *this* node has applied it, so that whoever wrote here reads it here.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use super::Node;
use crate::consensus::{ProposeError, Proposed};
use crate::domain::{LogIndex, Message, NewMessage, SettingsChange, TopicName, TraceContext};
use crate::state::{Command, EncodedCommand, Outcome, Published, Refusal, Reply, TopicInfo};
use crate::trace::{self, Kind, Span};

/// Why a write was not acknowledged.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Every node computes this refusal alike; trying again comes to the same.
    #[error(transparent)]
    Refused(Refusal),
    /// Nothing was written: no leader was found in time.
    #[error("the cluster has no leader")]
    NoLeader,
    /// It may have been written, or still be. To create a topic again is safe, and to publish again under the same
    /// idempotency key; nothing else is.
    #[error("not known to be written within {} ms", waited.as_millis())]
    Unknown {
        /// Since the write was asked for.
        waited: Duration,
    },
    /// Nothing was written: this node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// How a topic came to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was created.
    New(TopicInfo),
    /// It was there before, and keeps what was asked for.
    Existing(TopicInfo),
}

/// A message that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// As the cluster keeps it.
    pub message: Message,
    /// Whether it had been published before, under the same idempotency key.
    pub repeated: bool,
}

/// Before a write that found no leader is tried again, unless there is news of one sooner.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// From a proposal until it is applied on the leader, as traces have it.
const COMMIT: &str = "commit";

impl Node {
    /// Creates a topic with these settings, and this node's defaults where they say nothing.
    ///
    /// # Errors
    /// Refused if the topic exists with other settings; see [`WriteError`] for the rest.
    pub async fn create_topic(
        &self,
        name: TopicName,
        settings: SettingsChange,
        deadline: Instant,
    ) -> Result<Created, WriteError> {
        let default = self.inner.settings.new_topics.settings(&name);
        match self.write(&Command::CreateTopic { name, settings, default }, true, deadline).await? {
            Reply::TopicCreated(info) => Ok(Created::New(info)),
            Reply::TopicExists(info) => Ok(Created::Existing(info)),
            reply => unreachable!("a creation is not answered {reply:?}"),
        }
    }

    /// Changes what a topic is set to. Done once or not at all: a second change could undo that of somebody else.
    ///
    /// # Errors
    /// Refused if there is no such topic; see [`WriteError`] for the rest.
    pub async fn change_topic(
        &self,
        name: TopicName,
        change: SettingsChange,
        deadline: Instant,
    ) -> Result<TopicInfo, WriteError> {
        match self.write(&Command::ChangeTopic { name, change }, false, deadline).await? {
            Reply::TopicChanged(info) => Ok(info),
            reply => unreachable!("a change of a topic is not answered {reply:?}"),
        }
    }

    /// Deletes a topic and all it keeps. Done once or not at all: a second deletion could be that of its successor.
    ///
    /// # Errors
    /// Refused if there is no such topic; see [`WriteError`] for the rest.
    pub async fn delete_topic(&self, name: TopicName, deadline: Instant) -> Result<(), WriteError> {
        self.write(&Command::DeleteTopic { name }, false, deadline).await.map(|_| ())
    }

    /// Publishes messages to a topic: all of them, in this order and in one log entry, or none.
    ///
    /// Messages that all have an idempotency key are retried until the deadline, through any change of leader.
    ///
    /// # Errors
    /// Refused if there is no such topic (and topics are not created automatically), or if a key was used for another
    /// message; see [`WriteError`] for the rest.
    pub async fn publish(
        &self,
        topic: TopicName,
        messages: Vec<NewMessage>,
        deadline: Instant,
    ) -> Result<Vec<Stored>, WriteError> {
        let repeatable = messages.iter().all(|message| message.key.is_some());
        let create = self.inner.settings.new_topics.created_by_publish(&topic);
        let command = Command::Publish { topic, messages, create };
        let reply = self.write(&command, repeatable, deadline).await?;
        match (reply, command) {
            (Reply::Published(published), Command::Publish { topic, messages, .. }) => {
                let stored = messages.into_iter().zip(published);
                Ok(stored.map(|(message, published)| stored_message(&topic, message, published)).collect())
            }
            (reply, _) => unreachable!("a publish is not answered {reply:?}"),
        }
    }

    /// Has a command done, and applied here. Only one that is `repeatable` is proposed again after an attempt that may
    /// have been successful.
    pub(super) async fn write(
        &self,
        command: &Command,
        repeatable: bool,
        deadline: Instant,
    ) -> Result<Reply, WriteError> {
        let started = Instant::now();
        let unknown = || WriteError::Unknown { waited: started.elapsed() };
        let encoded = command.encode();
        let mut repeated = false;
        loop {
            let attempt = timeout_at(deadline, self.propose(encoded.clone(), deadline)).await;
            match attempt {
                Ok(Ok(proposed)) => {
                    let applied = timeout_at(deadline, self.applied(Some(proposed.index))).await;
                    applied.map_err(|_| unknown())?;
                    let outcome: Outcome = proposed.outcomes.into_iter().next().expect("each command has an outcome");
                    return outcome.map_err(WriteError::Refused);
                }
                Ok(Err(ProposeError::Unknown)) if repeatable => repeated = true,
                Ok(Err(ProposeError::NotLeader)) => {}
                Ok(Err(ProposeError::Stopping)) if !repeated => return Err(WriteError::Stopping),
                Ok(Err(ProposeError::Unknown | ProposeError::Stopping)) | Err(_) => return Err(unknown()),
            }
            if Instant::now() + RETRY_AFTER >= deadline {
                return Err(if repeated { unknown() } else { WriteError::NoLeader });
            }
            self.leader_may_have_changed().await;
        }
    }

    async fn propose(&self, command: EncodedCommand, deadline: Instant) -> Result<Proposed, ProposeError> {
        let consensus = &self.inner.consensus;
        match consensus.leader() {
            None => Err(ProposeError::NotLeader),
            // It could be written, but not applied here.
            Some(_) if consensus.lacks_room() => Err(ProposeError::NotLeader),
            Some((leader, _)) if leader == consensus.node() => {
                self.commit(vec![command], trace::span(Kind::Internal, COMMIT).as_mut_slice()).await
            }
            Some(_) => self.inner.forwarder.propose(command, deadline).await,
        }
    }

    /// Proposes commands of another node, which waits for the outcome: `traces` are what some of them are part of.
    pub(crate) async fn commit_forwarded(
        &self,
        commands: Vec<EncodedCommand>,
        traces: Vec<TraceContext>,
    ) -> Result<Proposed, ProposeError> {
        let span = |cause| self.inner.settings.tracer.span(cause, Kind::Server, || COMMIT.into());
        let mut spans: Vec<Span> = traces.into_iter().map(span).collect();
        self.commit(commands, &mut spans).await
    }

    async fn commit(&self, commands: Vec<EncodedCommand>, spans: &mut [Span]) -> Result<Proposed, ProposeError> {
        let proposed = self.inner.consensus.propose(commands).await;
        for span in spans {
            match &proposed {
                Ok(proposed) => span.note("repl.entry", proposed.index.get()),
                Err(_) => span.fail(),
            }
        }
        proposed
    }

    async fn leader_may_have_changed(&self) {
        let before = self.inner.consensus.leadership();
        let changed = self.inner.consensus.wait(|now| now.leader != before.leader || now.term != before.term);
        let _ = tokio::time::timeout(RETRY_AFTER, changed).await;
    }

    /// Waits until this node has applied that.
    pub(super) async fn applied(&self, index: Option<LogIndex>) {
        let mut progress = self.inner.consensus.progress();
        // The sender lives as long as the replica, which this node holds.
        let _ = progress.wait_for(|progress| progress.index >= index).await;
    }
}

fn stored_message(topic: &TopicName, message: NewMessage, published: Published) -> Stored {
    let Published { position, seq, created_at, repeated } = published;
    let NewMessage { value, headers, kind, key: _ } = message;
    Stored { message: Message { position, topic: topic.clone(), seq, created_at, value, headers, kind }, repeated }
}

//! A stream: what one subscriber is told, from its cursor on.
//!
//! Three phases. *Waiting*, while this node is behind what the subscriber has already seen elsewhere. *History*: what is
//! kept after the cursor, up to the position at which the subscription at the broker began. *Live*: what the broker
//! hands out. A subscriber that is too slow for the broker falls back to history, where it costs nothing but its place.
//! Registering comes before reading, so there is no hole between the two, and no repetition.

mod announce;
mod cache;
mod roll;
mod tally;

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tracing::{error, warn};

pub(super) use self::cache::BlockCache;
use self::roll::Enrolled;
pub(super) use self::roll::Roll;
pub use self::roll::{Profile, StreamPhase, StreamView};
use self::tally::Slow;
pub use self::tally::StreamStats;
pub(super) use self::tally::Tally;
use super::departure::Passenger;
use super::history::{self, ReadError};
use super::presence::{Attending, Reader, Watched};
use super::{Node, NotReady};
use crate::broker::frame::{self, Control, GapReason};
use crate::broker::{Chunk, Delivery, Format, Subscription};
use crate::consensus::Progress;
use crate::consensus::wire::{self, kind};
use crate::domain::{Bearer, Cursor, Position, Selection, SettingsChange, Timestamp, TopicName};
use crate::rpc::Lane;
use crate::state::{Hole, PageLimit, Slot};

/// Of history, what is read and handed out at a time. A stream whose client doesn't read holds on to one page.
const PAGE: PageLimit = PageLimit { messages: 256, bytes: 64 * 1024 };

/// A cursor ahead of this node for so long makes it ask the leader whether the cursor can be right.
const ASK_LEADER_AFTER: Duration = Duration::from_secs(2);

/// For the leader's answer.
pub(super) const LEADER_TIMEOUT: Duration = Duration::from_secs(1);

/// What a subscriber asks for.
#[derive(Clone, Debug)]
pub struct StreamRequest {
    /// Of which topics.
    pub selection: Selection,
    /// In which form.
    pub format: Format,
    /// From where.
    pub start: Start,
    /// With [`Start::Now`]: so many of the last messages of each topic first.
    pub tail: Option<u64>,
    /// Until when it may be read; without one, for ever.
    pub lease: Option<Lease>,
    /// Whoever reads it: a member of the topics that it names.
    pub reader: Option<Reader>,
    /// Whose presence it tells.
    pub watched: Watched,
    /// Bytes of history at a stretch, and a page more. Then the stream ends, and the subscriber resumes.
    pub history_bytes_max: u64,
    /// Where the subscriber connects from.
    pub address: Option<SocketAddr>,
}

/// Whose a stream is, and until when he may read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose. If he is turned away, no more is sent.
    pub bearer: Bearer,
    /// From then on no more is sent either.
    pub expires_at: Timestamp,
}

/// The lease of an open stream.
#[derive(Debug)]
struct Held {
    bearer: Bearer,
    expires: Instant,
    /// Changes when somebody is turned away.
    revocations: watch::Receiver<u64>,
}

/// Where a stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is published from now on.
    Now,
    /// With the first message that is kept.
    Earliest,
    /// Behind this cursor.
    Cursor(Cursor),
    /// With the first message of this time or later.
    Since(Timestamp),
}

/// The node serves no streams now. The client should come again, here or elsewhere.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("this node serves no streams: {0}")]
pub struct NotServing(#[from] pub NotReady);

/// What one subscriber is told, as encoded SSE blocks.
#[derive(Debug)]
pub struct Stream {
    node: Node,
    selection: Arc<Selection>,
    format: Format,
    subscription: Subscription,
    /// All that the selection holds up to here was handed out, or named as missing.
    position: Position,
    phase: Phase,
    /// Of a subscriber who wants the last messages of each topic first, until it has them: where they begin.
    tails: Option<BTreeMap<TopicName, Position>>,
    /// The holes that the subscriber has been told of since it last was up to date, or doesn't want to hear of.
    announced: BTreeMap<TopicName, Hole>,
    /// Whether it was told, or doesn't want to hear, that topics which its patterns may have matched are gone without a
    /// trace.
    forgotten_announced: bool,
    /// Whether the subscriber was told that it is up to date, which happens once.
    is_ready: bool,
    /// Of a stream that went on from a cursor, until it is up to date: whether something was missing.
    resumes: Option<bool>,
    /// While it catches up because it was too slow.
    slow: Option<Slow>,
    /// Bytes of history handed out since it last was up to date, and how many may be.
    history_bytes: u64,
    history_bytes_max: u64,
    /// Blocks to hand out before anything else.
    pending: VecDeque<Chunk>,
    spoken: Instant,
    silence: Pin<Box<Sleep>>,
    passenger: Passenger,
    enrolled: Enrolled,
    /// In boxes, these three: most streams are anybody's, and watch nobody.
    lease: Option<Box<Held>>,
    _attending: Option<Box<Attending>>,
    watched: Option<Box<Watched>>,
    /// Of a stream that was told to move, or whose lease is over: when it ends.
    end: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Until this node has applied what the subscriber has seen.
    Waiting {
        seen: Position,
        since: Instant,
    },
    /// What is kept, up to where live begins.
    History {
        upto: Position,
        missed: GapReason,
    },
    Live,
}

impl Node {
    /// Opens a stream.
    ///
    /// # Errors
    /// The node is starting or stopping, or is cut off from the cluster.
    pub fn stream(&self, request: StreamRequest) -> Result<Stream, NotServing> {
        match self.readiness() {
            // Behind the leader, what it has is still right.
            Ok(()) | Err(NotReady::CatchingUp { .. }) => {}
            Err(reason) => return Err(reason.into()),
        }
        let StreamRequest { selection, format, start, tail, lease, reader, watched, history_bytes_max, address } =
            request;
        let mut subscribed = selection.clone();
        subscribed.topics.extend(watched.channels());
        let subscription = self.inner.broker.subscribe(subscribed, format);
        let from = subscription.from();
        let selection = Arc::new(selection);
        let profile = Profile {
            address,
            user: reader.as_ref().map(|reader| reader.user.clone()),
            selection: Arc::clone(&selection),
            watched: watched.topics.len() + watched.users.len(),
        };
        let enrolled = self.inner.roll.enter(profile, from);
        let attend = |reader| self.attend(reader, &selection);
        let attending = reader.map(attend).map(Box::new);
        let spoken = Instant::now();
        let mut stream = Stream {
            node: self.clone(),
            selection,
            format,
            subscription,
            position: from,
            phase: Phase::History { upto: from, missed: GapReason::Retention },
            tails: None,
            announced: BTreeMap::new(),
            forgotten_announced: false,
            is_ready: false,
            resumes: matches!(start, Start::Cursor(_)).then_some(false),
            slow: None,
            history_bytes: 0,
            history_bytes_max,
            pending: VecDeque::new(),
            spoken,
            silence: Box::pin(sleep_until(spoken + self.inner.settings.keep_alive)),
            passenger: self.inner.departures.passenger(),
            enrolled,
            lease: lease.map(|lease| Box::new(self.hold(lease))),
            _attending: attending,
            watched: Some(watched).filter(|watched| !watched.is_empty()).map(Box::new),
            end: None,
        };
        stream.rest();
        stream.start(start, tail, from);
        Ok(stream)
    }

    /// Sees to it that a user who reads his inbox has one. If that can't be done now, he has it once somebody writes to it.
    pub async fn open_inbox(&self, request: &StreamRequest) {
        let inbox = request.reader.as_ref().and_then(|reader| TopicName::inbox(&reader.user));
        let Some(inbox) = inbox.filter(|inbox| request.selection.topics.contains(inbox)) else { return };
        if self.inner.settings.new_topics.inboxes && self.topic(&inbox).is_none() && self.readiness().is_ok() {
            let _ = self.create_topic(inbox, SettingsChange::default(), Instant::now() + LEADER_TIMEOUT).await;
        }
    }

    /// Who names a topic is a member of it; who finds it by a pattern only looks on.
    fn attend(&self, reader: Reader, selection: &Selection) -> Attending {
        let topics = selection.topics.iter().cloned().collect();
        self.inner.attendance.enter(reader, topics, self.inner.settings.presence_grace)
    }

    fn hold(&self, Lease { bearer, expires_at }: Lease) -> Held {
        let mut revocations = self.inner.consensus.replica().revocations();
        // He may have been turned away since he was let in.
        revocations.mark_changed();
        Held { bearer, expires: Instant::now() + expires_at.since(Timestamp::now()), revocations }
    }

    /// Whether the cluster has this topic, of which this node may not have heard yet. `None`: nobody can tell now.
    pub async fn has_topic(&self, name: &TopicName) -> Option<bool> {
        if self.topic(name).is_none() {
            let committed = self.committed().await?;
            timeout(LEADER_TIMEOUT, self.applied(committed.index)).await.ok()?;
        }
        Some(self.topic(name).is_some())
    }

    /// What a majority is known to have committed, asked of the leader.
    pub(super) async fn committed(&self) -> Option<Progress> {
        let consensus = &self.inner.consensus;
        match consensus.leader() {
            Some((leader, _)) if leader == consensus.node() => consensus.confirmed().await,
            Some((leader, member)) => {
                let peer = consensus.peers().connect(&member.peer, Some(leader), Lane::Status);
                let reply = peer.call(kind::COMMITTED, Bytes::new(), LEADER_TIMEOUT).await.ok()?;
                wire::decode::<Option<Progress>>(&reply).ok()?
            }
            None => None,
        }
    }
}

impl Stream {
    fn start(&mut self, start: Start, tail: Option<u64>, from: Position) {
        let replica = self.node.inner.consensus.replica();
        match start {
            Start::Now => match tail {
                Some(count) => {
                    let tails = replica.read(|machine| machine.tails(&self.selection, count));
                    self.position = tails.values().copied().min().unwrap_or(from).min(from);
                    self.tails = Some(tails);
                    // What is lost already is not what was asked for.
                    self.announced = self.holes().0.into_iter().collect();
                }
                None => self.go_live(),
            },
            Start::Earliest => self.start_before_first(from),
            Start::Since(time) => {
                self.position = replica.read(|machine| machine.since(&self.selection, time)).min(from);
            }
            Start::Cursor(cursor) if cursor.epoch != self.node.epoch() => {
                self.start_before_first(from);
                self.announce_gap(cursor, GapReason::Epoch, &[]);
            }
            Start::Cursor(Cursor { position, .. }) if position > from => {
                self.phase = Phase::Waiting { seen: position, since: Instant::now() };
            }
            Start::Cursor(Cursor { position, .. }) => self.position = position,
        }
    }

    /// Starts with the first message that is kept, for a subscriber who doesn't want to hear of what is lost already.
    fn start_before_first(&mut self, from: Position) {
        let selection = &self.selection;
        (self.position, self.announced) = self.node.inner.consensus.replica().read(|machine| {
            // What is applied, but not yet before the broker, will come live: a cursor beyond it would skip it.
            let position = machine.first(selection, Position::ZERO, from).map_or(from, before);
            // Of some topics there may be less than of the one that has the first message.
            (position, machine.holes(selection, position).map(|(name, hole)| (name.clone(), hole)).collect())
        });
        self.forgotten_announced = true;
    }

    /// The next blocks: whole, and never empty. `None`: the stream can't go on, and the client should resume. If the
    /// future is dropped, the stream is too.
    pub async fn next(&mut self) -> Option<Chunk> {
        loop {
            if let Some(chunk) = self.pending.pop_front() {
                self.spoken = Instant::now();
                self.enrolled.given(chunk.as_ref().len(), self.position, self.spoken);
                return Some(chunk);
            }
            if self.has_enough_history() || self.end.is_some_and(|end| end <= Instant::now()) {
                return None;
            }
            if self.announce_end() || self.end.is_none() && self.announce_move() {
                continue;
            }
            self.enrolled.looks(self.doing());
            let step = match &mut self.phase {
                // In boxes: a stream spends its life in the third phase, and pays for no more.
                Phase::Waiting { .. } => Box::pin(self.wait()).await,
                Phase::History { .. } => Box::pin(self.history()).await,
                Phase::Live => self.live().await,
            };
            if let Err(error) = step {
                error!(error = &error as &dyn std::error::Error, "a stream ends: its history can't be read");
                return None;
            }
        }
    }

    fn doing(&self) -> StreamPhase {
        match self.phase {
            Phase::Waiting { .. } => StreamPhase::Waiting,
            Phase::History { .. } if self.slow.is_some() => StreamPhase::CatchingUp,
            Phase::History { .. } => StreamPhase::History,
            Phase::Live => StreamPhase::Live,
        }
    }

    async fn live(&mut self) -> Result<(), ReadError> {
        tokio::select! {
            // A busy stream doesn't pay for what it waits for when it is idle.
            biased;
            delivery = self.subscription.next() => match delivery {
                // What was taken meanwhile may be younger than the revocation.
                Delivery::Frames { .. } if has_news(self.lease.as_deref()) && self.is_revoked() => {}
                Delivery::Frames { chunk, position } => {
                    self.position = self.position.max(position);
                    self.pending.push_back(chunk);
                }
                Delivery::Behind => {
                    let upto = self.subscription.resubscribe();
                    self.phase = Phase::History { upto, missed: GapReason::Overrun };
                    self.slow = Some(self.node.inner.streams.slow());
                }
            },
            () = self.silence.as_mut() => self.keep_alive(),
            () = self.passenger.told(&self.node.inner.departures), if self.end.is_none() => {}
            () = news(self.lease.as_deref_mut()) => {}
        }
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), ReadError> {
        let Phase::Waiting { seen, since } = self.phase else { return Ok(()) };
        let mut progress = self.node.inner.consensus.progress();
        let caught_up = async {
            // The sender lives as long as the node.
            let _ = progress.wait_for(|progress| progress.position >= seen).await;
        };
        tokio::select! {
            () = caught_up => {
                self.position = seen;
                let upto = self.subscription.resubscribe();
                self.phase = Phase::History { upto, missed: GapReason::Retention };
            }
            () = sleep_until(since + ASK_LEADER_AFTER) => {
                if let Some(committed) = self.node.committed().await && committed.position < seen {
                    // Nobody can have seen it in this history: a cursor of a cluster that was lost and founded anew.
                    warn!(position = seen.get(), "a cursor lies beyond what the cluster has committed");
                    let cursor = Cursor { epoch: self.node.epoch(), position: seen };
                    self.position = self.subscription.resubscribe();
                    self.announce_gap(cursor, GapReason::Epoch, &[]);
                    self.phase = Phase::History { upto: self.position, missed: GapReason::Retention };
                } else {
                    self.phase = Phase::Waiting { seen, since: Instant::now() };
                }
            }
            () = self.silence.as_mut() => self.keep_alive(),
            () = self.passenger.told(&self.node.inner.departures), if self.end.is_none() => {}
            () = news(self.lease.as_deref_mut()) => {}
        }
        Ok(())
    }

    async fn history(&mut self) -> Result<(), ReadError> {
        let Phase::History { upto, missed } = self.phase else { return Ok(()) };
        self.announce_holes(missed);
        let replica = self.node.inner.consensus.replica();
        let page = replica.read(|machine| match &self.tails {
            None => machine.read(&self.selection, self.position, upto, PAGE),
            Some(tails) => machine.read_tails(tails, self.position, upto, PAGE),
        });
        let slots = page.slots;
        let Some(last) = slots.last().map(Slot::position) else {
            self.position = self.position.max(upto);
            self.go_live();
            return Ok(());
        };
        let cache = &self.node.inner.blocks;
        if let Some((page, count)) = cache.page(self.format, slots.iter().map(Slot::position)) {
            let last = slots.get(count - 1).map_or(last, Slot::position);
            self.hand_out(page, last);
            return Ok(());
        }
        let count = slots.len();
        let messages = history::load(replica, slots).await?;
        if has_news(self.lease.as_deref()) && self.is_revoked() {
            return Ok(());
        }
        if messages.len() < count {
            // Some were evicted between planning and reading.
            self.announce_holes(missed);
        }
        let (mut blocks, mut ends) = (String::new(), Vec::with_capacity(messages.len()));
        for message in &messages {
            frame::message(message, self.node.epoch(), self.format, &mut blocks);
            ends.push((message.position, blocks.len()));
        }
        self.node.inner.blocks.keep(self.format, blocks.as_bytes(), &ends);
        if blocks.is_empty() {
            self.position = last;
        } else {
            self.hand_out(blocks.as_bytes().into(), last);
        }
        Ok(())
    }

    /// The subscriber has everything up to [`Self::position`], where the subscription begins. One who starts with what is
    /// published from now on comes here directly: what it has not asked for it can't miss, and of a topic that keeps
    /// nothing, what is applied but not yet with the broker would look as if it were missing.
    fn go_live(&mut self) {
        self.phase = Phase::Live;
        self.tails = None;
        self.slow = None;
        self.history_bytes = 0;
        self.announced.clear();
        self.announce_presence();
        if !self.is_ready {
            self.is_ready = true;
            if let Some(with_gap) = self.resumes.take() {
                self.node.inner.streams.resumed(with_gap);
            }
            self.push_control(&Control::Ready { cursor: self.cursor() });
        }
    }

    /// Whether it ended, or is about to, because it brought as much history as it may.
    #[must_use]
    pub fn has_enough_history(&self) -> bool {
        self.history_bytes >= self.history_bytes_max
    }

    /// Hands out a page of history, which reaches up to a position.
    fn hand_out(&mut self, page: Chunk, position: Position) {
        self.history_bytes += page.as_ref().len() as u64;
        self.pending.push_back(page);
        self.position = position;
    }

    fn is_revoked(&self) -> bool {
        self.lease.as_ref().is_some_and(|held| self.node.is_revoked(&held.bearer))
    }

    /// Waits for the next thing to do that nobody else brings about.
    fn rest(&mut self) {
        let keep_alive = self.spoken + self.node.inner.settings.keep_alive;
        let expires = self.lease.as_ref().map(|held| held.expires);
        let others = [self.end, expires].into_iter().flatten();
        self.silence.as_mut().reset(others.fold(keep_alive, Instant::min));
    }

    fn cursor(&self) -> Cursor {
        Cursor { epoch: self.node.epoch(), position: self.position }
    }
}

/// Whether somebody was turned away since that was last looked at.
fn has_news(lease: Option<&Held>) -> bool {
    lease.is_some_and(|held| held.revocations.has_changed().unwrap_or(false))
}

/// Completes when somebody is turned away.
async fn news(lease: Option<&mut Held>) {
    match lease {
        // Still to be looked at: it stays news. The sender lives as long as the node.
        Some(held) => match held.revocations.changed().await {
            Ok(()) => held.revocations.mark_changed(),
            Err(_) => pending().await,
        },
        None => pending().await,
    }
}

/// The cursor of a subscriber for whom the message at this position comes next.
fn before(position: Position) -> Position {
    Position::new(position.get().saturating_sub(1))
}

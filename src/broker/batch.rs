//! Encoded frames one behind the other, and where each of them ends.

use super::chunk::{Chunk, ChunkBuffer};
use crate::domain::{Position, Timestamp};

/// The broker's own order: one number for each event delivered into logs, messages and others alike. A position can't
/// take its place, for the deletion of a topic shares that of the message before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

impl Tick {
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The one before; there is one before every frame.
    pub(super) const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// Where a frame stands in the order of things.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) tick: Tick,
    pub(super) position: Position,
    /// When, if it is a message.
    pub(super) published: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    tick: Tick,
    position: Position,
    /// Where its bytes end.
    end: usize,
}

/// Frames in order of their ticks. Never empty once it is in a ring.
#[derive(Debug, Default)]
pub(super) struct Frames<B> {
    blocks: B,
    index: Vec<Frame>,
    /// When the oldest of its messages was published.
    since: Option<Timestamp>,
}

/// Frames that are still being added to.
pub(super) type Draft = Frames<ChunkBuffer>;
/// Frames that never change again and are written as they are, to every subscriber.
pub(super) type Batch = Frames<Chunk>;

/// Some frames on their way to one subscriber.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) chunk: Chunk,
    pub(super) frames: usize,
    /// When the oldest message was published of the batch that they are of.
    pub(super) since: Option<Timestamp>,
    /// Of the last frame.
    pub(super) tick: Tick,
    /// Of the last frame.
    pub(super) position: Position,
}

impl<B: AsRef<[u8]>> Frames<B> {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The tick of the last frame.
    pub(super) fn last(&self) -> Tick {
        self.index.last().map_or_else(Tick::default, |frame| frame.tick)
    }

    /// The tick of the first frame after `after`.
    pub(super) fn first_after(&self, after: Tick) -> Option<Tick> {
        self.index.get(self.count_until(after)).map(|frame| frame.tick)
    }

    /// Copies the frames after `after`, up to and including `until`, while `out` stays within `bytes_max`; a frame that
    /// is larger than that is copied if it is the first.
    pub(super) fn copy(&self, after: Tick, until: Tick, bytes_max: usize, out: &mut ChunkBuffer) -> Option<Copied> {
        let skipped = self.count_until(after);
        let start = self.end_of(skipped);
        let room = bytes_max.saturating_sub(out.len());
        let rest = self.index.get(skipped..)?;
        let fitting = rest.partition_point(|frame| frame.tick <= until && frame.end - start <= room);
        let frames = if out.is_empty() { fitting.max(1) } else { fitting };
        let last = rest.get(frames.checked_sub(1)?).filter(|frame| frame.tick <= until)?;
        out.push(self.blocks.as_ref().get(start..last.end)?);
        Some(Copied { frames, since: self.since, tick: last.tick, position: last.position })
    }

    fn count_until(&self, tick: Tick) -> usize {
        self.index.partition_point(|frame| frame.tick <= tick)
    }

    /// Where the first `count` frames end.
    fn end_of(&self, count: usize) -> usize {
        count.checked_sub(1).and_then(|last| self.index.get(last)).map_or(0, |frame| frame.end)
    }
}

/// What [`Frames::copy`] copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    pub(super) frames: usize,
    /// As in [`Run`].
    pub(super) since: Option<Timestamp>,
    /// Of the last frame.
    pub(super) tick: Tick,
    /// Of the last frame.
    pub(super) position: Position,
}

impl Draft {
    pub(super) fn push(&mut self, at: Place, frame: &[u8]) {
        let Place { tick, position, published } = at;
        self.blocks.push(frame);
        self.index.push(Frame { tick, position, end: self.blocks.len() });
        self.since = self.since.into_iter().chain(published).min();
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn seal(mut self) -> Batch {
        // A batch may be kept for a while; the slack of a growing vector would double it.
        self.index.shrink_to_fit();
        Batch { blocks: self.blocks.freeze(), index: self.index, since: self.since }
    }
}

impl Batch {
    /// What keeping it costs, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.blocks.framed().len() + self.index.len() * size_of::<Frame>() + size_of::<Self>()
    }

    /// The frames after `after`. Copied only for a subscriber that has some of the batch already.
    pub(super) fn after(&self, after: Tick) -> Option<Run> {
        let skipped = self.count_until(after);
        let frames = self.len() - skipped;
        let last = self.index.last().filter(|_| frames > 0)?;
        let chunk = match self.end_of(skipped) {
            0 => self.blocks.clone(),
            start => Chunk::from(self.blocks.as_ref().get(start..)?),
        };
        Some(Run { chunk, frames, since: self.since, tick: last.tick, position: last.position })
    }
}

//! Who reads a log, and who of them keeps its round open.

use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use super::inbox::Inbox;

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It has read everything, and is to be told when something comes. (Followers.)
    Resting,
    /// It has read everything that is sealed, and is to be woken at the next seal.
    Waiting,
    /// It was woken in this round and has not come back yet: the round waits for it.
    Due,
    /// It reads at its own pace; the round doesn't wait for it.
    Late,
}

/// A reader's place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat(u32);

impl Seat {
    fn new(key: usize) -> Self {
        Self(u32::try_from(key).expect("a log has fewer than 2^32 readers"))
    }

    const fn key(self) -> usize {
        self.0 as usize
    }
}

/// The readers of a log, in two kinds: *tasks* read this log only, *followers* read several and have an inbox, in which
/// each log leaves word.
#[derive(Debug, Default)]
pub(super) struct Audience {
    tasks: Slab<Reader<Option<Waker>>>,
    followers: Slab<Reader<Arc<Inbox>>>,
    count: Count,
}

#[derive(Debug)]
struct Reader<T> {
    who: T,
    presence: Presence,
}

/// How many readers there are of each presence.
#[derive(Debug, Default)]
struct Count {
    resting: usize,
    waiting: usize,
    due: usize,
    late: usize,
}

impl Count {
    fn of(&mut self, presence: Presence) -> &mut usize {
        match presence {
            Presence::Resting => &mut self.resting,
            Presence::Waiting => &mut self.waiting,
            Presence::Due => &mut self.due,
            Presence::Late => &mut self.late,
        }
    }

    fn shift(&mut self, presence: &mut Presence, to: Presence) {
        *self.of(*presence) -= 1;
        *self.of(to) += 1;
        *presence = to;
    }
}

impl Audience {
    /// A task starts late: it may have history to read first.
    pub(super) fn join_task(&mut self) -> Seat {
        self.count.late += 1;
        Seat::new(self.tasks.insert(Reader { who: None, presence: Presence::Late }))
    }

    /// A follower that waits already has to be told of the first frame, so it starts at rest; another one starts late.
    pub(super) fn join_follower(&mut self, inbox: Arc<Inbox>, presence: Presence) -> Seat {
        *self.count.of(presence) += 1;
        Seat::new(self.followers.insert(Reader { who: inbox, presence }))
    }

    pub(super) fn leave_task(&mut self, seat: Seat) {
        if let Some(reader) = self.tasks.try_remove(seat.key()) {
            *self.count.of(reader.presence) -= 1;
        }
    }

    pub(super) fn leave_follower(&mut self, seat: Seat) {
        if let Some(reader) = self.followers.try_remove(seat.key()) {
            *self.count.of(reader.presence) -= 1;
        }
    }

    pub(super) fn task(&self, seat: Seat) -> Option<Presence> {
        self.tasks.get(seat.key()).map(|reader| reader.presence)
    }

    pub(super) fn follower(&self, seat: Seat) -> Option<Presence> {
        self.followers.get(seat.key()).map(|reader| reader.presence)
    }

    pub(super) fn shift_task(&mut self, seat: Seat, to: Presence) {
        if let Some(reader) = self.tasks.get_mut(seat.key()) {
            self.count.shift(&mut reader.presence, to);
        }
    }

    pub(super) fn shift_follower(&mut self, seat: Seat, to: Presence) {
        if let Some(reader) = self.followers.get_mut(seat.key()) {
            self.count.shift(&mut reader.presence, to);
        }
    }

    /// Whom to wake for a task that waits.
    pub(super) fn set_waker(&mut self, seat: Seat, waker: &Waker) {
        if let Some(reader) = self.tasks.get_mut(seat.key()) {
            match &mut reader.who {
                Some(known) => known.clone_from(waker),
                unknown => *unknown = Some(waker.clone()),
            }
        }
    }

    /// Tells followers at rest that there is something to wait for.
    pub(super) fn rouse(&mut self, mut tell: impl FnMut(&Inbox, Seat)) {
        if self.count.resting == 0 {
            return;
        }
        for (key, reader) in &mut self.followers {
            if reader.presence == Presence::Resting {
                self.count.shift(&mut reader.presence, Presence::Waiting);
                tell(&reader.who, Seat::new(key));
            }
        }
    }

    /// Makes all that wait due, and hands out how to wake them.
    pub(super) fn release(&mut self, wake: &mut Vec<Waker>) {
        if self.count.waiting == 0 {
            return;
        }
        wake.reserve(self.count.waiting);
        for (_, reader) in &mut self.tasks {
            if reader.presence == Presence::Waiting {
                self.count.shift(&mut reader.presence, Presence::Due);
                wake.extend(reader.who.take());
            }
        }
        for (_, reader) in &mut self.followers {
            if reader.presence == Presence::Waiting {
                self.count.shift(&mut reader.presence, Presence::Due);
                wake.push(Waker::from(Arc::clone(&reader.who)));
            }
        }
    }

    /// Stops waiting for those that are due.
    pub(super) fn dismiss(&mut self) {
        let presences = self.tasks.iter_mut().map(|(_, reader)| &mut reader.presence);
        for presence in presences.chain(self.followers.iter_mut().map(|(_, reader)| &mut reader.presence)) {
            if *presence == Presence::Due {
                self.count.shift(presence, Presence::Late);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.followers.is_empty()
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.count.waiting > 0
    }

    pub(super) fn has_due(&self) -> bool {
        self.count.due > 0
    }

    /// Whether everyone has taken everything that is sealed.
    pub(super) fn has_taken_all(&self) -> bool {
        self.count.due == 0 && self.count.late == 0
    }
}

//! Presence: who reads what through this node, told to the cluster in batches; and who is gone with a node.
//!
//! Streams of a user sit down at the topics that they name and leave again ([`Attendance`]). What that changes in the
//! replicated state goes into one entry of the log for each interval, if anything does. Whoever has left keeps his seat for
//! a *grace* period, within which a page that is loaded anew, or has moved to another node, is there again.
//!
//! The state says which members each node has told of. Where it differs from who sits here, the node tells again: after a
//! restart those that have not come back within the grace, and all of them if the others took this node for dead. It looks
//! for this when the state says that it may be so, and every now and then.
//!
//! The leader takes back what a node had told that was not heard of for as long as the grace: in one entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::status::DOWN_AFTER;
use super::{Node, WriteError};
use crate::domain::{MemberData, NodeId, Timestamp, TopicName, UserId};
use crate::state::{Attendee, Command, Machine, Reply, Roster, UserStatus};

/// How often what has changed is told.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// Members of one entry: with the largest data a bit more than a megabyte.
const BATCH_MAX: usize = 1_000;

/// For one entry to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the leader looks for nodes that are gone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often all seats are compared with the state, whatever it says: there may be room now, or the state may have come
/// from another node as a whole.
const COMPARE_EVERY: Duration = Duration::from_secs(30);

/// Whoever opens a stream, as other members see him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Who he is.
    pub user: UserId,
    /// What else they see.
    pub data: Option<MemberData>,
}

/// Whose presence a stream tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// The members of these topics.
    pub topics: BTreeSet<TopicName>,
    /// Whether these users are there.
    pub users: BTreeSet<UserId>,
}

impl Watched {
    /// Whether it is nobody's.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.users.is_empty()
    }

    /// The names under which the broker has what changes.
    pub(super) fn channels(&self) -> impl Iterator<Item = TopicName> {
        self.topics.iter().map(TopicName::presence).chain(self.users.iter().map(TopicName::status_of))
    }
}

/// Where a user reads.
type Seat = (TopicName, UserId);

/// Who reads what through this node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Attendance(Arc<Mutex<Seats>>);

#[derive(Debug, Default)]
struct Seats {
    taken: BTreeMap<Seat, Taken>,
    /// Seats that are kept although nobody sits there, in the order in which that ends.
    kept: BTreeSet<(Instant, Seat)>,
    /// Seats of which the state may not know what it should.
    touched: BTreeSet<Seat>,
}

#[derive(Debug, Default)]
struct Taken {
    streams: usize,
    data: Option<MemberData>,
    kept_until: Option<Instant>,
}

/// What a stream of a user holds as long as it is open.
#[derive(Debug)]
pub(super) struct Attending {
    attendance: Attendance,
    user: UserId,
    topics: Vec<TopicName>,
    grace: Duration,
}

/// A seat of which the cluster is to be told, and the data of whoever has it. Without that it is free.
type Wanted = (Seat, Option<Option<MemberData>>);

impl Attendance {
    /// A stream of a user, who reads these topics.
    pub(super) fn enter(&self, reader: Reader, topics: Vec<TopicName>, grace: Duration) -> Attending {
        let Reader { user, data } = reader;
        let mut seats = self.lock();
        for topic in &topics {
            seats.enter((topic.clone(), user.clone()), data.clone());
        }
        drop(seats);
        Attending { attendance: self.clone(), user, topics, grace }
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        let until = Instant::now() + self.grace;
        let mut seats = self.attendance.lock();
        for topic in self.topics.drain(..) {
            seats.leave((topic, self.user.clone()), until);
        }
    }
}

impl Seats {
    fn enter(&mut self, seat: Seat, data: Option<MemberData>) {
        let taken = self.taken.entry(seat.clone()).or_default();
        taken.streams += 1;
        taken.data = data;
        if let Some(until) = taken.kept_until.take() {
            self.kept.remove(&(until, seat.clone()));
        }
        self.touched.insert(seat);
    }

    fn leave(&mut self, seat: Seat, until: Instant) {
        let Some(taken) = self.taken.get_mut(&seat) else { return };
        taken.streams -= 1;
        if taken.streams == 0 {
            taken.kept_until = Some(until);
            self.kept.insert((until, seat));
        }
    }

    /// Frees seats that were kept long enough.
    fn expire(&mut self, now: Instant) {
        while self.kept.first().is_some_and(|(until, _)| *until <= now)
            && let Some((_, seat)) = self.kept.pop_first()
        {
            self.taken.remove(&seat);
            self.touched.insert(seat);
        }
    }

    /// Compares all seats with those that the state knows to be taken. What else it knows of them is not compared: of a
    /// user's data the last one holds, from whatever node.
    fn compare(&mut self, known: &BTreeSet<Seat>, until: Instant) {
        let lacks = |(seat, taken): &(&Seat, &Taken)| taken.streams > 0 && !known.contains(*seat);
        self.touched.extend(self.taken.iter().filter(lacks).map(|(seat, _)| seat.clone()));
        for seat in known {
            if !self.taken.contains_key(seat) {
                self.taken.insert(seat.clone(), Taken { kept_until: Some(until), ..Taken::default() });
                self.kept.insert((until, seat.clone()));
            }
        }
    }

    /// The next seats to tell of.
    fn take_touched(&mut self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        while wanted.len() < BATCH_MAX
            && let Some(seat) = self.touched.pop_first()
        {
            let data = self.taken.get(&seat).map(|taken| taken.data.clone());
            wanted.push((seat, data));
        }
        wanted
    }
}

impl Node {
    /// The members of a topic, as many as `limit` behind `after`. `None` if there is no such topic, or it has no presence.
    #[must_use]
    pub fn roster(&self, topic: &TopicName, after: Option<&UserId>, limit: usize) -> Option<Roster> {
        self.inner.consensus.replica().read(|machine| machine.roster(topic, after, limit))
    }

    /// Where a user is, if he is a member of any topic.
    #[must_use]
    pub fn user_status(&self, user: &UserId) -> Option<UserStatus> {
        self.inner.consensus.replica().read(|machine| machine.user_status(user))
    }

    /// Since when a user is a member of some topic, as of a change.
    pub(super) fn online_since(&self, user: &UserId) -> (Option<Timestamp>, u64) {
        let status = |machine: &Machine| (machine.online_since(user), machine.presence_version());
        self.inner.consensus.replica().read(status)
    }

    /// Tells the cluster who reads what here, until the node stops.
    pub(super) async fn tell_attendance(self) {
        if !self.served().await {
            return;
        }
        let (replica, id) = (self.inner.consensus.replica(), self.inner.consensus.node());
        let mut ticks = interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut compared: Option<(u64, Instant)> = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.inner.stop.cancelled() => return,
            }
            let now = Instant::now();
            let resets = replica.read(Machine::presence_resets);
            if compared.is_none_or(|(told, at)| told != resets || now.duration_since(at) >= COMPARE_EVERY) {
                compared = Some((resets, now));
                let known = replica
                    .read(|machine| machine.attendees(id).map(|(topic, user)| (topic.clone(), user.clone())).collect());
                self.inner.attendance.lock().compare(&known, now + self.inner.settings.presence_grace);
            }
            self.inner.attendance.lock().expire(now);
            loop {
                let wanted = self.inner.attendance.lock().take_touched();
                if wanted.is_empty() {
                    break;
                }
                match self.tell(&wanted).await {
                    Ok(0) => {}
                    Ok(passed_over) => warn!(passed_over, "there is no room for members of topics"),
                    // Told again at the next tick; what comes of it twice is the same.
                    Err(_) => {
                        let seats = wanted.into_iter().map(|(seat, _)| seat);
                        self.inner.attendance.lock().touched.extend(seats);
                        break;
                    }
                }
            }
        }
    }

    /// Tells of seats, as far as the state doesn't know. Answers how many have no room.
    async fn tell(&self, wanted: &[Wanted]) -> Result<u64, WriteError> {
        let node = self.inner.consensus.node();
        let (joined, left) = self.inner.consensus.replica().read(|machine| changes(machine, node, wanted));
        if joined.is_empty() && left.is_empty() {
            return Ok(0);
        }
        let command = Command::Attend { node, joined, left };
        match self.write(&command, true, Instant::now() + WRITE_TIMEOUT).await? {
            Reply::Attended { passed_over } => Ok(passed_over),
            reply => unreachable!("what a node tells of its readers is not answered {reply:?}"),
        }
    }

    /// As long as this node leads: takes back what nodes have told that are gone.
    pub(super) async fn dismiss_the_lost(self) {
        let consensus = &self.inner.consensus;
        let lease = self.inner.settings.presence_grace.max(DOWN_AFTER);
        // Of a node that is no member any more nobody hears: it is missed since this.
        let mut missed: BTreeMap<NodeId, Instant> = BTreeMap::new();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.inner.stop.cancelled() => return,
            }
            if !consensus.leads() {
                continue;
            }
            let attended: Vec<NodeId> = consensus.replica().read(|machine| machine.attended_nodes().collect());
            missed.retain(|node, _| attended.contains(node));
            for node in attended.into_iter().filter(|node| *node != consensus.node()) {
                let silence = self.inner.directory.silence(node);
                let silence = silence.unwrap_or_else(|| missed.entry(node).or_insert_with(Instant::now).elapsed());
                if silence < lease {
                    continue;
                }
                // Once or not at all: the node may be back by a second time. If it fails, the next look tries again.
                let dismissed = self.write(&Command::Dismiss { node }, false, Instant::now() + WRITE_TIMEOUT).await;
                if let Ok(Reply::Dismissed { members }) = dismissed {
                    info!(peer = node.get(), members, "a node is gone, and its readers with it");
                }
            }
        }
    }
}

/// Where the state of seats is not what it should be.
fn changes(machine: &Machine, node: NodeId, wanted: &[Wanted]) -> (Vec<Attendee>, Vec<Seat>) {
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    for ((topic, user), data) in wanted {
        let known = machine.attendee(topic, user, node);
        match data {
            Some(data) if machine.has_presence(topic) && known != Some(data.as_ref()) => {
                joined.push(Attendee { topic: topic.clone(), user: user.clone(), data: data.clone() });
            }
            None if known.is_some() => left.push((topic.clone(), user.clone())),
            Some(_) | None => {}
        }
    }
    (joined, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn reader(user: &str) -> Reader {
        Reader { user: UserId::parse(user).expect(user), data: None }
    }

    fn room() -> TopicName {
        TopicName::parse("room").expect("a name")
    }

    fn seat(user: &str) -> Seat {
        (room(), reader(user).user)
    }

    /// Who is to be told of, and whether he is here.
    fn told(attendance: &Attendance) -> Vec<(String, bool)> {
        let wanted = attendance.lock().take_touched();
        wanted.into_iter().map(|((_, user), data)| (user.to_string(), data.is_some())).collect()
    }

    fn expire(attendance: &Attendance, after: Duration) {
        attendance.lock().expire(Instant::now() + after);
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_is_kept_for_the_grace_and_free_after_the_last_stream() {
        let attendance = Attendance::default();
        let one = attendance.enter(reader("ada"), vec![room()], GRACE);
        let two = attendance.enter(reader("ada"), vec![room()], GRACE);
        assert_eq!(told(&attendance), [("ada".to_owned(), true)]);
        drop(one);
        expire(&attendance, GRACE);
        assert_eq!(told(&attendance), []);

        drop(two);
        expire(&attendance, GRACE - Duration::from_millis(1));
        let back = attendance.enter(reader("ada"), vec![room()], GRACE);
        expire(&attendance, GRACE);
        assert_eq!(told(&attendance), [("ada".to_owned(), true)], "she was never away");

        drop(back);
        expire(&attendance, GRACE);
        assert_eq!(told(&attendance), [("ada".to_owned(), false)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_here_before_a_restart_has_the_grace_to_come_back() {
        let attendance = Attendance::default();
        let _ada = attendance.enter(reader("ada"), vec![room()], GRACE);
        let known = BTreeSet::from(["ada", "bob", "carl"].map(seat));
        assert_eq!(told(&attendance), [("ada".to_owned(), true)]);
        attendance.lock().compare(&known, Instant::now() + GRACE);
        assert_eq!(told(&attendance), [], "of whom the state knows nothing is to be told");
        let _bob = attendance.enter(reader("bob"), vec![room()], GRACE);
        expire(&attendance, GRACE);
        assert_eq!(told(&attendance), [("bob".to_owned(), true), ("carl".to_owned(), false)]);
    }
    #[tokio::test(start_paused = true)]
    async fn who_is_here_and_not_in_the_state_is_told_of_again() {
        let attendance = Attendance::default();
        let _ada = attendance.enter(reader("ada"), vec![room()], GRACE);
        let bob = attendance.enter(reader("bob"), vec![room()], GRACE);
        told(&attendance);
        drop(bob);
        attendance.lock().compare(&BTreeSet::new(), Instant::now() + GRACE);
        assert_eq!(told(&attendance), [("ada".to_owned(), true)]);
    }
}

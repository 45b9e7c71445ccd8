//! Whether the messages of one stream came as promised.

use std::ops::AddAssign;

use serde::Serialize;

use super::message::Tag;

/// Odd, and with bits everywhere: the multiplier of Fibonacci hashing.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Follows all messages of one stream, and those of each publisher among them.
#[derive(Clone, Debug)]
pub(crate) struct Sequences {
    publishers: Vec<Sequence>,
    /// Messages that came.
    count: u64,
    /// Of all of them in the order in which they came: two streams that saw the same have the same.
    order: u64,
    /// Messages of nobody that was known.
    damaged: u64,
}

impl Sequences {
    /// Of a stream of the messages of so many publishers.
    pub(crate) fn new(publishers: usize) -> Self {
        Self { publishers: vec![Sequence::default(); publishers], count: 0, order: 0, damaged: 0 }
    }

    /// The next message of the stream.
    #[inline]
    pub(crate) fn see(&mut self, Tag { publisher, number }: Tag) {
        let Some(sequence) = self.publishers.get_mut(publisher) else { return self.damaged() };
        sequence.see(number);
        self.count += 1;
        self.order = (self.order ^ number ^ ((publisher as u64) << 48)).wrapping_mul(MIX).rotate_left(29);
    }

    /// A message that can't be read, or whose value is not what was published.
    pub(crate) fn damaged(&mut self) {
        self.damaged += 1;
    }

    /// Messages that came.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Tells in which order they came.
    pub(crate) fn order(&self) -> u64 {
        self.order
    }

    /// Whether the last message of each publisher is here.
    pub(crate) fn has_all(&self, published: &[u64]) -> bool {
        self.publishers.iter().zip(published).all(|(sequence, published)| sequence.last >= *published)
    }

    /// What was wrong, now that each publisher has published so many.
    pub(crate) fn faults(&self, published: &[u64]) -> Faults {
        let mut sum = Faults { damaged: self.damaged, ..Faults::default() };
        for (sequence, published) in self.publishers.iter().zip(published) {
            sum += sequence.faults(*published);
        }
        sum
    }
}

/// Follows the numbers of one publisher on one stream: 1, 2, 3 … and nothing else.
#[derive(Clone, Debug, Default)]
struct Sequence {
    last: u64,
    /// Numbers up to `last` that have not come: the first and the last of each hole.
    holes: Vec<(u64, u64)>,
    faults: Faults,
}

/// What was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Faults {
    /// Never came.
    pub(crate) missing: u64,
    /// Came again.
    pub(crate) repeated: u64,
    /// Came behind one that should have come later.
    pub(crate) out_of_order: u64,
    /// Were not as they had been published. Looked for in a sample.
    pub(crate) damaged: u64,
}

impl Sequence {
    /// The next message of the publisher.
    #[inline]
    fn see(&mut self, seq: u64) {
        if seq == self.last + 1 {
            self.last = seq;
        } else {
            self.see_another(seq);
        }
    }

    fn see_another(&mut self, seq: u64) {
        if seq > self.last {
            self.holes.push((self.last + 1, seq - 1));
            self.last = seq;
            return;
        }
        let Some(at) = self.holes.iter().position(|(first, last)| (*first..=*last).contains(&seq)) else {
            self.faults.repeated += 1;
            return;
        };
        self.faults.out_of_order += 1;
        let (first, last) = self.holes.swap_remove(at);
        self.holes.extend([(first, seq - 1), (seq + 1, last)].into_iter().filter(|(first, last)| first <= last));
    }

    /// What was wrong, now that so many were published.
    fn faults(&self, published: u64) -> Faults {
        let holes: u64 = self.holes.iter().map(|(first, last)| last + 1 - first).sum();
        Faults { missing: holes + published.saturating_sub(self.last), ..self.faults }
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.missing += other.missing;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.damaged += other.damaged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seen: &[u64], published: u64, missing: u64, repeated: u64, out_of_order: u64) {
        let mut sequence = Sequence::default();
        seen.iter().for_each(|seq| sequence.see(*seq));
        let expected = Faults { missing, repeated, out_of_order, damaged: 0 };
        assert_eq!(sequence.faults(published), expected, "{seen:?} of {published}");
    }

    #[test]
    fn streams_agree_only_if_all_messages_came_in_the_same_order() {
        let stream = |tags: &[(usize, u64)]| {
            let mut sequences = Sequences::new(2);
            tags.iter().for_each(|(publisher, number)| sequences.see(Tag { publisher: *publisher, number: *number }));
            sequences
        };
        let (one, other) = (stream(&[(0, 1), (1, 1), (0, 2)]), stream(&[(1, 1), (0, 1), (0, 2)]));
        assert_eq!(one.order(), stream(&[(0, 1), (1, 1), (0, 2)]).order());
        assert_ne!(one.order(), other.order());
        assert_eq!((one.faults(&[2, 1]), other.faults(&[2, 1])), (Faults::default(), Faults::default()));
        assert!(one.has_all(&[2, 1]) && !one.has_all(&[2, 2]));
        assert_eq!(one.faults(&[2, 3]).missing, 2);
        assert_eq!(stream(&[(2, 1)]).faults(&[0, 0]).damaged, 1);
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        check(&[], 0, 0, 0, 0);
        check(&[1, 2, 3], 3, 0, 0, 0);
        check(&[], 3, 3, 0, 0);
        check(&[2, 3], 3, 1, 0, 0);
        check(&[1, 2], 4, 2, 0, 0);
        check(&[1, 1, 2], 2, 0, 1, 0);
        check(&[1, 2, 1], 2, 0, 1, 0);
        check(&[2, 1], 2, 0, 0, 1);
        check(&[1, 6, 3, 3, 5], 7, 3, 1, 2);
    }
}

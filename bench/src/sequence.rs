//! Whether the messages of one stream came as promised.

use std::ops::AddAssign;

use serde::Serialize;

/// Follows the numbers of one topic on one stream: 1, 2, 3 … and nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
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
    /// The next message of the stream.
    #[inline]
    pub(crate) fn see(&mut self, seq: u64) {
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

    /// A message that can't be read, or whose value is not what was published.
    pub(crate) fn damaged(&mut self) {
        self.faults.damaged += 1;
    }

    /// The highest number so far.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// What was wrong, now that so many were published.
    pub(crate) fn faults(&self, published: u64) -> Faults {
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

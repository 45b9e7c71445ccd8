//! A queue whose items are numbered.

use std::collections::VecDeque;
use std::ops::Range;

/// A first-in-first-out queue whose items have dense numbers that they keep: the seqs of a topic's messages, the order
/// in which its keys came.
#[derive(Debug)]
pub(super) struct Queue<T> {
    first: u64,
    items: VecDeque<T>,
}

impl<T> Queue<T> {
    /// Slots that an emptied queue may hold on to.
    const SPARE_SLOTS: usize = 64;

    pub(super) fn starting_at(first: u64) -> Self {
        Self { first, items: VecDeque::new() }
    }

    /// The numbers of the items, from the oldest's to that of the item to come.
    pub(super) fn numbers(&self) -> Range<u64> {
        self.first..self.first + self.len()
    }

    pub(super) fn len(&self) -> u64 {
        self.items.len() as u64
    }

    pub(super) fn oldest(&self) -> Option<&T> {
        self.items.front()
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        self.items.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Appends an item and returns its number.
    pub(super) fn push(&mut self, item: T) -> u64 {
        self.items.push_back(item);
        self.numbers().end - 1
    }

    /// Takes the oldest item. A queue that has become much shorter gives its memory back, at a constant cost per item.
    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.first += 1;
        if self.items.capacity() > Self::SPARE_SLOTS.max(4 * self.items.len()) {
            self.items.shrink_to(2 * self.items.len());
        }
        Some(item)
    }

    /// The items of these numbers, oldest first; numbers beyond the ends count for nothing.
    pub(super) fn range(&self, numbers: Range<u64>) -> impl DoubleEndedIterator<Item = &T> + use<'_, T> {
        let index = |number: u64| {
            usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.items.len())
        };
        let end = index(numbers.end);
        self.items.range(index(numbers.start).min(end)..end)
    }

    /// The number of the first item for which `is_before` doesn't hold; it must hold for all items before that one.
    pub(super) fn partition_point(&self, is_before: impl FnMut(&T) -> bool) -> u64 {
        self.first + self.items.partition_point(is_before) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn items_keep_their_numbers(pops in prop::collection::vec(any::<bool>(), 0..400), from in 0..500_u64, to in 0..500_u64) {
            let mut queue = Queue::starting_at(3);
            for pop in pops {
                if pop {
                    let oldest = queue.oldest().copied();
                    prop_assert_eq!(queue.pop(), oldest);
                } else {
                    let number = queue.numbers().end;
                    prop_assert_eq!(queue.push(number), number);
                }
            }
            let expected: Vec<u64> = queue.numbers().filter(|number| (from..to).contains(number)).collect();
            prop_assert_eq!(queue.range(from..to).copied().collect::<Vec<_>>(), expected);
            prop_assert_eq!(queue.get(from).copied(), queue.numbers().contains(&from).then_some(from));
            let clamped = from.clamp(queue.numbers().start, queue.numbers().end);
            prop_assert_eq!(queue.partition_point(|number| *number < from), clamped);
        }
    }

    #[test]
    fn an_emptied_queue_gives_its_memory_back() {
        let mut queue = Queue::starting_at(0);
        (0..10_000).for_each(|item| assert_eq!(queue.push(item), item));
        while queue.pop().is_some() {}
        assert!(queue.items.capacity() <= Queue::<u64>::SPARE_SLOTS);
    }
}

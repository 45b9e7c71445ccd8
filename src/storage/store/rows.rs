//! Reading a range of rows.

use std::ops::Range;
use std::vec;

use super::{Row, Store, StoreError, row};

/// The rows of a range, verified. Reads ahead a bounded chunk at a time and holds no lock between the chunks, so a slow
/// consumer holds up no commit.
#[derive(Debug)]
pub struct Rows {
    store: Store,
    /// The heads that are not read yet. `None` when there are no more, or after an error.
    rest: Option<Range<Vec<u8>>>,
    reverse: bool,
    ahead: vec::IntoIter<Row>,
}

impl Rows {
    pub(super) fn new(store: Store, heads: Range<Vec<u8>>, reverse: bool) -> Self {
        Self { store, rest: Some(heads), reverse, ahead: Vec::new().into_iter() }
    }

    fn read_ahead(&mut self) -> Result<(), StoreError> {
        let Some(mut rest) = self.rest.take() else { return Ok(()) };
        let rows = self.store.database().chunk(&rest, self.reverse)?;
        if let Some((key, _)) = rows.last() {
            let last = row::head_key(key);
            if self.reverse {
                rest.end = last;
            } else {
                rest.start = last;
                // The smallest key behind it.
                rest.start.push(0);
            }
            self.rest = Some(rest);
        }
        self.ahead = rows.into_iter();
        Ok(())
    }
}

impl Iterator for Rows {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.as_slice().is_empty()
            && let Err(error) = self.read_ahead()
        {
            return Some(Err(error));
        }
        self.ahead.next().map(Ok)
    }
}

//! Numbered generations of rows. Each is one commit, and what a store holds after any of them follows from its number
//! alone, so a store found after a crash can be held against it.
//!
//! Every generation rewrites a row that carries its number and some of a fixed set of rows of all sizes, and keeps a
//! window of rows by deleting the oldest: sled's file is reused all the time.

use repl::storage::{Change, Store};

use super::files::{self, Rows};

/// Rows that are rewritten now and then.
const SLOTS: u64 = 120;

/// Generations whose own rows are kept.
const WINDOW: u64 = 10;

/// Large rows.
const BULKY_ROWS: u64 = 160;

const NUMBER: &[u8] = b"generation";

/// What a generation changes.
pub(crate) type Changes = fn(u64) -> Vec<Change>;

/// What a store holds after a generation.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) generation: u64,
    pub(crate) rows: Rows,
}

impl Model {
    /// Goes on to a later generation.
    pub(crate) fn advance(&mut self, to: u64, changes: Changes) {
        (self.generation + 1..=to).for_each(|generation| files::commit(&mut self.rows, changes(generation)));
        self.generation = to;
    }
}

/// Commits generations, from the one after that which the store holds, up to this one.
pub(crate) fn commit_up_to(store: &Store, last: u64, changes: Changes) {
    for generation in number(store) + 1..=last {
        store.commit(changes(generation)).expect("commits");
    }
}

/// Which generation the store holds, whole.
///
/// # Errors
/// Its rows belong to no single generation.
pub(crate) fn whole(store: &Store, changes: Changes) -> Result<u64, String> {
    let found = number(store);
    let is_whole = files::rows(store) == rows(found, changes);
    is_whole.then_some(found).ok_or_else(|| format!("not all rows belong to generation {found}"))
}

/// Which generation the store says it holds.
pub(crate) fn number(store: &Store) -> u64 {
    let row = store.get(NUMBER).expect("reads");
    row.map_or(0, |row| u64::from_be_bytes(row.try_into().expect("eight bytes")))
}

/// What generation `generation` changes.
pub(crate) fn changes(generation: u64) -> Vec<Change> {
    let put = |key: String, seed: u64| Change::Put { key: key.into_bytes(), value: value(seed) };
    let mut changes = vec![numbered(generation)];
    for slot in (0..SLOTS).filter(|slot| mix(generation ^ slot << 32).is_multiple_of(4)) {
        changes.push(put(format!("slot/{slot}"), generation ^ slot << 32));
    }
    for row in 0..per_generation(generation) {
        changes.push(put(format!("window/{generation:020}/{row}"), generation << 20 | row));
    }
    if let Some(oldest) = generation.checked_sub(WINDOW) {
        let keys = format!("window/{oldest:020}/").into_bytes()..=format!("window/{oldest:020}/9").into_bytes();
        changes.push(Change::DeleteRange { keys, keep_last: false });
    }
    changes
}

/// What generation `generation` changes if there is to be much to move: half of some large rows are written, all are
/// written, most shrink, all go.
pub(crate) fn bulky_changes(generation: u64) -> Vec<Change> {
    let mut changes = vec![numbered(generation)];
    changes.extend((0..BULKY_ROWS).filter_map(|row| {
        let seed = mix(generation ^ row << 32);
        let key = format!("bulky/{row}").into_bytes();
        match generation % 4 {
            1 if seed.is_multiple_of(2) => None,
            1 | 2 => Some(Change::Put { key, value: bytes(seed, 8_000 + seed % 30_000) }),
            3 if seed.is_multiple_of(10) => None,
            3 => Some(Change::Put { key, value: bytes(seed, seed % 200) }),
            _ => Some(Change::Delete { key }),
        }
    }));
    changes
}

/// What generation `generation` changes if most are small and some move much.
pub(crate) fn varied_changes(generation: u64) -> Vec<Change> {
    let bits = mix(generation);
    let mut changes = if bits.is_multiple_of(3) { bulky_changes(bits / 3) } else { changes(generation) };
    changes.push(numbered(generation));
    changes
}

/// What a store holds after generation `generation`.
pub(crate) fn rows(generation: u64, changes: Changes) -> Rows {
    let mut model = Model::default();
    model.advance(generation, changes);
    model.rows
}

fn numbered(generation: u64) -> Change {
    Change::Put { key: NUMBER.to_vec(), value: generation.to_be_bytes().to_vec() }
}

/// Most generations are small, some fill several of sled's segments.
fn per_generation(generation: u64) -> u64 {
    match mix(generation) % 8 {
        0 => 300,
        other => other * 6,
    }
}

fn value(seed: u64) -> Vec<u8> {
    let bits = mix(seed);
    let len = match bits % 20 {
        0 => bits % 20_000,
        1..4 => bits % 4_000,
        _ => bits % 300,
    };
    bytes(bits, len)
}

/// Bytes that look random.
fn bytes(bits: u64, len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in 0..len.div_ceil(8) {
        bytes.extend_from_slice(&(bits ^ mix(word)).to_le_bytes());
    }
    bytes.truncate(usize::try_from(len).expect("short"));
    bytes
}

/// A number that looks random: splitmix64.
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

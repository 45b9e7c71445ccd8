//! Directories as test data.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use repl::storage::{Change, Store};

/// sled's file, where the store keeps it.
pub(crate) const DB: &str = "state-1/db";

/// All rows.
pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Does what a commit of these changes does.
pub(crate) fn commit(rows: &mut Rows, changes: Vec<Change>) {
    let before = rows.clone();
    for change in changes {
        match change {
            Change::Put { key, value } => drop(rows.insert(key, value)),
            Change::Delete { key } => drop(rows.remove(&key)),
            Change::DeleteRange { keys, keep_last } => {
                let mut range = before.range(keys);
                if keep_last {
                    range.next_back();
                }
                range.for_each(|(key, _)| drop(rows.remove(key)));
            }
        }
    }
}

/// Reads a store whole.
pub(crate) fn rows(store: &Store) -> Rows {
    store.all().collect::<Result<_, _>>().expect("rows are whole")
}

/// sled's file once its threads have cut off what they no longer need.
pub(crate) fn settled(db: &Path) -> Vec<u8> {
    let read = || fs::read(db).expect("reads");
    let (mut last, mut again) = (read(), read());
    while last != again {
        (last, again) = (again, read());
    }
    last
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("creates");
    for entry in fs::read_dir(from).expect("reads") {
        let entry = entry.expect("reads");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// The names in a directory.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("reads")
        .map(|entry| entry.expect("reads").file_name().into_string().expect("is text"))
        .collect();
    names.sort();
    names
}

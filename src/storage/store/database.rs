//! One sled database in one directory: the only place that names sled.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::{Range, RangeInclusive};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use super::error::StoreError;
use super::row::{self, Head, Tally};
use super::{FORMAT_VERSION, Row};
use crate::storage::durable::sync_directory;

/// For sled's page cache, in bytes. It takes about this much again while it works.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// How long sled's own threads may keep its file locked after the last handle of this process is gone.
const FORMER_HANDLE_WAIT: Duration = Duration::from_secs(10);

/// Below this many rows and bytes (of values) a chunk of a range goes on.
const CHUNK_ROWS: usize = 64;
const CHUNK_BYTES: usize = 256 * 1024;

const VERSION: &str = "version";
const TALLY: &str = "tally";

/// How a flush ends.
pub(super) enum Flush {
    /// On the disk: sled 0.34's own flush is `sync_file_range` on Linux, which neither empties the disk's cache nor
    /// records that the file has grown. In a simulated power cut that lost acknowledged commits nearly every time.
    Synced,
    /// As sled does it. Only for the proof that the tests would notice.
    AsSledDoes,
    /// On the disk, and told: a power cut can take what is written from here on. Only for the tests.
    Told(Box<dyn Fn() + Send + Sync>),
}

/// An open database. Reads see whole commits: [`Self::apply`] is exclusive.
pub(super) struct Database {
    db: sled::Db,
    /// Our own handle to sled's only data file.
    file: File,
    dir: PathBuf,
    flush: Flush,
}

impl Drop for Database {
    /// sled syncs its file once more when the last handle goes, and panics if that fails: the node would end without having
    /// said why. Nothing is lost by keeping a handle, since all that matters has been synced, or has failed to be.
    fn drop(&mut self) {
        if self.file.sync_all().is_err() {
            #[allow(clippy::mem_forget, reason = "so that sled's own drop never runs")]
            std::mem::forget(self.db.clone());
        }
    }
}

/// Changes that are applied together.
#[derive(Clone, Default)]
pub(super) struct Batch(sled::Batch);

impl Database {
    /// Makes an empty database in a directory that does not exist yet.
    pub(super) fn create(dir: &Path, flush: Flush) -> Result<Self, StoreError> {
        let db = start(dir)?;
        let path = dir.join("db");
        let file = File::open(&path).map_err(StoreError::io("cannot open", &path))?;
        let mut database = Self { db, file, dir: dir.to_owned(), flush };
        let mut batch = Batch::default();
        batch.0.insert(row::meta_key(VERSION), seal(VERSION, &FORMAT_VERSION.to_le_bytes()));
        batch.tally(Tally::default());
        database.apply(batch)?;
        database.sync_all()?;
        Ok(database)
    }

    /// Its directory was renamed.
    pub(super) fn moved_to(&mut self, dir: PathBuf) {
        self.dir = dir;
    }

    /// Opens a database and reads all of it, so that what is served later has been seen to be whole.
    pub(super) fn open(dir: &Path, flush: Flush) -> Result<(Self, Tally), StoreError> {
        let path = dir.join("db");
        let file = match File::open(&path) {
            // sled would make a new one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(dir, "its file `db` is missing".into()));
            }
            result => result.map_err(StoreError::io("cannot open", &path))?,
        };
        wait_for_former_handle(dir, &file)?;
        let database = Self { db: start(dir)?, file, dir: dir.to_owned(), flush };
        database.check_version()?;
        let tally = database.check_rows()?;
        // Opening has rewritten sled's index of the file, and blanked what a crash had left behind the last commit.
        database.sync_all()?;
        Ok((database, tally))
    }

    /// Applies all of the batch or, after a crash, all or nothing. Not durable yet. [`Self::settle`] belongs behind it.
    pub(super) fn apply(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.guard(|| self.db.apply_batch(batch.0))
    }

    /// Has sled split and merge the tree nodes that a batch has filled or emptied. Left alone, sled does so whenever it
    /// next comes past, for a read, too: outside of any batch, and with nobody who syncs it before the next batch
    /// overwrites what those nodes were made from. A power cut then lost rows of commits long past. Applied once more, a
    /// batch finds all it wants in place, so all that sled writes is this, and that as one batch.
    pub(super) fn settle(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.apply(batch)
    }

    /// Makes all that was applied durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.guard(|| self.db.flush())?;
        if !matches!(self.flush, Flush::AsSledDoes) {
            self.file.sync_data().map_err(StoreError::io("cannot sync", &self.dir))?;
        }
        if let Flush::Told(synced) = &self.flush {
            synced();
        }
        Ok(())
    }

    /// Has the file system keep blocks behind the end of sled's file, for it to grow into. One that can't do that is asked
    /// how much it has. What is left over stays for the next time.
    pub(super) fn reserve(&self, bytes: u64) -> Result<bool, StoreError> {
        let path = self.dir.join("db");
        let failed = || StoreError::io("cannot set room aside for", &path);
        let file = OpenOptions::new().write(true).open(&path).map_err(failed())?;
        let metadata = file.metadata().map_err(failed())?;
        let reserved = (metadata.blocks() * 512).saturating_sub(metadata.len());
        let free = fstatvfs(&file).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        // Asked first, because a call that fails keeps what it has got until then.
        if free.map_err(io::Error::from).map_err(failed())?.saturating_add(reserved) < bytes {
            return Ok(false);
        }
        match fallocate(&file, FallocateFlags::KEEP_SIZE, metadata.len(), bytes) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(true),
            Err(Errno::NOSPC | Errno::DQUOT) => Ok(false),
            Err(error) => Err(failed()(error.into())),
        }
    }

    /// What is known of a row without reading its parts.
    pub(super) fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        match self.stored(&row::head_key(key))? {
            Some(stored) => Ok(Some(self.decode(key, &stored)?.0)),
            None => Ok(None),
        }
    }

    /// A row's value, verified.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.stored(&row::head_key(key))? {
            Some(stored) => self.assemble(key, &stored).map(|(_, value)| Some(value)),
            None => Ok(None),
        }
    }

    /// The last row whose key lies in a range, verified.
    pub(super) fn last(&self, keys: &RangeInclusive<Vec<u8>>) -> Result<Option<Row>, StoreError> {
        let Some((head, first)) = self.guard(|| self.heads(keys).next_back().transpose())? else { return Ok(None) };
        let key = row::key_of_head(&head).to_vec();
        let (_, value) = self.assemble(&key, &first)?;
        Ok(Some((key, value)))
    }

    /// The keys of the rows in a range.
    pub(super) fn keys(&self, keys: &RangeInclusive<Vec<u8>>) -> Result<Vec<Vec<u8>>, StoreError> {
        let heads = self.heads(keys).keys();
        let found = self.guard(|| heads.collect::<sled::Result<Vec<_>>>())?;
        Ok(found.iter().map(|head| row::key_of_head(head).to_vec()).collect())
    }

    fn heads(&self, keys: &RangeInclusive<Vec<u8>>) -> sled::Iter {
        self.db.range(row::head_key(keys.start())..=row::head_key(keys.end()))
    }

    /// Some of the rows whose heads lie in the range, verified: the first ones, or the last ones first. None if there
    /// are none.
    pub(super) fn chunk(&self, heads: &Range<Vec<u8>>, reverse: bool) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        if heads.start >= heads.end {
            return Ok(rows);
        }
        let mut stored = self.db.range(heads.clone());
        let mut bytes = 0;
        while rows.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let next = self.guard(|| if reverse { stored.next_back() } else { stored.next() }.transpose())?;
            let Some((head, first)) = next else { break };
            let key = row::key_of_head(&head).to_vec();
            let (_, value) = self.assemble(&key, &first)?;
            bytes += value.len();
            rows.push((key, value));
        }
        Ok(rows)
    }

    fn check_version(&self) -> Result<(), StoreError> {
        let found = u32::from_le_bytes(self.meta(VERSION)?);
        if found == FORMAT_VERSION {
            Ok(())
        } else {
            Err(StoreError::Version { path: self.dir.clone(), found, known: FORMAT_VERSION })
        }
    }

    /// sled's recovery passes over what it can't read, so only a look at every row shows that none is missing.
    fn check_rows(&self) -> Result<Tally, StoreError> {
        let expected = Tally::decode(self.meta(TALLY)?);
        let mut found = Tally::default();
        let mut stored = self.db.range(row::all_heads());
        while let Some((head, first)) = self.guard(|| stored.next().transpose())? {
            let key = row::key_of_head(&head);
            let (head, _) = self.assemble(key, &first)?;
            found.add(key, head);
        }
        if found == expected {
            Ok(found)
        } else {
            Err(self
                .damaged(format!("{} rows were committed, {} of them or others are there", expected.rows, found.rows)))
        }
    }

    fn meta<const LEN: usize>(&self, name: &str) -> Result<[u8; LEN], StoreError> {
        let stored = self.stored(&row::meta_key(name))?;
        let unsealed = stored.and_then(|stored| unseal(name, &stored));
        unsealed.ok_or_else(|| self.damaged(format!("its row `{name}` is missing or not what was written")))
    }

    fn assemble(&self, key: &[u8], stored: &[u8]) -> Result<(Head, Vec<u8>), StoreError> {
        let (head, first) = self.decode(key, stored)?;
        let mut value = first.to_vec();
        for number in head.parts() {
            let Some(part) = self.stored(&row::part_key(key, number))? else { break };
            value.extend_from_slice(&part);
        }
        if head.verifies(key, &value) { Ok((head, value)) } else { Err(self.damaged_row(key)) }
    }

    fn decode<'a>(&self, key: &[u8], stored: &'a [u8]) -> Result<(Head, &'a [u8]), StoreError> {
        Head::decode(stored).ok_or_else(|| self.damaged_row(key))
    }

    fn stored(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        self.guard(|| self.db.get(key))
    }

    /// Makes the files durable along with their names. Afterwards sled only ever writes into `db`.
    fn sync_all(&self) -> Result<(), StoreError> {
        self.sync()?;
        let sync = || {
            for entry in fs::read_dir(&self.dir)? {
                File::open(entry?.path())?.sync_all()?;
            }
            sync_directory(&self.dir)
        };
        sync().map_err(StoreError::io("cannot sync", &self.dir))
    }

    fn guard<T>(&self, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
        guard(&self.dir, call)
    }

    fn damaged(&self, what: String) -> StoreError {
        damaged(&self.dir, what)
    }

    fn damaged_row(&self, key: &[u8]) -> StoreError {
        self.damaged(format!("the row \"{}\" is not what was committed", key.escape_ascii()))
    }
}

impl Batch {
    /// Puts a row into the place of the one with this head. Returns the new head.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8], old: Option<Head>) -> Result<Head, StoreError> {
        let head = Head::new(key, value)?;
        for (key, value) in head.encode(key, value) {
            self.0.insert(key, value);
        }
        for number in old.map(Head::parts).unwrap_or_default().skip_while(|number| head.parts().contains(number)) {
            self.0.remove(row::part_key(key, number));
        }
        Ok(head)
    }

    /// Removes the row with this head, and its parts without reading them.
    pub(super) fn remove(&mut self, key: &[u8], old: Head) {
        self.0.remove(row::head_key(key));
        for number in old.parts() {
            self.0.remove(row::part_key(key, number));
        }
    }

    /// What the rows add up to when this is applied. Belongs into every batch that changes rows.
    pub(super) fn tally(&mut self, tally: Tally) {
        self.0.insert(row::meta_key(TALLY), seal(TALLY, &tally.encode()));
    }
}

fn start(dir: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(dir)
        .mode(sled::Mode::LowSpace)
        .cache_capacity(CACHE_BYTES)
        // A commit flushes; in between there is nothing to flush.
        .flush_every_ms(None);
    guard(dir, || config.open())
}

/// Calls sled. Faced with damaged files it sometimes panics, in code that trusts what it has read (an index beyond the
/// end of the file, a page that was never written): here that is damage like any other. Nothing of ours is left
/// half changed: the closures only read, or end in the one call whose failure closes the store for commits.
fn guard<T>(dir: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        // What it expects to be there ends too early.
        Ok(Err(sled::Error::Io(error))) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(damaged(dir, error.to_string()))
        }
        Ok(Err(sled::Error::Io(error))) => Err(StoreError::io("sled cannot read or write", dir)(error)),
        Ok(Err(error)) => Err(damaged(dir, error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(damaged(dir, format!("sled gave up: {}", text.unwrap_or("no reason given"))))
        }
    }
}

fn damaged(dir: &Path, what: String) -> StoreError {
    StoreError::Damaged { dir: dir.to_owned(), what }
}

/// sled's threads may outlive its last handle for a moment, and hold its lock until then. Another process can't hold
/// it: that one would have the lock of the directory.
fn wait_for_former_handle(dir: &Path, file: &File) -> Result<(), StoreError> {
    let deadline = Instant::now() + FORMER_HANDLE_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return file.unlock().map_err(StoreError::io("cannot unlock", dir)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::park_timeout(Duration::from_millis(1));
            }
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(StoreError::io("cannot lock", dir)(error)),
        }
    }
}

/// A checksum in front of a row about the store itself.
fn seal(name: &str, payload: &[u8]) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(name.as_bytes()), payload);
    [&crc.to_le_bytes(), payload].concat()
}

fn unseal<const LEN: usize>(name: &str, stored: &[u8]) -> Option<[u8; LEN]> {
    let payload = stored.get(4..)?;
    (seal(name, payload) == stored).then_some(payload)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_large_row_that_shrinks_or_goes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut database = Database::create(&dir.path().join("db"), Flush::Synced).expect("creates");
        let empty = database.db.len();
        for last in [None, Some(vec![2; 10]), Some(vec![2; 5_000])] {
            let mut batch = Batch::default();
            batch.put(b"key", &[1; 50_000], None).expect("fits");
            database.apply(batch).expect("applies");
            assert_eq!(database.db.len(), empty + 13);

            let mut batch = Batch::default();
            let old = database.head(b"key").expect("reads");
            match &last {
                Some(value) => batch.put(b"key", value, old).map(drop).expect("fits"),
                None => batch.remove(b"key", old.expect("is there")),
            }
            database.apply(batch).expect("applies");
            assert_eq!(database.get(b"key").expect("reads"), last);
            assert_eq!(database.db.len(), empty + last.map_or(0, |value| 1 + value.len() / 4096));
        }
    }

    /// Rows as wide as they get, put and removed in a mixed order so that nodes split and merge, and what holds then.
    fn after_each_batch(check: impl Fn(&mut Database, Batch)) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut database = Database::create(&dir.path().join("db"), Flush::Synced).expect("creates");
        let key = |number: u32| {
            let mut key = vec![b'k'; row::KEY_BYTES_MAX];
            key.splice(row::KEY_BYTES_MAX - 4.., number.to_be_bytes());
            key
        };
        for round in 0..6_u32 {
            let mut batch = Batch::default();
            for number in (0..600).map(|number| number * 7919 % 600) {
                let goes = if round.is_multiple_of(2) { number % 5 == round % 5 } else { number % 5 != round % 5 };
                match (database.head(&key(number)).expect("reads"), goes) {
                    (Some(old), true) => batch.remove(&key(number), old),
                    (old, _) => drop(batch.put(&key(number), &[1; 9_000], old).expect("fits")),
                }
            }
            database.apply(batch.clone()).expect("applies");
            database.sync().expect("syncs");
            check(&mut database, batch);
        }
    }

    #[test]
    fn sled_keeps_everything_in_the_one_file_that_is_synced() {
        after_each_batch(|database, _| {
            assert_eq!(fs::read_dir(database.dir.join("blobs")).expect("reads").count(), 0);
        });
    }

    #[test]
    fn reading_a_database_that_was_settled_writes_nothing() {
        let read_all_then_flush = |database: &Database| {
            database.db.iter().for_each(|row| drop(row.expect("reads")));
            database.db.flush()
        };
        after_each_batch(|database, batch| {
            database.settle(batch).expect("settles");
            database.sync().expect("syncs");
            assert_eq!(read_all_then_flush(database), Ok(0));
        });
        after_each_batch(|database, _| {
            assert_ne!(read_all_then_flush(database), Ok(0), "it would be noticed");
        });
    }

    /// Changes sled's rows behind the store's back, as damage would, and tells what reading and opening say.
    fn check_damage(damage: impl FnOnce(&sled::Db)) -> (Result<Option<Vec<u8>>, StoreError>, String) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("db");
        let mut database = Database::create(&path, Flush::Synced).expect("creates");
        let mut tally = Tally::default();
        let mut batch = Batch::default();
        for key in [b"a", b"b", b"c"] {
            tally.add(key, batch.put(key, &[key[0]; 10_000], None).expect("fits"));
        }
        batch.tally(tally);
        database.apply(batch).expect("applies");
        damage(&database.db);
        let read = database.get(b"b");
        database.sync().expect("syncs");
        drop(database);
        match Database::open(&path, Flush::Synced) {
            Err(StoreError::Damaged { what, .. }) => (read, what),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("the damage was not noticed"),
        }
    }

    #[test]
    fn a_row_that_is_not_what_was_committed_is_never_served() {
        let changed = |key: Vec<u8>| {
            move |db: &sled::Db| {
                let mut stored = db.get(&key).expect("reads").expect("is there").to_vec();
                *stored.last_mut().expect("not empty") ^= 1;
                db.insert(&key, stored).expect("writes");
            }
        };
        let removed = |key: Vec<u8>| move |db: &sled::Db| drop(db.remove(key).expect("removes").expect("was there"));
        for (read, what) in [
            check_damage(changed(row::head_key(b"b"))),
            check_damage(changed(row::part_key(b"b", 1))),
            check_damage(removed(row::part_key(b"b", 2))),
        ] {
            assert!(matches!(read, Err(StoreError::Damaged { .. })), "{read:?}");
            assert_eq!(what, "the row \"b\" is not what was committed");
        }
    }

    #[test]
    fn a_row_that_is_missing_or_has_gone_back_is_noticed_when_the_store_is_opened() {
        let (read, what) = check_damage(|db| drop(db.remove(row::head_key(b"b")).expect("removes")));
        assert!(matches!(read, Ok(None)), "one row alone can't show it: {read:?}");
        assert_eq!(what, "3 rows were committed, 2 of them or others are there");

        let (read, what) = check_damage(|db| {
            let old = Head::new(b"b", b"an earlier value").expect("fits");
            for (key, stored) in old.encode(b"b", b"an earlier value") {
                db.insert(key, stored).expect("writes");
            }
        });
        assert!(matches!(read, Ok(Some(_))), "one row alone can't show it: {read:?}");
        assert_eq!(what, "3 rows were committed, 3 of them or others are there");
    }

    #[test]
    fn another_version_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("db");
        let database = Database::create(&path, Flush::Synced).expect("creates");
        database.db.insert(row::meta_key(VERSION), seal(VERSION, &7_u32.to_le_bytes())).expect("writes");
        database.sync().expect("syncs");
        drop(database);
        let refused = Database::open(&path, Flush::Synced);
        assert!(matches!(refused, Err(StoreError::Version { found: 7, known: FORMAT_VERSION, .. })));
    }
}

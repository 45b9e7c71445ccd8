//! The checkpoint store: rows of bytes, changed by atomic commits that are durable when they return.
//!
//! It holds what is older than the Raft log: the state machine puts the rows that have changed, and the position they
//! belong to, into one commit, and lets the log be purged behind it. It is not on the path of a publish, and it knows
//! nothing of what the rows mean.
//!
//! Underneath lies sled 0.34, with these rules, each with its reason where it is kept:
//!
//! - *One tree, one batch.* A commit is one sled batch, which a crash leaves whole or not at all. The batch of commit
//!   *k*+1 never overwrites what *k* needs: sled reuses a part of its file only after the batch that made it free has
//!   been written as a whole, and here that batch is synced before the next one begins.
//! - *Reads only read.* sled tidies its tree up as it comes past, reading or writing. A commit has it do so at once, as a
//!   batch of its own that is synced like the first, and no reader comes in between (`database.rs`).
//! - *Synced.* Each commit ends with `sync_data` on sled's file, because sled's own flush is not durable
//!   (`database.rs`).
//! - *Small values.* Larger ones are split (`row.rs`), because sled never syncs what it does not keep in its file.
//! - *Seen whole.* Every row has a checksum and all rows together have one. Opening reads everything, so damage shows
//!   then, as [`StoreError::Damaged`], and never as a row that is quietly missing. Reading verifies again.
//! - *Replaced by a rename.* An import fills a new database beside the old one (`directory.rs`).
//!
//! A batch holds up all readers of the process while sled applies it (sled has one lock for that, for all its
//! databases), and sled frees none of the memory it has used for a batch before the end: 100,000 rows of 200 bytes cost
//! half a second and 400 MB. So who commits does it often enough that a commit stays at some ten thousand rows.

mod database;
mod directory;
mod error;
mod export;
mod row;
mod rows;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use self::database::{Batch, Database, Flush};
use self::directory::Directory;
use self::export::{Reader, Writer};
use self::row::Tally;
use super::durable::write_atomically;

pub use self::error::StoreError;
pub use self::export::{Export, exported_rows, verify_export};
pub use self::row::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use self::rows::Rows;

/// Of the rows in sled. Another one is refused.
const FORMAT_VERSION: u32 = 1;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Puts a row, new or into the place of the one with this key.
    Put {
        /// At most [`KEY_BYTES_MAX`].
        key: Vec<u8>,
        /// At most [`VALUE_BYTES_MAX`].
        value: Vec<u8>,
    },
    /// Removes a row. It need not exist.
    Delete {
        /// Its key.
        key: Vec<u8>,
    },
    /// Removes the rows that are in a range before the commit.
    DeleteRange {
        /// The first and the last key of the range.
        keys: RangeInclusive<Vec<u8>>,
        /// But for the last of them.
        keep_last: bool,
    },
}

/// A handle to the store. Clones share it; it is closed with the last of them, [`Rows`] included. All methods block.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    database: RwLock<Database>,
    /// Held by the one who commits, exports or imports.
    writer: Mutex<Writing>,
    number: u64,
    /// Last, so that it is unlocked when the database is closed.
    directory: Arc<Directory>,
}

/// Whether and onto what the next commit may build.
#[derive(Clone, Copy, Debug)]
enum Writing {
    Open(Tally),
    /// A commit has failed: what is on the disk is unknown until the store is opened again.
    Failed,
    Replaced,
}

impl Store {
    /// Opens the store in a directory, or makes an empty one if there is none. Reads every row.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Version`], [`StoreError::Damaged`], [`StoreError::Io`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, Flush::Synced)
    }

    /// A store whose commits end with sled's own flush, and so are *not* durable: for the test of the power-cut tests.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[doc(hidden)]
    pub fn open_without_sync(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, Flush::AsSledDoes)
    }

    /// A store that calls `synced` whenever its file has been synced: for the tests that cut the power in between.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[doc(hidden)]
    pub fn open_told(dir: &Path, synced: impl Fn() + Send + Sync + 'static) -> Result<Self, StoreError> {
        Self::open_with(dir, Flush::Told(Box::new(synced)))
    }

    fn open_with(dir: &Path, flush: Flush) -> Result<Self, StoreError> {
        let directory = Directory::open(dir)?;
        let (database, tally, number) = if let Some(number) = directory.newest()? {
            let (database, tally) = Database::open(&directory.state(number), flush)?;
            (database, tally, number)
        } else {
            let mut database = Database::create(&directory.building()?, flush)?;
            directory.install(1)?;
            database.moved_to(directory.state(1));
            (database, Tally::default(), 1)
        };
        directory.remove_leftovers(number)?;
        Ok(Self::new(database, tally, number, Arc::new(directory)))
    }

    fn new(database: Database, tally: Tally, number: u64, directory: Arc<Directory>) -> Self {
        let (database, writer) = (RwLock::new(database), Mutex::new(Writing::Open(tally)));
        Self { inner: Arc::new(Inner { database, writer, number, directory }) }
    }

    /// Moves a damaged store out of the way, to `<dir>-damaged-<n>`, so that [`Self::open`] makes an empty one. Returns
    /// its new name. Removing it is left to the operator.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Io`].
    pub fn set_aside(dir: &Path) -> Result<PathBuf, StoreError> {
        Directory::open(dir)?.set_aside()
    }

    /// Applies the changes in order, all or nothing, durably. Readers see all of them or none.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], and [`StoreError::Damaged`] if a row that is to change is damaged: nothing was
    /// changed. [`StoreError::Replaced`]. After [`StoreError::Io`], or any error of sled, further commits are refused.
    pub fn commit(&self, changes: impl IntoIterator<Item = Change>) -> Result<(), StoreError> {
        let (mut writer, mut tally) = self.write()?;
        let mut rows = BTreeMap::new();
        for change in changes {
            match change {
                Change::Put { key, value } => drop(rows.insert(key, Some(value))),
                Change::Delete { key } => drop(rows.insert(key, None)),
                Change::DeleteRange { keys, keep_last } => {
                    let mut found = self.database().keys(&keys)?;
                    if keep_last {
                        found.pop();
                    }
                    rows.extend(found.into_iter().map(|key| (key, None)));
                }
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for (key, value) in rows {
            let old = self.database().head(&key)?;
            if let Some(old) = old {
                tally.remove(&key, old);
            }
            match (value, old) {
                (Some(value), old) => tally.add(&key, batch.put(&key, &value, old)?),
                (None, Some(old)) => batch.remove(&key, old),
                (None, None) => {}
            }
        }
        batch.tally(tally);
        *writer = Writing::Failed;
        let mut database = self.inner.database.write().unwrap_or_else(PoisonError::into_inner);
        database.apply(batch.clone())?;
        database.sync()?;
        database.settle(batch)?;
        drop(database);
        self.database().sync()?;
        *writer = Writing::Open(tally);
        Ok(())
    }

    /// The value of a row, verified.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Io`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.database().get(key)
    }

    /// The last row whose key lies in a range, verified. Costs a seek.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Io`].
    pub fn last(&self, keys: &RangeInclusive<Vec<u8>>) -> Result<Option<Row>, StoreError> {
        self.database().last(keys)
    }

    /// The rows from `from` on and before `to_exclusive`, verified, in the order of their keys or in the opposite one.
    /// Costs a seek and then what is read. Each row is whole; rows committed while it runs may or may not be seen.
    #[must_use]
    pub fn range(&self, from: &[u8], to_exclusive: &[u8], reverse: bool) -> Rows {
        Rows::new(self.clone(), row::head_key(from)..row::head_key(to_exclusive), reverse)
    }

    /// All rows, as [`Self::range`] gives them.
    #[must_use]
    pub fn all(&self) -> Rows {
        Rows::new(self.clone(), row::all_heads(), false)
    }

    /// What the store takes on the disk, in bytes.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        let dir = self.inner.directory.state(self.inner.number);
        let sum = || -> io::Result<u64> { fs::read_dir(&dir)?.map(|entry| Ok(entry?.metadata()?.len())).sum() };
        sum().map_err(StoreError::io("cannot read", &dir))
    }

    /// Sets so many bytes of the disk aside for commits to come, so that one that has begun doesn't run out of room, whoever
    /// else fills the disk. `false` if there aren't that many. Calls don't add up.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn reserve(&self, bytes: u64) -> Result<bool, StoreError> {
        self.database().reserve(bytes)
    }

    /// Writes all rows into one file, durably; an existing one is replaced when the new one is whole. Commits wait until
    /// it is done, so the file holds the rows of one moment; readers don't. Takes little memory: one block, and the
    /// largest row.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Replaced`], [`StoreError::Io`].
    pub fn export(&self, file: &Path) -> Result<Export, StoreError> {
        let _commits_wait = self.write()?;
        let failed = || StoreError::io("cannot export to", file);
        let written = write_atomically(file, |out| {
            let mut writer = Writer::new(out)?;
            for row in self.all() {
                let (key, value) = row.map_err(ExportError::Store)?;
                writer.row(&key, &value)?;
            }
            Ok(writer.finish(file)?)
        });
        written.map_err(|error| match error {
            ExportError::Store(error) => error,
            ExportError::Io(error) => failed()(error),
        })
    }

    /// Replaces all rows by those of an exported file. They are verified and filled into a new database first, in
    /// bounded batches; then that one takes the old one's place, atomically: a crash at any point leaves the old rows or
    /// the new ones. From then on the returned store is the store. This one still reads the old rows, and frees the disk
    /// when its last clone is dropped.
    ///
    /// # Errors
    /// [`StoreError::BadExport`], [`StoreError::Version`], [`StoreError::TooLarge`]: nothing has changed.
    /// [`StoreError::Replaced`]. After [`StoreError::Io`] the old rows are still there, unless only the last step
    /// failed: then commits are refused, and opening the store again shows which of the two it is.
    pub fn import(&self, file: &Path) -> Result<Self, StoreError> {
        let (mut writer, _) = self.write()?;
        let directory = &self.inner.directory;
        let building = directory.building()?;
        let number = self.inner.number + 1;
        let filled = fill(&building, file);
        let (mut database, tally) = match filled {
            Ok(filled) => filled,
            Err(error) => {
                // What is left of it costs disk space until the next import or start, nothing else.
                let _ = directory.building();
                return Err(error);
            }
        };
        *writer = Writing::Failed;
        directory.install(number)?;
        database.moved_to(directory.state(number));
        *writer = Writing::Replaced;
        // The new store stands. What can't be removed now is removed when it is opened again.
        let _ = directory.remove_leftovers(number);
        Ok(Self::new(database, tally, number, Arc::clone(directory)))
    }

    /// Whatever the lock protects is replaced in one step, so one who panicked left nothing behind.
    fn database(&self) -> RwLockReadGuard<'_, Database> {
        self.inner.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> Result<(MutexGuard<'_, Writing>, Tally), StoreError> {
        let writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        match *writer {
            Writing::Open(tally) => Ok((writer, tally)),
            Writing::Failed => {
                let error = io::Error::other("an earlier commit failed halfway");
                Err(StoreError::io("closed for commits", self.inner.directory.path())(error))
            }
            Writing::Replaced => Err(StoreError::Replaced),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.inner.directory.path()).field("number", &self.inner.number).finish()
    }
}

enum ExportError {
    Store(StoreError),
    Io(io::Error),
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A new database with the rows of an exported file, synced.
fn fill(dir: &Path, file: &Path) -> Result<(Database, Tally), StoreError> {
    let mut reader = Reader::open(file)?;
    let mut database = Database::create(dir, Flush::Synced)?;
    let mut tally = Tally::default();
    while let Some(rows) = reader.next_block()? {
        let mut batch = Batch::default();
        for (key, value) in rows {
            tally.add(&key, batch.put(&key, &value, None)?);
        }
        batch.tally(tally);
        database.apply(batch.clone())?;
        database.settle(batch)?;
    }
    database.sync()?;
    Ok((database, tally))
}

//! One database file and its failures: what the embedded store and the local log have in common.
//!
//! The database underneath (redb) is a copy-on-write B-tree with one writer. After the first I/O
//! error it refuses everything until it is opened again. This module says what then happens:
//!
//! ```text
//!   no room         the file is opened again at the last commit on disk;
//!                   reads go on, writes are refused until there is room
//!   anything else   nothing more is done with the file;
//!                   the process restarts, and begins at the last commit on disk
//! ```
//!
//! After a failed sync nobody knows which pages reached the disk, and a second sync would say that
//! all is well: that is why only a lack of room is survived. A full disk leaves the last commit
//! whole, since nothing is overwritten in place.
//!
//! It is no cache and no retry: a caller learns of every failure.

mod place;
mod watch;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use redb::{
    CommitError, Database, DatabaseError, ReadTransaction, ReadableDatabase, SetDurabilityError,
    StorageError, TableDefinition, TableError, TransactionError, WriteTransaction,
};

#[cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "public for tests only")
)]
pub use place::Place;
pub(crate) use place::{InDirectory, InMemory};
use watch::{Cause, Watch, is_full};

use crate::StoreError;
use crate::store::{Durability, Stand, random_u64};

/// Memory for pages of one database, in bytes: enough for the upper levels of the tree and the keys
/// in use; the operating system's own cache holds the rest.
const DEFAULT_CACHE_BYTES: usize = 256 << 20;

/// Memory for rows that were written lately, in bytes: some hundred thousand keys, which are filed
/// in a second or two, and a journal that an opening reads in a second.
const DEFAULT_ROWS_BYTES: usize = 256 << 20;

/// What a file of this version says of itself.
const ABOUT: TableDefinition<&str, u64> = TableDefinition::new("about");

/// How to open a database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Memory for pages, in bytes.
    pub cache_bytes: usize,
    /// Read the whole file at opening and compare every page with its checksum. Without it a
    /// damaged index page may hide keys, or bring the process down when it is met.
    pub verify: bool,
    /// Memory for the embedded store's rows that were written lately, in bytes; the journal that
    /// brings back those that are not filed yet may take as many in the file. The log has none.
    pub rows_bytes: usize,
}

impl Options {
    /// For the state: a key that is hidden by damage would read as one without events, so damage is
    /// looked for.
    pub const STATE: Self =
        Self { cache_bytes: DEFAULT_CACHE_BYTES, verify: true, rows_bytes: DEFAULT_ROWS_BYTES };
    /// For the log, which may be large, and which finds damage by the checksums and the offsets of
    /// what it reads.
    pub const LOG: Self = Self { cache_bytes: DEFAULT_CACHE_BYTES, verify: false, rows_bytes: 0 };
}

/// One open database file.
#[derive(Debug)]
pub(crate) struct Engine {
    place: Box<dyn Place>,
    options: Options,
    format: u64,
    epoch: u64,
    state: RwLock<State>,
}

struct State {
    db: Option<Database>,
    cause: Cause,
    incarnation: u64,
    /// No writes until the reserve is there again; why.
    full: Option<String>,
    /// Nothing at all until the process restarts; why.
    broken: Option<StoreError>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { incarnation, full, broken, .. } = self;
        write!(f, "State {{ incarnation: {incarnation}, full: {full:?}, broken: {broken:?} }}")
    }
}

/// Why a transaction ended early.
pub(crate) enum Trouble {
    /// The store's own refusal; the file is sound.
    Store(StoreError),
    /// The database's.
    Engine(redb::Error),
    /// A check inside the database that only damaged bytes can fail.
    Panic(String),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

macro_rules! trouble_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                Self::Engine(error.into())
            }
        }
    )*};
}
trouble_from!(StorageError, TableError, TransactionError, CommitError, SetDurabilityError);

impl Engine {
    /// Opens the file, which must be in `format`. In a new one `make` makes the tables; from then
    /// on a missing table is damage.
    pub(crate) fn open(
        place: Box<dyn Place>,
        options: Options,
        format: u64,
        make: impl FnOnce(&WriteTransaction) -> Result<(), Trouble>,
    ) -> Result<Self, StoreError> {
        let mut cause = Cause::default();
        let db = match open_database(&*place, options, &cause) {
            // The room that was held back is for this.
            Err(StoreError::Full { .. }) => {
                place.release().map_err(|error| StoreError::Full {
                    path: place.name(),
                    detail: error.to_string(),
                })?;
                cause = Cause::default();
                open_database(&*place, options, &cause)
            }
            opened => opened,
        }?;
        place
            .opened()
            .map_err(|error| StoreError::Open { path: place.name(), detail: error.to_string() })?;
        let full = place.reserve().err().map(|error| error.to_string());
        let incarnation = random_u64();
        let state = RwLock::new(State { db: Some(db), cause, incarnation, full, broken: None });
        let mut engine = Self { place, options, format, epoch: 0, state };
        engine.epoch = engine.introduce(make)?;
        Ok(engine)
    }

    /// Checks the format, and returns the epoch; writes both in a new file.
    fn introduce(
        &self,
        make: impl FnOnce(&WriteTransaction) -> Result<(), Trouble>,
    ) -> Result<u64, StoreError> {
        let about = self.read(|txn, _| {
            if txn.list_tables()?.next().is_none() {
                return Ok(None);
            }
            let table = txn.open_table(ABOUT)?;
            let said = |name| Ok::<_, Trouble>(table.get(name)?.map(|value| value.value()));
            let (format, epoch) = (said("format")?, said("epoch")?);
            let both = format.zip(epoch).ok_or_else(|| StoreError::Corrupt {
                place: self.place.name(),
                detail: "its format is not said".to_owned(),
            })?;
            Ok(Some(both))
        })?;
        match about {
            Some((found, _)) if found != self.format => {
                Err(StoreError::Format { path: self.place.name(), found, known: self.format })
            }
            Some((_, epoch)) => Ok(epoch),
            None => self.write(Durability::Synced, |txn, _| {
                let epoch = random_u64();
                let mut table = txn.open_table(ABOUT)?;
                table.insert("format", self.format)?;
                table.insert("epoch", epoch)?;
                make(txn)?;
                Ok(epoch)
            }),
        }
    }

    /// What messages call the file.
    pub(crate) fn name(&self) -> String {
        self.place.name()
    }

    /// Runs `work` on one snapshot; a second time if the file had to be opened again meanwhile.
    pub(crate) fn read<T>(
        &self,
        work: impl Fn(&ReadTransaction, Stand) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        self.read_under(|| (), |txn, stand, ()| work(txn, stand))
    }

    /// As [`Engine::read`], with a lock that is taken before the snapshot and held while `work`
    /// runs.
    pub(crate) fn read_under<T, G>(
        &self,
        lock: impl Fn() -> G,
        work: impl Fn(&ReadTransaction, Stand, &mut G) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        let attempt = || {
            let state = self.usable()?;
            let stand = Stand { epoch: self.epoch, incarnation: state.incarnation };
            let done = contained(|| {
                let db = state.db.as_ref().ok_or_else(|| self.shut(&state))?;
                let mut guard = lock();
                work(&db.begin_read()?, stand, &mut guard)
            });
            drop(state);
            done.map_err(|trouble| self.judge(trouble, stand.incarnation))
        };
        match attempt() {
            Err(StoreError::Full { .. }) => attempt(),
            done => done,
        }
    }

    /// Runs `work` in one transaction and commits it. A lock in what `work` returns is held until
    /// after the commit.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction, Stand) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        self.resume()?;
        let state = self.usable()?;
        let stand = Stand { epoch: self.epoch, incarnation: state.incarnation };
        let done = contained(|| {
            let db = state.db.as_ref().ok_or_else(|| self.shut(&state))?;
            let mut txn = db.begin_write()?;
            match durability {
                Durability::Buffered => txn.set_durability(redb::Durability::None)?,
                // With the allocator's state in each synced commit, a file opens at once after a
                // crash, however large.
                Durability::Synced => txn.set_quick_repair(true),
            }
            let done = work(&txn, stand)?;
            txn.commit()?;
            Ok(done)
        });
        drop(state);
        done.map_err(|trouble| self.judge(trouble, stand.incarnation))
    }

    /// How it was opened.
    pub(crate) fn options(&self) -> Options {
        self.options
    }

    /// Bytes of the file.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.place.size()
    }

    fn usable(&self) -> Result<RwLockReadGuard<'_, State>, StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        if state.db.is_some() {
            return Ok(state);
        }
        let incarnation = state.incarnation;
        drop(state);
        self.reopen(incarnation);
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets writes through if there is room, or room again.
    fn resume(&self) -> Result<(), StoreError> {
        if self.state.read().unwrap_or_else(PoisonError::into_inner).full.is_none() {
            return Ok(());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match self.place.reserve() {
            Ok(()) => {
                state.full = None;
                Ok(())
            }
            Err(error) => {
                Err(StoreError::Full { path: self.place.name(), detail: error.to_string() })
            }
        }
    }

    /// Turns a failure into the caller's error, and the file's state into what it must be now.
    fn judge(&self, trouble: Trouble, incarnation: u64) -> StoreError {
        let said = match trouble {
            Trouble::Store(error) => return error,
            Trouble::Engine(error) => error.to_string(),
            Trouble::Panic(said) => {
                return self
                    .break_down(StoreError::Corrupt { place: self.place.name(), detail: said });
            }
        };
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(broken) = &state.broken {
            return broken.clone();
        }
        let cause = state.cause.get().cloned();
        let moved_on = state.incarnation != incarnation;
        drop(state);
        let path = self.place.name();
        match cause {
            // Another caller met the failure first, and has opened the file again.
            _ if moved_on => StoreError::Full { path, detail: said },
            Some((kind, detail)) if is_full(kind) => {
                self.reopen(incarnation);
                StoreError::Full { path, detail }
            }
            Some((_, detail)) => self.break_down(StoreError::Broken { path, detail }),
            None => self.break_down(StoreError::Corrupt { place: path, detail: said }),
        }
    }

    fn break_down(&self, error: StoreError) -> StoreError {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        close(&mut state);
        state.broken.get_or_insert(error).clone()
    }

    /// Opens the file at its last commit on disk, unless somebody has done so since `incarnation`.
    fn reopen(&self, incarnation: u64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.broken.is_some() || (state.incarnation != incarnation && state.db.is_some()) {
            return;
        }
        close(&mut state);
        let detail = state.cause.get().map_or_else(String::new, |(_, detail)| detail.clone());
        state.full = Some(detail);
        state.incarnation = random_u64();
        state.cause = Cause::default();
        // What cannot be given up is found by the opening.
        let _ = self.place.release();
        // This process has written the file: damage is not what is the matter with it.
        let options = Options { verify: false, ..self.options };
        match open_database(&*self.place, options, &state.cause) {
            Ok(db) => state.db = Some(db),
            Err(StoreError::Full { .. }) => {}
            Err(error) => state.broken = Some(error),
        }
    }

    /// What to say while the file could not be opened again.
    fn shut(&self, state: &State) -> StoreError {
        let detail = state.full.clone().unwrap_or_default();
        StoreError::Full { path: self.place.name(), detail }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        close(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Closing a damaged database may trip over the damage once more; there is nobody left to tell.
fn close(state: &mut State) {
    let db = state.db.take();
    drop(catch_unwind(AssertUnwindSafe(|| drop(db))));
}

/// Runs database code on bytes that may be damaged: a failed check inside it becomes an error.
fn contained<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let said = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Trouble::Panic(said.unwrap_or_else(|| "a check of the database failed".to_owned())))
    })
}

fn open_database(
    place: &dyn Place,
    options: Options,
    cause: &Cause,
) -> Result<Database, StoreError> {
    let path = place.name();
    let refused = |detail: String| StoreError::Open { path: path.clone(), detail };
    let backend = place.open().map_err(|error| refused(error.to_string()))?;
    let watch = Watch::new(backend, cause.clone());
    let opened = catch_unwind(AssertUnwindSafe(|| {
        Database::builder()
            .set_cache_size(options.cache_bytes)
            .set_check_integrity_on_open(options.verify)
            .create_with_backend(watch)
    }));
    let error = match opened {
        Ok(Ok(db)) => return Ok(db),
        Ok(Err(error)) => error,
        Err(_) => {
            let detail = "a check of the database failed at opening".to_owned();
            return Err(StoreError::Corrupt { place: path, detail });
        }
    };
    Err(match (error, cause.get()) {
        (DatabaseError::DatabaseAlreadyOpen, _) => StoreError::InUse { path, pid: place.holder() },
        (_, Some((kind, detail))) if is_full(*kind) => {
            StoreError::Full { path, detail: detail.clone() }
        }
        (_, Some((_, detail))) => StoreError::Broken { path, detail: detail.clone() },
        (error, None) => StoreError::Corrupt { place: path, detail: error.to_string() },
    })
}

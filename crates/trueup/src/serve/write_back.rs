//! What the database answered, written into the store behind the answer's back, so that who asks
//! for the key next finds it there.
//!
//! ```text
//! landed ─┬─▶ the answer goes out
//!         └─▶ exact, whole, of now? ─▶ one of MAX_PENDING ─▶ store.read ─▶ core::fill
//!                                                  ▲            ├─ nothing there ─▶ store.plant
//!                                                  │            └─ a value ───────▶ store.swap
//!                                                  └── somebody else wrote meanwhile ──┘
//! ```
//!
//! - It is a fold like compaction's, and a swap that requires the very bytes that were read: what
//!   others wrote meanwhile stays, what trimming let go stays away, in whatever order all came.
//! - The word that the value bears is the question's (`serve::vouch` says what it is worth). A fill
//!   that comes late bears an old word, and undoes no newer one.
//! - Groups of bins and of all time cannot hold the ids, so that they take nothing.
//! - It is no cache: nothing is invalidated, and what is lost is asked for again.

use super::answer::Serving;
use super::fallback::{Fetched, Tables};
use super::features::{FoundRow, KeyAsk, Lens};
use super::misses::{Miss, records_of};
use super::vouch::REACH_US;
use crate::catalog::stored;
use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use trueup_core::{Keep, Key, Micros, Vouch, fill};
use trueup_store::{At, Detail, Plant, StoreError, Swap};

/// Fills under way at one time, each of which takes a thread for some milliseconds: more than the
/// database answers meanwhile. What comes beyond is dropped and counted, and asked for again.
const MAX_PENDING: usize = 16;

/// How often a fill is worked out anew because the value is another by then. A compaction, or
/// another server's fill, comes between once; who loses three times is late for other reasons.
const TRIES: usize = 3;

/// The oldest question of which a fill is written, microseconds: far less than any value lives, so
/// that nothing has come and expired since the question; and less than it takes before the state of
/// definitions that are not served any more is dropped.
const MAX_AGE_US: i64 = 5_000_000;

/// Whether answers are written into the store, and what came of it; one for a process.
#[derive(Debug)]
pub struct WriteBack {
    is_on: bool,
    pending: Arc<Semaphore>,
    counts: [AtomicU64; What::ALL.len()],
}

/// What came of a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The value holds it.
    Written,
    /// Too many were under way.
    Dropped,
    /// Too large for the bound of a key, of no use to the frames that missed, or of events that the
    /// stream would refuse.
    Unfit,
    /// Others wrote to the value, or it was begun anew, each time; or the process slept over it.
    Lost,
    /// The store failed.
    Failed,
    /// Not of a fill but of an event in it: the store had its id with other content.
    Conflict,
}

impl What {
    const ALL: [What; 6] =
        [What::Written, What::Dropped, What::Unfit, What::Lost, What::Failed, What::Conflict];

    fn name(self) -> &'static str {
        match self {
            What::Written => "written",
            What::Dropped => "dropped",
            What::Unfit => "unfit",
            What::Lost => "lost",
            What::Failed => "failed",
            What::Conflict => "conflicts",
        }
    }
}

impl WriteBack {
    pub(super) fn new(is_on: bool) -> WriteBack {
        let pending = Arc::new(Semaphore::new(MAX_PENDING));
        WriteBack { is_on, pending, counts: Default::default() }
    }

    /// What came of fills, with the names that metrics have.
    pub fn counts(&self) -> [(&'static str, u64); What::ALL.len()] {
        What::ALL.map(|what| (what.name(), self.counts[what as usize].load(Ordering::Relaxed)))
    }

    fn add(&self, what: What, more: u64) {
        self.counts[what as usize].fetch_add(more, Ordering::Relaxed);
    }
}

/// What is to be written into one key's state.
struct Job {
    group: usize,
    key: Key,
    /// By time and by number of rows; at least one.
    brought: Vec<Arc<Fetched>>,
    /// Where the oldest frame begins that missed; the greatest of all where none goes by time.
    needs_from_us: i64,
}

impl Serving {
    /// Has what landed written into the store, where it may be.
    pub(super) fn write_back(
        &self,
        tables: &Tables,
        lenses: &[Lens<'_>],
        asks: &[Vec<KeyAsk>],
        found: &[Vec<FoundRow>],
        brought: &[(&Miss, Arc<Fetched>)],
    ) {
        let write_back = &tables.fallback().write_back;
        if !write_back.is_on {
            return;
        }
        let mut jobs: BTreeMap<(usize, usize), Job> = BTreeMap::new();
        for (miss, fetched) in brought {
            let (lens, row) = (&lenses[miss.lookup], &found[miss.lookup][miss.row]);
            let KeyAsk::Key(key) = &asks[miss.lookup][miss.row] else { continue };
            if !lens.may_write(miss, row, fetched) {
                continue;
            }
            let job = jobs.entry((miss.lookup, miss.row)).or_insert_with(|| Job {
                group: lens.lookup.group,
                key: key.clone(),
                brought: Vec::new(),
                needs_from_us: i64::MAX,
            });
            job.brought.push(Arc::clone(fetched));
            if miss.want.newest.is_none() {
                job.needs_from_us = job.needs_from_us.min(miss.want.from_us);
            }
        }
        for job in jobs.into_values() {
            let is_new = |fetched: &Arc<Fetched>| fetched.is_unwritten(job.group);
            // Each is to be taken, so that nobody else takes what is written here.
            if job.brought.iter().filter(|fetched| is_new(fetched)).count() == 0 {
                continue;
            }
            let Ok(pending) = Arc::clone(&write_back.pending).try_acquire_owned() else {
                write_back.add(What::Dropped, 1);
                continue;
            };
            let (serving, fallback) = (self.clone(), Arc::clone(tables.fallback()));
            let runtime = Handle::current();
            // To fold ten thousand events takes some ten milliseconds, and some stores' writes
            // hold up who polls them.
            tokio::task::spawn_blocking(move || {
                let write_back = &fallback.write_back;
                let done = runtime.block_on(serving.write(&job, write_back));
                write_back.add(done.unwrap_or_else(|error| failed(&serving, &job, &error)), 1);
                drop(pending);
            });
        }
    }

    /// Works a fill out on what is there now, and writes it.
    async fn write(&self, job: &Job, write_back: &WriteBack) -> Result<What, StoreError> {
        let catalog = &self.catalog;
        let (plan, space) = (catalog.plan(job.group), catalog.space(job.group));
        let expiry = catalog.expiry().iter().find(|(of, _)| *of == space).map(|(_, kept)| *kept);
        let Some((records, vouch)) = self.records(job) else { return Ok(What::Unfit) };
        if records.is_empty() && expiry.is_none() {
            // A key that has no events is not to be remembered for ever.
            return Ok(What::Unfit);
        }
        let at = At { space, key: job.key.bytes() };
        for _ in 0..TRIES {
            if self.clock.now().back(MAX_AGE_US) > vouch.as_of {
                break;
            }
            let ats = [at];
            let Some(read) = self.store.read(&ats, Detail::Summary).await?.into_iter().next()
            else {
                break;
            };
            let held = read.value.as_ref().map(stored).unwrap_or_default();
            let filled = fill(plan, at.key, held, &records, vouch, &catalog.limits);
            // A value that is damaged stays as it is, so that reads of the key say so.
            let filled = filled.ok().flatten();
            let Some(filled) = filled.filter(|it| it.whole_from.0 <= job.needs_from_us) else {
                return Ok(What::Unfit);
            };
            let (epoch, base) = (read.stand.epoch, &filled.base[..]);
            let done = match &read.value {
                Some(replaced) => {
                    let swap = Swap { epoch, at, replaced, base, kept: &[] };
                    self.store.swap(&[swap]).await? == [true]
                }
                None => self.store.plant(&Plant { epoch, at, base, expiry }).await?,
            };
            if done {
                write_back.add(What::Conflict, filled.met.conflicts);
                return Ok(What::Written);
            }
        }
        Ok(What::Lost)
    }

    /// What is to be folded in, and the word for it: that of the question that reached furthest
    /// back. `None` if an event is among it that the stream would refuse.
    fn records(&self, job: &Job) -> Option<(Vec<u8>, Vouch)> {
        let group = self.catalog.group(job.group);
        let time = self.catalog.streams()[group.stream].stream.event_time;
        let mut records = Vec::new();
        for fetched in &job.brought {
            let times = fetched.rows.column(time).as_primitive::<TimestampMicrosecondType>();
            let latest_us = fetched.asked_us.saturating_add(group.core.future_us);
            if times.values().iter().any(|&time| time > latest_us) {
                return None;
            }
            let all = |_: i64, _: &trueup_core::Id| true;
            records.extend(records_of(&self.catalog, job.group, &job.key, fetched, all));
        }
        let furthest = |it: &&Arc<Fetched>| (it.whole_from_us, Reverse(it.asked_us));
        let furthest = job.brought.iter().min_by_key(furthest)?;
        let (from, as_of) = (Micros(furthest.whole_from_us), Micros(furthest.asked_us));
        Some((records, Vouch { from, as_of }))
    }
}

impl Lens<'_> {
    /// Whether what was brought for a miss may be written: into a state that goes by ids, in a
    /// store that answers, whole as far as it was asked for and up to now, and worth an answer.
    fn may_write(&self, miss: &Miss, row: &FoundRow, fetched: &Fetched) -> bool {
        let is_exact = self.catalog.group(self.lookup.group).core.keep == Keep::Exact;
        let is_cut = fetched.cut && miss.want.newest.is_none();
        let is_of_now = fetched.whole_to_us >= fetched.asked_us.saturating_add(REACH_US);
        let is_known = miss.places.iter().all(|&place| row.found[place].value.is_ok());
        is_exact && row.meta.is_some() && !is_cut && is_of_now && is_known
    }
}

fn failed(serving: &Serving, job: &Job, error: &StoreError) -> What {
    let group = &serving.catalog.group(job.group).name;
    tracing::warn!(group, %error, "what the database answered is not written into the store");
    What::Failed
}

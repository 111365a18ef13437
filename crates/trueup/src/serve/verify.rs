//! A sample of what the store answers, compared with the database's events of the same key: what
//! only one side has is skew, found in production and not by a model that slowly goes wrong.
//!
//! ```text
//! hit, sampled ─▶ (behind the answer) store.read + Tables::ask, at now less the staleness bound
//!     ─▶ exact: events by id; bins: values ─▶ differ? ─▶ once more a bound later ─▶ mismatch
//! ```
//!
//! Both sides are asked for an instant that lies further back than the pipeline may be behind, so
//! an event that is still on its way to one of them is no mismatch; one that came late in event
//! time is seen again a bound later. It costs no request anything, shares the bounds of
//! `serve::fallback`, and keeps that way exercised while nothing misses.

use super::answer::Serving;
use super::fallback::Tables;
use super::features::{FoundRow, KeyAsk, Lens};
use super::misses::LIMITS;
use super::request::{Mode, Request};
use super::status::Source;
use crate::cause;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Clock};
use tokio::sync::Semaphore;
use trueup_core::{Frame, Id, Instant, Keep, Key, Micros, Stored, Value, read, receipts};
use trueup_sql::View;
use trueup_store::{At, Detail};
use xxhash_rust::xxh3::xxh3_64;

/// Comparisons at one time, those among them that wait to look once more: some tens of kilobytes
/// each. A hit that is sampled beyond is skipped, and counted.
const MAX_PENDING: usize = 64;

/// Mismatches that are remembered, so that each is told once.
const MAX_TOLD: usize = 1_000;

/// One in so many is the unit of the sample.
pub const MILLION: u32 = 1_000_000;

/// Which hits are compared, and what came of it; one for a process.
#[derive(Debug)]
pub struct Verify {
    /// So many of a million hits.
    per_million: u32,
    /// How far behind the pipeline may be.
    bound: Duration,
    turn: AtomicU64,
    pending: Arc<Semaphore>,
    compared: AtomicU64,
    skipped: AtomicU64,
    mismatched: AtomicU64,
    told: Mutex<BTreeSet<Mismatch>>,
}

/// What differs between store and database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mismatch {
    /// The group.
    pub group: String,
    /// A hash of the key: it is told again for another key, and nobody reads the key itself.
    pub key: u64,
    /// What it is.
    pub what: Difference,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// An event that only the store has: its event time, microseconds since 1970, and its id.
    OnlyStore(i64, String),
    /// An event that only the database has.
    OnlyDatabase(i64, String),
    /// In a group of bins, the value of the aggregate at this place of the look-up.
    Value(usize),
}

impl Verify {
    /// Compares so many of a million hits.
    pub(super) fn new(per_million: u32, bound: Duration) -> Verify {
        Verify {
            per_million,
            bound,
            turn: AtomicU64::new(0),
            pending: Arc::new(Semaphore::new(MAX_PENDING)),
            compared: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            mismatched: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    /// What became of sampled hits, with the names that metrics have.
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        [("compared", &self.compared), ("skipped", &self.skipped), ("mismatched", &self.mismatched)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    /// The mismatches so far, up to a bound.
    pub fn told(&self) -> Vec<Mismatch> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().cloned().collect()
    }

    /// Whether the next hit is in the sample. Turns are scattered by a hash, so that those in it
    /// follow no rhythm that callers may have too.
    fn is_chosen(&self) -> bool {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        xxh3_64(&turn.to_le_bytes()) % u64::from(MILLION) < u64::from(self.per_million)
    }

    fn tell(&self, mismatch: Mismatch) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_TOLD || !told.insert(mismatch.clone()) {
            return;
        }
        self.mismatched.fetch_add(1, Ordering::Relaxed);
        let group = &mismatch.group;
        match &mismatch.what {
            Difference::OnlyStore(at, id) => {
                tracing::warn!(group, at, id, "an event is in the store and not in the database");
            }
            Difference::OnlyDatabase(at, id) => {
                tracing::warn!(group, at, id, "an event is in the database and not in the store");
            }
            Difference::Value(aggregate) => {
                tracing::warn!(group, aggregate, "store and database give different values");
            }
        }
    }
}

/// One hit that is to be compared.
struct Hit {
    view: String,
    lookup: usize,
    key: Key,
    /// The hit's row alone, looked up by its key.
    request: Request,
}

impl Serving {
    /// Has a sample of the hits among these rows compared, behind the answer's back.
    pub(super) fn sample(
        &self,
        view: &View,
        request: &Request,
        asks: &[Vec<KeyAsk>],
        found: &[Vec<FoundRow>],
    ) {
        let Some(tables) = &self.tables else { return };
        let verify = &tables.fallback().verify;
        if verify.per_million == 0 {
            return;
        }
        for (lookup, (asks, rows)) in asks.iter().zip(found).enumerate() {
            for (row, (ask, found)) in asks.iter().zip(rows).enumerate() {
                let KeyAsk::Key(key) = ask else { continue };
                let is_hit = found.source == Some(Source::Store)
                    && found.found.iter().all(|found| found.value.is_ok() && !found.stale);
                if !is_hit || !verify.is_chosen() {
                    continue;
                }
                let Ok(pending) = Arc::clone(&verify.pending).try_acquire_owned() else {
                    verify.skipped.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                let hit = Hit {
                    view: view.name.clone(),
                    lookup,
                    key: key.clone(),
                    request: Request {
                        mode: Mode::Lookup(vec![view.lookups[lookup].keys.clone()]),
                        rows: request.rows.slice(row, 1),
                        at: vec![request.at[row]],
                        clocked: vec![false],
                        detail: Detail::Summary,
                        receipts: false,
                    },
                };
                let (serving, tables) = (self.clone(), tables.clone());
                tokio::spawn(cause::carried(async move {
                    serving.verify(&tables, hit).await;
                    drop(pending);
                }));
            }
        }
    }

    async fn verify(&self, tables: &Tables, mut hit: Hit) {
        let verify = &tables.fallback().verify;
        let bound_us = i64::try_from(verify.bound.as_micros()).unwrap_or(i64::MAX);
        hit.request.at[0] = hit.request.at[0].min(self.clock.now().back(bound_us).0);
        let Some(first) = self.compare(tables, &hit).await else {
            verify.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        verify.compared.fetch_add(1, Ordering::Relaxed);
        if first.is_empty() {
            return;
        }
        tokio::time::sleep(verify.bound).await;
        let Some(second) = self.compare(tables, &hit).await else { return };
        let catalog = &self.catalog;
        let Some(view) = catalog.view(&hit.view) else { return };
        let group = &catalog.group(view.lookups[hit.lookup].group).name;
        let key = xxh3_64(hit.key.bytes());
        for what in first.intersection(&second) {
            verify.tell(Mismatch { group: group.clone(), key, what: what.clone() });
        }
    }

    /// What differs between the two sides; `None` if one of them cannot be asked.
    async fn compare(&self, tables: &Tables, hit: &Hit) -> Option<BTreeSet<Difference>> {
        let view = self.catalog.view(&hit.view)?;
        let lookup = &view.lookups[hit.lookup];
        let group = self.catalog.group(lookup.group);
        let wanted: Vec<usize> = (0..lookup.aggregates.len()).collect();
        let now = self.clock.now();
        let lens = Lens {
            catalog: &self.catalog,
            view,
            lookup,
            request: &hit.request,
            now_us: now.0,
            stale_before_us: now.back(self.max_staleness_us).0,
            wanted: &wanted,
        };
        let deadline = Clock::now() + tables.fallback().timeout();
        let at = At { space: self.catalog.space(lookup.group), key: hit.key.bytes() };
        let ats = [at];
        let read = self.store.read(&ats, Detail::Summary);
        let read = tokio::time::timeout_at(deadline.into(), read);
        let read = read.await.ok()?.ok()?.into_iter().next()?;
        let filled_from_us = lens.claim(0, &hit.key, &read).map(|claim| claim.from_us);
        let vouching = [read.meta.complete_since_us, filled_from_us];
        let complete_from = Micros(vouching.into_iter().flatten().min()?);
        let stored = read.value.as_ref().map(crate::catalog::stored).unwrap_or_default();
        let mut differ = BTreeSet::new();
        for (want, places) in lens.wants(0, &wanted) {
            let asked = tables.ask(&self.catalog, group.stream, &want, deadline);
            let fetched = tables.wait(asked, deadline).await.ok()?;
            let tail = lens.fetched(0, &hit.key, None, &fetched);
            let theirs = Stored { base: None, tail: &tail };
            let whole = Micros(fetched.whole_from_us);
            let sides = Sides { lens: &lens, hit, places: &places };
            let ours = sides.known(stored, complete_from)?;
            let pairs: Vec<_> = ours.into_iter().zip(sides.known(theirs, whole)?).collect();
            differ.extend(match group.core.keep {
                Keep::Exact => sides.events(&pairs, stored, theirs)?,
                _ => sides.values(&pairs),
            });
        }
        Some(differ)
    }
}

/// What both sides say of an aggregate; nothing where one does not vouch for it.
type Pair = (Option<Value>, Option<Value>);

/// Store and database, for some aggregates of a look-up.
struct Sides<'a> {
    lens: &'a Lens<'a>,
    hit: &'a Hit,
    places: &'a [usize],
}

impl Sides<'_> {
    fn instant(&self, complete_from: Micros) -> Instant<'static> {
        Instant { at: Micros(self.hit.request.at[0]), own: None, complete_from }
    }

    /// The values of one side. `None` if its state is damaged.
    fn known(&self, stored: Stored<'_>, complete_from: Micros) -> Option<Vec<Option<Value>>> {
        let plan = self.lens.catalog.plan(self.lens.lookup.group);
        let (wanted, key) = (self.lens.aggregates_at(self.places), self.hit.key.bytes());
        let answers = read(plan, key, stored, self.instant(complete_from), &wanted, &LIMITS);
        Some(answers.ok()?.into_iter().map(|answer| answer.value.ok()).collect())
    }

    /// Events by their ids, in frames that both sides vouch for.
    fn events(
        &self,
        pairs: &[Pair],
        ours: Stored<'_>,
        theirs: Stored<'_>,
    ) -> Option<BTreeSet<Difference>> {
        let mut differ = BTreeSet::new();
        let held = self.listed(ours)?.into_iter().zip(self.listed(theirs)?);
        for ((pair, place), (ours, theirs)) in pairs.iter().zip(self.places).zip(held) {
            if let (Some(_), Some(_)) = pair {
                let from = self.begins(*place, &ours).max(self.begins(*place, &theirs));
                let is_within = |it: &&(i64, String)| from.is_none_or(|from| *it >= from);
                let only = |it: &(i64, String)| Difference::OnlyStore(it.0, it.1.clone());
                differ.extend(ours.difference(&theirs).filter(is_within).map(only));
                let only = |it: &(i64, String)| Difference::OnlyDatabase(it.0, it.1.clone());
                differ.extend(theirs.difference(&ours).filter(is_within).map(only));
            }
        }
        Some(differ)
    }

    /// Where a frame begins that is full by its number of rows: there may be more behind it, and
    /// the side that lacks a newer event shows one of these.
    fn begins<'e>(
        &self,
        place: usize,
        held: &'e BTreeSet<(i64, String)>,
    ) -> Option<&'e (i64, String)> {
        match self.lens.frame(place) {
            // The row at the instant is none of those that are listed.
            Frame::Rows { far, near } if held.len() > far.saturating_sub(near.max(1)) as usize => {
                held.first()
            }
            Frame::Rows { .. } | Frame::Range { .. } => None,
        }
    }

    /// Times and ids of the events that each frame holds.
    fn listed(&self, stored: Stored<'_>) -> Option<Vec<BTreeSet<(i64, String)>>> {
        let plan = self.lens.catalog.plan(self.lens.lookup.group);
        let (wanted, key) = (self.lens.aggregates_at(self.places), self.hit.key.bytes());
        let instant = self.instant(Micros(i64::MIN));
        let held = receipts(plan, key, stored, instant, &wanted, &LIMITS, usize::MAX).ok()?;
        let told = |(at, id): &(Micros, Id)| (at.0, crate::json::id(id).to_string());
        Some(held.iter().map(|receipt| receipt.events.iter().map(told).collect()).collect())
    }

    /// Values, where both sides vouch for one.
    fn values(&self, pairs: &[Pair]) -> BTreeSet<Difference> {
        let differ = |(&place, (ours, theirs)): (&usize, &Pair)| match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours != theirs => Some(Difference::Value(place)),
            _ => None,
        };
        self.places.iter().zip(pairs).filter_map(differ).collect()
    }
}

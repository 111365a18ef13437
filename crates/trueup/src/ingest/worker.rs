//! The worker of one stream: reads its log, each partition in order, and appends to the store.
//!
//! ```text
//! look ─▶ seek the least checkpoints ─▶ poll ─▶ decode, admit ─▶ bury ─▶ append ─▶ compact ─┐
//!   ▲                                     ▲                                                 │
//!   └── other partitions, or the store ───┴─────────────────────────────────────────────────┘
//!       lost acknowledged writes
//! ```
//!
//! While a large batch is on its way to the store the next one is polled and worked out, and what
//! has outgrown its bound is compacted beside both (`writes.rs`).
//!
//! A checkpoint is written with the records that it speaks of or after them, never before. What
//! fails for a while is tried again, from the checkpoints; what cannot mend itself ends the worker
//! with the reason.

use super::apply::{Applying, Arrived, apply};
use super::backfill::{self, History, Plan};
use super::error::IngestError;
use super::feed::{Came, Feed};
use super::flood::{Flood, Flooded};
use super::letterbox::Letterbox;
use super::past::Past;
use super::prepare::Prepared;
use super::progress::{Applied, Bell, Counts, Progress};
use super::quarantine::{self, Quarantine};
use super::source::{Bounds, PartitionInfo, Source, SourceRecord};
use super::standing::{self, NewBeginning, Standing};
use super::writes::{Write, Writes};
use crate::catalog::{Catalog, StreamPart};
use crate::clock::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use trueup_core::Position;
use trueup_sql::decode::AvroSchemas;
use trueup_store::{DeadLetter, Log, Marker, NEVER_US, Space, Store};

/// Events of one write: enough to make its fixed cost small, little enough that an event waits for
/// some milliseconds only.
const BATCH_EVENTS: usize = 4_096;

/// Records of a write that it is worth working out more beside. With fewer, all that comes
/// meanwhile goes with the next write, and none of it waits for the one after.
const BUSY_RECORDS: usize = BATCH_EVENTS / 4;

/// Bytes of events of one write.
const BATCH_BYTES: usize = 4 << 20;

/// How often a quiet partition's freshness is learned and written.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How often the log is asked for its ends while records of every partition come and say how fresh
/// it is. It is for the lag alone then, and what arrives meanwhile waits for the log's answer.
const LAG_EVERY: Duration = Duration::from_secs(2);

/// How often what is in the store is made durable. Until then a loss of power takes it back, and
/// the log brings it again.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Pause before the first retry of a store or a source that fails, doubled up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between retries.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Names of unknown fields that one worker reports: a producer adds a few, and one that makes names
/// up fills no log.
const MAX_REPORTED: usize = 100;

/// What a worker works with.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The definitions.
    pub catalog: Arc<Catalog>,
    /// The stream, by number.
    pub stream: usize,
    /// The schemas of its log's records, if they are Avro.
    pub avro: Option<Arc<AvroSchemas>>,
    /// Where dead letters go.
    pub letters: Arc<Log>,
    /// Where they go besides.
    pub letterbox: Option<Arc<Letterbox>>,
    /// The share of bad records, in percent, at which the worker ends; none for any share.
    pub max_bad_percent: Option<u8>,
    /// Where their records go.
    pub store: Arc<dyn Store>,
    /// Wall-clock time.
    pub clock: Clock,
    /// Told how far it is.
    pub progress: Arc<Progress>,
    /// Which of the stream's workers in this process it is.
    pub lane: u64,
    /// Ends the wait of a source that listens to it, so that stopping need not wait.
    pub wake: Arc<Bell>,
    /// What to do about a gap.
    pub policy: NewBeginning,
    /// Where it may write down which records are in hand; nowhere, and what ends the process is
    /// forgotten with it.
    pub data: Option<PathBuf>,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    thread: Option<JoinHandle<Result<(), IngestError>>>,
    stop: Arc<AtomicBool>,
    wake: Arc<Bell>,
}

impl Worker {
    /// Finds where to begin and starts the thread. `source` is the stream's log.
    ///
    /// # Errors
    /// [`IngestError::Gap`] if events would be missing, [`IngestError::UnderWay`] if a history is
    /// being read into the state, and what the store and the source say.
    pub fn start(
        options: WorkerOptions,
        source: Box<dyn Source>,
        runtime: &Handle,
    ) -> Result<Worker, IngestError> {
        Worker::launch(options, Feed::Log(source), runtime)
    }

    /// The same for a history, of which `plan` was written down. It ends at the history's end.
    ///
    /// # Errors
    /// [`IngestError::TakenOver`] if somebody else has come, and what the store says.
    pub fn fill(
        options: WorkerOptions,
        history: History,
        plan: Plan,
        runtime: &Handle,
    ) -> Result<Worker, IngestError> {
        Worker::launch(options, Feed::History(Box::new(history), plan), runtime)
    }

    fn launch(options: WorkerOptions, feed: Feed, runtime: &Handle) -> Result<Worker, IngestError> {
        let stop = Arc::new(AtomicBool::new(false));
        let wake = Arc::clone(&options.wake);
        let name = format!("ingest {}", options.catalog.streams()[options.stream].stream.name);
        let policy = options.policy;
        let stream = &options.catalog.streams()[options.stream].stream.name;
        let mut work = Work {
            quarantine: Quarantine::open(options.data.as_deref(), stream, options.lane),
            past: Past::of(stream, options.data.as_deref()),
            spaces: options.catalog.spaces(options.stream),
            owned: Vec::new(),
            flood: Flood::new(options.max_bad_percent),
            writes: Writes::new(
                Arc::clone(&options.catalog),
                Arc::clone(&options.store),
                Arc::clone(&options.progress),
                runtime.clone(),
            ),
            in_hand: None,
            has_settled: false,
            reported: BTreeSet::new(),
            options,
            feed,
            runtime: runtime.clone(),
            stop: Arc::clone(&stop),
            synced: Instant::now(),
            told: Instant::now(),
            heard: Instant::now(),
            dirty: false,
        };
        let mut standing = work.begin(policy)?;
        // A log that is ours alone is vouched for before the first request comes.
        let broken = match work.step(&mut standing) {
            Ok(_) => None,
            Err(error) if error.mends_itself() => Some(error),
            Err(error) => return Err(error),
        };
        let run = move || {
            let ran = catch_unwind(AssertUnwindSafe(|| work.run(standing, broken)));
            let panicked = |panic: Box<dyn std::any::Any + Send>| {
                work.end(IngestError::Panicked(quarantine::said(&*panic).to_owned()))
            };
            ran.unwrap_or_else(panicked)
        };
        let thread = std::thread::Builder::new().name(name).spawn(run);
        Ok(Worker { thread: Some(thread.map_err(IngestError::Thread)?), stop, wake })
    }

    /// Whether it goes on; `false` after an error that it cannot mend.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Lets it finish its batch, tells the store how far it is, makes the store durable and waits
    /// for it.
    ///
    /// # Errors
    /// What ended it before.
    pub fn stop(mut self) -> Result<(), IngestError> {
        self.stop.store(true, Ordering::SeqCst);
        self.wake.ring();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            // Panics are caught in the thread.
            Some(Err(_)) | None => Ok(()),
        }
    }
}

impl Drop for Worker {
    /// Tells the thread to end; [`Worker::stop`] waits for it.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake.ring();
    }
}

/// What a worker's thread has.
struct Work {
    options: WorkerOptions,
    feed: Feed,
    runtime: Handle,
    stop: Arc<AtomicBool>,
    quarantine: Quarantine,
    past: Past,
    flood: Flood,
    writes: Writes,
    /// What is to be done when the write that is under way is settled.
    in_hand: Option<InHand>,
    /// Whether a write was settled since the worker last began again.
    has_settled: bool,
    /// Names of fields that no column takes, as far as they are in the log.
    reported: BTreeSet<String>,
    /// Of the stream's groups, in their order.
    spaces: Vec<Space>,
    /// The partitions that the source says are read here, whatever became of the reading.
    owned: Vec<u32>,
    /// When the store was last made durable.
    synced: Instant,
    /// When checkpoints were last written.
    told: Instant,
    /// When the log was last asked for its ends.
    heard: Instant,
    /// Whether something was written since the store was made durable.
    dirty: bool,
}

/// What a write makes true.
struct InHand {
    /// How far the partitions are.
    applied: BTreeMap<u32, Applied>,
    /// The same as the source takes it, if the store is told of it.
    told: Option<Vec<(u32, u64)>>,
    /// The last records without these, which come again should the write fail.
    flood: Flood,
}

impl Work {
    fn part(&self) -> &StreamPart {
        &self.options.catalog.streams()[self.options.stream]
    }

    fn begin(&mut self, policy: NewBeginning) -> Result<Standing, IngestError> {
        let catalog = Arc::clone(&self.options.catalog);
        let part = &catalog.streams()[self.options.stream];
        let store = Arc::clone(&self.options.store);
        let log = match &mut self.feed {
            Feed::Log(log) => log,
            Feed::History(_, plan) => {
                let stand = backfill::stand(&*store, &part.stream.name, &self.spaces, plan);
                let look = self.runtime.block_on(stand)?;
                self.runtime.block_on(self.past.declare(&*store))?;
                return Ok(Standing::fill(part, look));
            }
        };
        // A log that was made anew is noticed by a look at it.
        let roster = log.roster()?;
        let number = log.number();
        let mut look = self.runtime.block_on(store.look(&self.spaces))?;
        let has_past = self.runtime.block_on(self.past.look(&*store, &look.metas))?;
        if let Some(group) = standing::under_way(part, &look) {
            let (stream, group) = (part.stream.name.clone(), catalog.group(group).name.clone());
            return Err(IngestError::UnderWay { stream, group });
        }
        let mut gaps = standing::gaps(part, number, &roster, &look);
        if !gaps.is_empty() {
            // Another worker may have gone on between the two looks, past the end that the first
            // one saw. What is missing is missing still.
            let still = standing::gaps(part, number, &log.roster()?, &look);
            gaps.retain(|(group, _)| still.iter().any(|(same, _)| same == group));
        }
        for (group, why) in &gaps {
            let name = &catalog.group(*group).name;
            if policy == NewBeginning::Refuse {
                let (stream, group, why) = (part.stream.name.clone(), name.clone(), why.clone());
                return Err(IngestError::Gap { stream, group, why });
            }
            tracing::warn!(group = name, why, "a new beginning: the group's state is dropped");
            self.runtime.block_on(store.drop_space(catalog.space(*group)))?;
        }
        let orphans = standing::orphans(part, &look);
        for &group in &orphans {
            let name = &catalog.group(group).name;
            tracing::warn!(group = name, "nobody vouches for the group's state: it is dropped");
            self.runtime.block_on(store.drop_space(catalog.space(group)))?;
        }
        if !gaps.is_empty() || !orphans.is_empty() {
            look = self.runtime.block_on(store.look(&self.spaces))?;
        }
        // Asked of the log only where there is a marker to set: not on every way back.
        let since_us = match look.metas.iter().any(|meta| meta.complete_since_us.is_none()) {
            true => {
                let now = has_past.then(|| self.options.clock.now().0);
                complete_since(&mut **log, &roster, part.stream.future_us, now)?
            }
            false => i64::MIN,
        };
        Ok(Standing::begin(part, number, &roster, look, since_us))
    }

    /// Works until told to stop; `broken` is what the first step met.
    fn run(
        &mut self,
        mut standing: Standing,
        mut broken: Option<IngestError>,
    ) -> Result<(), IngestError> {
        let mut pause = MIN_PAUSE;
        loop {
            let whole = broken.is_none();
            let done = match broken.take() {
                None => self.step(&mut standing),
                // Nothing is read on before the source stands at the checkpoints again: what it
                // brought last, and the store did not take, would be passed over.
                Some(error) => {
                    let stream = &self.part().stream.name;
                    tracing::warn!(stream, %error, "ingest begins again from the checkpoints");
                    Counts::add(&self.options.progress.counts.rewinds, 1);
                    self.has_settled = false;
                    self.feed.rest(pause);
                    pause = (pause * 2).min(MAX_PAUSE);
                    if self.stop.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                    self.begin_again().map(|found| {
                        standing = found;
                        true
                    })
                }
            };
            match done {
                // A write that is under way may fail yet.
                Ok(true) if whole && (self.has_settled || !self.writes.is_under_way()) => {
                    pause = MIN_PAUSE;
                }
                Ok(true) => {}
                Ok(false) => return self.finish(&mut standing),
                Err(error) if error.mends_itself() => broken = Some(error),
                Err(error) => return self.end(error),
            }
        }
    }

    /// Goes back to the checkpoints with the partitions that are read here.
    fn begin_again(&mut self) -> Result<Standing, IngestError> {
        // The store is looked at when nothing of ours is on its way there.
        self.writes.abandon();
        if let Some(InHand { flood, .. }) = self.in_hand.take() {
            self.flood = flood;
        }
        let mut found = self.begin(NewBeginning::Refuse)?;
        self.feed.seek(&found.own(&self.owned))?;
        Ok(found)
    }

    fn end(&self, error: IngestError) -> Result<(), IngestError> {
        let stream = &self.part().stream.name;
        tracing::error!(stream, %error, "ingest of this stream has ended");
        self.options.progress.end(self.options.lane, error.to_string());
        Err(error)
    }

    /// Says the last word. What it cannot say is read again after the next start.
    fn finish(&mut self, standing: &mut Standing) -> Result<(), IngestError> {
        match self.last_word(standing) {
            Err(error) if error.mends_itself() => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync(),
        }
    }

    fn last_word(&mut self, standing: &mut Standing) -> Result<(), IngestError> {
        self.settle()?;
        if standing.is_untold() {
            self.write(standing, Prepared::default(), true)?;
        }
        self.writes.drain()
    }

    /// One batch, or a wait for more. `false` when asked to stop.
    fn step(&mut self, standing: &mut Standing) -> Result<bool, IngestError> {
        if self.stop.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let wait = match self.writes.is_under_way() {
            true => Duration::ZERO,
            false => self.patience(standing),
        };
        let bounds = Bounds { records: BATCH_EVENTS, bytes: BATCH_BYTES, wait };
        match self.feed.poll(&bounds)? {
            Came::Owned(partitions) => {
                // Said once: it must outlive a failure.
                self.owned = partitions;
                self.own(standing)?;
            }
            Came::End => {
                let end = standing.owned().map(|(_, place)| place.next).max();
                self.options.progress.end_history(end.unwrap_or(0));
                return Ok(false);
            }
            Came::Records(records) if records.is_empty() => self.settle()?,
            Came::Rows(None) => self.settle()?,
            came => self.apply(standing, &came)?,
        }
        if self.hears_in(standing).is_zero() {
            self.hear(standing)?;
        }
        if standing.is_untold() && self.told.elapsed() >= self.options.store.checkpoint_every() {
            self.write(standing, Prepared::default(), true)?;
        }
        self.writes.compact()?;
        if self.dirty && self.synced.elapsed() >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(true)
    }

    /// How long a poll may wait: until the next word to the store is due, or the next question to
    /// the log.
    fn patience(&self, standing: &Standing) -> Duration {
        let next = self.hears_in(standing);
        if !standing.is_untold() {
            return next;
        }
        next.min(self.options.store.checkpoint_every().saturating_sub(self.told.elapsed()))
    }

    /// How long until the log is to be asked for its ends.
    fn hears_in(&self, standing: &Standing) -> Duration {
        let oldest_us = standing.owned().map(|(_, place)| place.fresh_us).min();
        let age_us = self.options.clock.now().0.saturating_sub(oldest_us.unwrap_or(NEVER_US));
        let age = Duration::from_micros(u64::try_from(age_us).unwrap_or(0));
        let heard = self.heard.elapsed();
        HEARTBEAT.saturating_sub(heard.min(age)).min(LAG_EVERY.saturating_sub(heard))
    }

    /// Reads these partitions from now on, and says at once what stands at the log's end, so that
    /// the first request after a start finds the state vouched for.
    fn own(&mut self, standing: &mut Standing) -> Result<(), IngestError> {
        // Others may have gone on since, or the store may be another.
        *standing = self.begin_again()?;
        let (stream, partitions) = (&self.part().stream.name, &self.owned);
        tracing::info!(stream, ?partitions, "these partitions are read here");
        self.hear(standing)?;
        self.write(standing, Prepared::default(), true)
    }

    /// Learns which partitions stand at the log's end.
    fn hear(&mut self, standing: &mut Standing) -> Result<(), IngestError> {
        let owned: Vec<u32> = standing.owned().map(|(partition, _)| partition).collect();
        // Read before the log is asked: what comes later than this is not claimed to be there.
        let now = self.options.clock.now();
        let ends = self.feed.ends(&owned)?;
        for (partition, end) in owned.into_iter().zip(ends) {
            let Some(place) = standing.places.get_mut(&partition) else { continue };
            place.end = end;
            if place.next >= end {
                place.fresh_us = place.fresh_us.max(now.0);
                place.told = false;
            }
        }
        self.heard = Instant::now();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), IngestError> {
        self.runtime.block_on(self.options.store.sync())?;
        self.synced = Instant::now();
        self.dirty = false;
        Ok(())
    }

    fn apply(&mut self, standing: &mut Standing, came: &Came) -> Result<(), IngestError> {
        if self.quarantine.is_wary() {
            // Nothing is in hand while the store is written to: a process that ends there blames
            // none of the records that come one by one.
            self.settle()?;
        }
        let WorkerOptions { catalog, progress, .. } = &self.options;
        let part = &catalog.streams()[self.options.stream];
        let behind = |group: usize, position: Position| {
            let place = standing.places.get(&position.partition);
            let nth = part.groups.iter().position(|&fed| fed == group);
            let applied = place.zip(nth).map(|(place, nth)| place.applied[nth]);
            applied.is_some_and(|applied| position.offset > applied)
        };
        let source = standing.source;
        let avro = self.options.avro.as_deref();
        let records = |records: &[SourceRecord]| {
            apply(catalog, part, Arrived::records(part, avro, source, records)?, behind)
        };
        let (worked, flood) = match (came, &self.feed) {
            (Came::Records(came), _) => {
                let worked = self.quarantine.work(source, came, &progress.counts, records)?;
                let label = |record: &SourceRecord| label(part, avro, record);
                let name = &part.stream.name;
                let flood = flooded(&self.flood, name, came, &worked.letters, label)?;
                (worked, Some(flood))
            }
            (Came::Rows(Some(rows)), Feed::History(_, plan)) => {
                (apply(catalog, part, Arrived::rows(part, plan, rows), behind)?, None)
            }
            _ => return Ok(()),
        };
        let Applying { prepared, letters: bad, unknown_fields, unknown_names } = worked;
        let counted = progress.counted.load(Ordering::Relaxed);
        let new_bad = bad.iter().filter(|bad| bad.position.is_some_and(|at| at.1 >= counted));
        let new_bad = new_bad.count() as u64;
        let filed = self.bury(bad)?;
        let progress = Arc::clone(&self.options.progress);
        Counts::add(&progress.counts.unknown_fields_read, unknown_fields);
        self.report(unknown_names);
        let now = self.options.clock.now();
        match came {
            Came::Rows(Some(rows)) => {
                // A history that is read again finds its letters filed.
                Counts::add(&progress.counts.dead_letters, new_bad);
                Counts::add(&progress.counts.rows, rows.count_from(counted));
                progress.counted.fetch_max(rows.next, Ordering::Relaxed);
                standing.advance(backfill::PARTITION, rows.next, NEVER_US);
            }
            Came::Records(records) => {
                Counts::add(&progress.counts.dead_letters, filed);
                for record in records {
                    // A producer's clock may be ahead of ours.
                    let fresh_us = record.time_us.min(now.0);
                    standing.advance(record.partition, record.offset + 1, fresh_us);
                }
            }
            _ => {}
        }
        // Whoever waits for these records asks for them next, and must find them vouched for.
        let due =
            standing.is_unvouched() || self.told.elapsed() >= self.options.store.checkpoint_every();
        self.write(standing, prepared, due)?;
        if let Some(flood) = flood {
            self.flood = flood;
        }
        Ok(())
    }

    /// Files dead letters, and says how many are new; returns when they are everywhere where they
    /// are to be.
    fn bury(&self, bad: Vec<DeadLetter>) -> Result<u64, IngestError> {
        if bad.is_empty() {
            return Ok(0);
        }
        let stream = &self.part().stream.name;
        if let Some(letterbox) = &self.options.letterbox {
            self.runtime.block_on(letterbox.post(stream, &bad))?;
        }
        Ok(self.options.letters.bury(stream, bad)?)
    }

    /// Says once of each name that fields of it are ignored.
    fn report(&mut self, names: BTreeSet<String>) {
        for name in names {
            if self.reported.len() < MAX_REPORTED && !self.reported.contains(&name) {
                let stream = &self.part().stream.name;
                tracing::warn!(stream, field = ?name, "no column for this field: it is ignored");
                self.reported.insert(name);
            }
        }
    }

    /// Writes records, and with `tell` how far everything is. Of a large write it does not wait for
    /// the end: the next batch is worked out meanwhile.
    fn write(
        &mut self,
        standing: &mut Standing,
        prepared: Prepared,
        tell: bool,
    ) -> Result<(), IngestError> {
        self.settle()?;
        let catalog = &self.options.catalog;
        let (mut checkpoints, mut markers) = (Vec::new(), Vec::new());
        if tell {
            checkpoints = standing.checkpoints(catalog, self.part());
            let marker =
                |&(group, since): &(usize, i64)| (catalog.space(group), Marker::Begin(since));
            markers = standing.markers.iter().map(marker).collect();
        }
        let applied = standing.owned().map(|(partition, place)| {
            let (records, end) = (place.next, place.end.max(place.next));
            (partition, Applied { records, end, fresh_us: place.fresh_us.max(0) })
        });
        let places = standing.owned().map(|(partition, place)| (partition, place.next));
        self.in_hand = Some(InHand {
            applied: applied.collect(),
            told: tell.then(|| places.collect()),
            flood: self.flood.clone(),
        });
        let is_small = prepared.len() < BUSY_RECORDS;
        let stands = standing.stands.clone();
        self.writes.begin(Write { prepared, stands, checkpoints, markers })?;
        if tell {
            // Should it fail, where everything stands is asked of the store again.
            standing.told();
            self.told = Instant::now();
        }
        match is_small {
            true => self.settle(),
            false => Ok(()),
        }
    }

    /// Waits for the write that is under way, and makes known what is true with it.
    fn settle(&mut self) -> Result<(), IngestError> {
        // Should it fail, what was in hand is still wanted by whoever begins again.
        self.writes.settle()?;
        let Some(InHand { applied, told, .. }) = self.in_hand.take() else { return Ok(()) };
        self.options.progress.advance(self.options.lane, applied);
        (self.dirty, self.has_settled) = (true, true);
        if let Some(places) = told {
            self.feed.applied(&places);
        }
        self.writes.compact()
    }
}

/// The last records with these behind them, unless too many are bad.
fn flooded(
    flood: &Flood,
    stream: &str,
    records: &[SourceRecord],
    letters: &[DeadLetter],
    label: impl Fn(&SourceRecord) -> String,
) -> Result<Flood, IngestError> {
    let bad: BTreeSet<(u32, u64)> = letters.iter().filter_map(|letter| letter.position).collect();
    let is_bad = |record: &SourceRecord| bad.contains(&(record.partition, record.offset));
    let next = flood.with(records.iter().map(is_bad));
    next.map_err(|Flooded { bad, of, at }| {
        let SourceRecord { partition, offset, .. } = &records[at];
        let why = match is_bad(&records[at]) {
            true => label(&records[at]),
            false => "an earlier one".to_owned(),
        };
        let last = format!("that at offset {offset} of partition {partition}: {why}");
        IngestError::Flood { stream: stream.to_owned(), bad, of, last }
    })
}

/// What is wrong with a bad record, without its values: they go into dead letters, which this one
/// does not become, and not into logs.
fn label(part: &StreamPart, avro: Option<&AvroSchemas>, record: &SourceRecord) -> String {
    match part.records(avro, &[&record.payload[..]]) {
        Ok(decoded) if !decoded.bad.is_empty() => decoded.bad[0].label(),
        _ => "its time, or a value that an expression does not take".to_owned(),
    }
}

/// The event time since when a state that begins with the log's first records is complete.
///
/// A log held from its first record is the whole history, unless another one was read into the
/// state: then `with_past` is the present moment. Else what is gone, or was never in it, was
/// admitted, so no event time in it lies further ahead than the first record's log time and the
/// bound on future times; in a partition that has had no record, than the present and that bound.
fn complete_since(
    log: &mut dyn Source,
    roster: &[PartitionInfo],
    future_us: i64,
    with_past: Option<i64>,
) -> Result<i64, IngestError> {
    let mut since_us = i64::MIN;
    for info in roster.iter().filter(|info| info.first > 0 || with_past.is_some()) {
        let empty = with_past.filter(|_| info.first == 0);
        let from = log.first_time_us(info.partition)?.or(empty).unwrap_or(i64::MAX);
        let ahead = from.saturating_add(future_us).saturating_add(1);
        since_us = since_us.max(ahead);
    }
    Ok(since_us)
}

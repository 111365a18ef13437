//! The worker of one stream: reads its log in order and appends to the store.
//!
//! ```text
//! look ─▶ begin at the least checkpoint ─▶ read ─▶ decode, admit ─▶ bury ─▶ append ─▶ compact ─┐
//!   ▲                                       ▲                                                  │
//!   └── the store lost acknowledged writes ─┴──────────────────────────────────────────────────┘
//! ```
//!
//! Records and the checkpoint that speaks of them are one write. What fails for a while is tried
//! again, from the checkpoints; what cannot mend itself ends the worker with the reason.

use super::begin::{self, NewBeginning, PARTITION, Standing};
use super::compact::compact;
use super::prepare::{Prepared, prepare};
use super::progress::{Applied, Bell, Counts, Progress};
use super::{admit, push};
use crate::catalog::{Catalog, StreamPart};
use crate::clock::Clock;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use trueup_core::Position;
use trueup_sql::decode::DecodeError;
use trueup_store::{Batch, DeadLetter, Durability, Log, LogRecord, Marker, Store, StoreError};

/// Events of one write: enough to make its fixed cost small, little enough that an event waits for
/// some milliseconds only.
const BATCH_EVENTS: usize = 4_096;

/// Bytes of events of one write.
const BATCH_BYTES: usize = 4 << 20;

/// How often a quiet stream's freshness is written.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How often what is in the store is made durable. Until then a loss of power takes it back, and
/// the log brings it again.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Pause before the first retry of a store that fails, doubled up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between retries.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Why a worker cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum IngestError {
    /// The store or the log failed.
    Store(StoreError),
    /// The log does not hold what comes after a checkpoint.
    Gap {
        /// The stream.
        stream: String,
        /// The group whose checkpoint it is.
        group: String,
        /// What is missing.
        why: &'static str,
    },
    /// The stream could not be made in the log.
    NoStream {
        /// The stream.
        stream: String,
    },
    /// The log's records could not be made a batch.
    Decode(DecodeError),
    /// The worker's thread could not be started.
    Thread(std::io::Error),
}

impl From<StoreError> for IngestError {
    fn from(error: StoreError) -> IngestError {
        IngestError::Store(error)
    }
}

impl From<DecodeError> for IngestError {
    fn from(error: DecodeError) -> IngestError {
        IngestError::Decode(error)
    }
}

impl fmt::Display for IngestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IngestError::Store(error) => error.fmt(f),
            IngestError::Gap { stream, group, why } => write!(
                f,
                "events of stream {stream} are missing for group {group}: {why}; put the log back, \
                 or start once with --new-beginning, which drops that state and begins with what \
                 the log has"
            ),
            IngestError::NoStream { stream } => {
                write!(f, "stream {stream} could not be made in the log; check its disk")
            }
            IngestError::Decode(error) => error.fmt(f),
            IngestError::Thread(error) => write!(f, "a thread could not be started: {error}"),
        }
    }
}

impl std::error::Error for IngestError {}

/// What a worker works with.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The definitions.
    pub catalog: Arc<Catalog>,
    /// The stream, by number.
    pub stream: usize,
    /// Where events come from.
    pub log: Arc<Log>,
    /// Where their records go.
    pub store: Arc<dyn Store>,
    /// Wall-clock time.
    pub clock: Clock,
    /// Told how far it is.
    pub progress: Arc<Progress>,
    /// Rung when the log has more.
    pub wake: Arc<Bell>,
    /// What to do about a gap.
    pub policy: NewBeginning,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    thread: Option<JoinHandle<Result<(), IngestError>>>,
    stop: Arc<AtomicBool>,
    wake: Arc<Bell>,
}

impl Worker {
    /// Finds where to begin and starts the thread.
    ///
    /// # Errors
    /// [`IngestError::Gap`] if events would be missing, and what the store and the log say.
    pub fn start(options: WorkerOptions, runtime: &Handle) -> Result<Worker, IngestError> {
        let stop = Arc::new(AtomicBool::new(false));
        let wake = Arc::clone(&options.wake);
        let name = format!("ingest {}", options.catalog.streams()[options.stream].stream.name);
        let policy = options.policy;
        let mut work = Work {
            options,
            runtime: runtime.clone(),
            stop: Arc::clone(&stop),
            synced: Instant::now(),
            dirty: false,
        };
        let mut standing = work.begin(policy)?;
        work.vouch(&mut standing)?;
        let run = move || work.run(standing);
        let thread = std::thread::Builder::new().name(name).spawn(run);
        Ok(Worker { thread: Some(thread.map_err(IngestError::Thread)?), stop, wake })
    }

    /// Whether it goes on; `false` after an error that it cannot mend.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Lets it finish its batch, makes the store durable and waits for it.
    ///
    /// # Errors
    /// What ended it before.
    pub fn stop(mut self) -> Result<(), IngestError> {
        self.stop.store(true, Ordering::SeqCst);
        self.wake.ring();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            // A panic was reported by its own thread; nothing was acknowledged for it.
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

struct Work {
    options: WorkerOptions,
    runtime: Handle,
    stop: Arc<AtomicBool>,
    synced: Instant,
    dirty: bool,
}

impl Work {
    fn part(&self) -> &StreamPart {
        &self.options.catalog.streams()[self.options.stream]
    }

    fn begin(&mut self, policy: NewBeginning) -> Result<Standing, IngestError> {
        let WorkerOptions { catalog, log, store, .. } = &self.options;
        let part = self.part();
        let info = begin::info(log, &part.stream.name)?;
        let spaces: Vec<_> = part.groups.iter().map(|&group| catalog.space(group)).collect();
        let mut look = self.runtime.block_on(store.look(&spaces))?;
        let gaps = begin::gaps(part, &look, info);
        for (group, why) in &gaps {
            let name = &catalog.group(*group).name;
            if policy == NewBeginning::Refuse {
                let (stream, group) = (part.stream.name.clone(), name.clone());
                return Err(IngestError::Gap { stream, group, why });
            }
            tracing::warn!(group = name, why, "a new beginning: the group's state is dropped");
            self.runtime.block_on(store.drop_space(catalog.space(*group)))?;
        }
        if !gaps.is_empty() {
            look = self.runtime.block_on(store.look(&spaces))?;
        }
        begin::begin(log, part, &look, info)
    }

    /// Says at once that the state is whole if it stands at the log's end, so that the first
    /// request after a start finds it vouched for.
    fn vouch(&mut self, standing: &mut Standing) -> Result<(), IngestError> {
        let now = self.options.clock.now();
        let end = begin::info(&self.options.log, &self.part().stream.name)?.end;
        if standing.next < end {
            return Ok(());
        }
        match self.write(standing, &Prepared::default(), end, now.0) {
            // The worker's loop tries again.
            Err(IngestError::Store(error)) if self.mends_itself(&error) => Ok(()),
            vouched => vouched,
        }
    }

    fn run(&mut self, mut standing: Standing) -> Result<(), IngestError> {
        let mut pause = MIN_PAUSE;
        loop {
            match self.step(&mut standing) {
                Ok(true) => pause = MIN_PAUSE,
                Ok(false) => return self.sync(),
                Err(IngestError::Store(error)) if self.mends_itself(&error) => {
                    let stream = &self.part().stream.name;
                    tracing::warn!(stream, %error, "ingest begins again from the checkpoints");
                    Counts::add(&self.options.progress.counts.rewinds, 1);
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(MAX_PAUSE);
                    match self.begin(NewBeginning::Refuse) {
                        Ok(found) => standing = found,
                        Err(IngestError::Store(error)) if self.mends_itself(&error) => {}
                        Err(error) => return self.end(error),
                    }
                    if self.stop.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                }
                Err(error) => return self.end(error),
            }
        }
    }

    fn mends_itself(&self, error: &StoreError) -> bool {
        matches!(error, StoreError::Rewound { .. }) || error.advice().retry
    }

    fn end(&self, error: IngestError) -> Result<(), IngestError> {
        let stream = &self.part().stream.name;
        tracing::error!(stream, %error, "ingest of this stream has ended");
        Err(error)
    }

    /// One batch, or a wait for more. `false` when asked to stop.
    fn step(&mut self, standing: &mut Standing) -> Result<bool, IngestError> {
        if self.stop.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let name = self.part().stream.name.clone();
        // Read before the log is: what comes later than this is not claimed to be there.
        let now = self.options.clock.now();
        let end = begin::info(&self.options.log, &name)?.end;
        let records = self.options.log.read(&name, standing.next, BATCH_EVENTS, BATCH_BYTES)?;
        if let Some(last) = records.last() {
            let fresh_us = if last.offset + 1 >= end { now.0 } else { last.time_us };
            self.apply(standing, &records, fresh_us)?;
        } else {
            self.write(standing, &Prepared::default(), standing.next, now.0)?;
            self.options.wake.wait(HEARTBEAT);
        }
        if self.dirty && self.synced.elapsed() >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(true)
    }

    fn sync(&mut self) -> Result<(), IngestError> {
        self.runtime.block_on(self.options.store.sync())?;
        self.synced = Instant::now();
        self.dirty = false;
        Ok(())
    }

    fn apply(
        &mut self,
        standing: &mut Standing,
        records: &[LogRecord],
        fresh_us: i64,
    ) -> Result<(), IngestError> {
        let part = self.part();
        let payloads: Vec<&[u8]> = records.iter().map(|record| &record.payload[..]).collect();
        let decoded = part.decoder.json_rows(&payloads)?;
        let mut letters: Vec<DeadLetter> = Vec::new();
        for bad in &decoded.bad {
            letters.push(push::letter(bad.to_string(), &records[bad.index]));
        }
        let (batch, kept) = admitted(part, &decoded.batch, &decoded.kept, records, &mut letters)?;
        let positions: Vec<Position> = kept
            .iter()
            .map(|&index| Position {
                source: standing.source,
                partition: PARTITION,
                offset: records[index].offset + 1,
            })
            .collect();
        let behind = |group: usize, position: Position| {
            let place = part.groups.iter().position(|&fed| fed == group);
            place.is_some_and(|place| position.offset > standing.applied[place])
        };
        let prepared = prepare(&self.options.catalog, part, &batch, &positions, behind);
        for (row, reason) in &prepared.refused {
            letters.push(push::letter(reason.clone(), &records[kept[*row]]));
        }
        if !letters.is_empty() {
            let new = self.options.log.bury(&part.stream.name, letters)?;
            Counts::add(&self.options.progress.counts.dead_letters, new);
        }
        let end = records.last().map_or(standing.next, |record| record.offset + 1);
        self.write(standing, &prepared, end, fresh_us)
    }

    fn write(
        &mut self,
        standing: &mut Standing,
        prepared: &Prepared,
        end: u64,
        fresh_us: i64,
    ) -> Result<(), IngestError> {
        let WorkerOptions { catalog, store, progress, .. } = &self.options;
        let part = self.part();
        let appends = prepared.appends(catalog);
        let checkpoints = standing.checkpoints(catalog, part, end, fresh_us);
        let marker = |&(group, since): &(usize, i64)| (catalog.space(group), Marker::Begin(since));
        let markers: Vec<_> = standing.markers.iter().map(marker).collect();
        let batch = Batch {
            under: &standing.stands,
            appends: &appends,
            checkpoints: &checkpoints,
            markers: &markers,
            expiry: &[],
            durability: Durability::Buffered,
        };
        crate::fault::point("before-checkpoint");
        let grown = self.runtime.block_on(store.append(&batch))?;
        crate::fault::point("after-checkpoint");
        standing.markers.clear();
        standing.next = end;
        standing.applied.iter_mut().for_each(|applied| *applied = (*applied).max(end));
        Counts::add(&progress.counts.records, appends.len() as u64);
        progress.advance(Applied { records: end, fresh_us });
        let keys = appends.iter().enumerate().map(|(n, append)| (prepared.group_of(n), append.at));
        self.runtime.block_on(compact(catalog, &**store, &progress.counts, keys, &grown))?;
        self.dirty = true;
        Ok(())
    }
}

/// The events of a decoded batch that are admitted, and where each stood among the records.
fn admitted(
    part: &StreamPart,
    batch: &RecordBatch,
    kept: &[usize],
    records: &[LogRecord],
    letters: &mut Vec<DeadLetter>,
) -> Result<(RecordBatch, Vec<usize>), IngestError> {
    let mut rows = Vec::with_capacity(kept.len());
    for (row, &index) in kept.iter().enumerate() {
        let record = &records[index];
        match admit::refusal(part, batch, row, record.time_us) {
            None => rows.push(row as u32),
            Some((_, reason)) => letters.push(push::letter(reason, record)),
        }
    }
    if rows.len() == kept.len() {
        return Ok((batch.clone(), kept.to_vec()));
    }
    let indices: Vec<usize> = rows.iter().map(|&row| kept[row as usize]).collect();
    let taken = take_record_batch(batch, &UInt32Array::from(rows)).map_err(DecodeError::Batch)?;
    Ok((taken, indices))
}

//! The log's one writer: a thread that takes everything that waits and makes it durable with one
//! sync.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use redb::WriteTransaction;

use super::dead::{self, DeadLetter};
use super::lot::{Lot, Packer, seal};
use super::stream::{self, STREAMS, StreamRow};
use super::{CHUNKS, Done};
use crate::StoreError;
use crate::engine::{Engine, Trouble};
use crate::store::Durability;

/// Submissions that may wait. One is one request; with more than these a sync of some milliseconds
/// is not the limit.
const MAX_QUEUED_JOBS: usize = 4096;
/// Bytes that may wait, beside the submission that is being taken: some tenths of a second of a
/// disk's writing.
const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Bytes of one transaction: enough to make the sync cheap, little enough that nobody waits long
/// behind it.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// What the writer is asked to do.
pub(super) enum Job {
    Append { stream: String, lot: Lot, done: Done },
    Bury { stream: String, letters: Vec<DeadLetter>, done: Done },
}

impl Job {
    fn size(&self) -> usize {
        match self {
            Self::Append { lot, .. } => lot.size(),
            Self::Bury { letters, .. } => {
                letters.iter().map(|letter| letter.bytes.len() + letter.reason.len()).sum()
            }
        }
    }

    fn done(self) -> Done {
        match self {
            Self::Append { done, .. } | Self::Bury { done, .. } => done,
        }
    }
}

/// The thread, and the queue before it. Dropping it writes what waits, and then ends the thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<SyncSender<Job>>,
    queued: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(engine: Arc<Engine>) -> Result<Self, StoreError> {
        let (queue, jobs) = sync_channel(MAX_QUEUED_JOBS);
        let queued = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::clone(&queued);
        let path = engine.name();
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || run(&engine, &jobs, &waiting))
            .map_err(|error| StoreError::Open { path, detail: error.to_string() })?;
        Ok(Self { queue: Some(queue), queued, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn submit(&self, job: Job) -> Result<(), StoreError> {
        let size = job.size();
        let queued = self.queued.fetch_add(size, Ordering::Relaxed);
        let busy = StoreError::Busy { queued, limit: MAX_QUEUED_BYTES };
        let taken = match &self.queue {
            _ if queued > MAX_QUEUED_BYTES => Err(busy),
            Some(queue) => queue.try_send(job).map_err(|refused| match refused {
                TrySendError::Full(_) => busy,
                TrySendError::Disconnected(_) => gone(),
            }),
            None => Err(gone()),
        };
        if taken.is_err() {
            self.queued.fetch_sub(size, Ordering::Relaxed);
        }
        taken
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It panics only if a callback did, which its own thread has reported.
            let _ = thread.join();
        }
    }
}

/// The writer has ended.
pub(super) fn gone() -> StoreError {
    StoreError::Unavailable { detail: "the log's writer has ended".to_owned() }
}

fn run(engine: &Engine, jobs: &Receiver<Job>, queued: &AtomicUsize) {
    while let Ok(first) = jobs.recv() {
        let mut size = first.size();
        let mut group = vec![first];
        while size < MAX_GROUP_BYTES
            && let Ok(job) = jobs.try_recv()
        {
            size += job.size();
            group.push(job);
        }
        let written = engine.write(Durability::Synced, |txn, _| write_group(txn, &group));
        queued.fetch_sub(size, Ordering::Relaxed);
        match written {
            Ok(answers) => {
                group.into_iter().zip(answers).for_each(|(job, answer)| job.done()(Ok(answer)));
            }
            Err(error) => group.into_iter().for_each(|job| job.done()(Err(error.clone()))),
        }
    }
}

/// A stream as the transaction sees it.
struct Open {
    row: StreamRow,
    packer: Packer,
}

fn write_group(txn: &WriteTransaction, group: &[Job]) -> Result<Vec<u64>, Trouble> {
    let mut streams = txn.open_table(STREAMS)?;
    let mut chunks = txn.open_table(CHUNKS)?;
    let mut open: BTreeMap<&str, Open> = BTreeMap::new();
    let mut answers = Vec::with_capacity(group.len());
    for job in group {
        let (Job::Append { stream, .. } | Job::Bury { stream, .. }) = job;
        if !open.contains_key(stream.as_str()) {
            let row = match stream::find(&streams, stream)? {
                Some(row) => row,
                None => {
                    // Filed at once, so that the next new stream of this group gets another number.
                    let row = stream::new(&streams)?;
                    stream::put(&mut streams, stream, row)?;
                    row
                }
            };
            open.insert(stream, Open { row, packer: Packer::new(row.end) });
        }
        let Some(Open { row, packer }) = open.get_mut(stream.as_str()) else { continue };
        let number = row.number;
        answers.push(match job {
            Job::Append { lot, .. } => {
                let first = packer.end();
                packer.add(lot, |at, count, records| {
                    insert_chunk(&mut chunks, (number, at), count, records)
                })?;
                first
            }
            Job::Bury { letters, .. } => dead::file(txn, number, letters)?,
        });
    }
    for (name, Open { row, mut packer }) in open {
        packer.close(|at, count, records| {
            insert_chunk(&mut chunks, (row.number, at), count, records)
        })?;
        stream::put(&mut streams, name, StreamRow { end: packer.end(), ..row })?;
    }
    Ok(answers)
}

fn insert_chunk(
    chunks: &mut redb::Table<'_, (u32, u64), &'static [u8]>,
    at: (u32, u64),
    count: u32,
    records: &[u8],
) -> Result<(), Trouble> {
    chunks.insert(at, seal(at, count, records).as_slice())?;
    Ok(())
}

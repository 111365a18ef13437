//! What producers to logs that are not ours have in common: how much may wait for their servers,
//! where a key's records go, and what is said when a record is not taken.

use super::SourceError;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of keys and payloads that may wait for the servers: a second of a busy stream.
pub(super) const MAX_WAITING_BYTES: usize = 32 << 20;

/// Bytes that a waiting record costs beside its key and payload; so that many tiny ones are bounded
/// too.
pub(super) const RECORD_BYTES: usize = 128;

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProduceError {
    /// More is waiting for the log's servers than may.
    Busy {
        /// Bytes that wait.
        queued: usize,
        /// The bound, in bytes.
        limit: usize,
    },
    /// It was refused, or nobody acknowledged it; in the latter case it may still be found in the
    /// log later.
    Refused(SourceError),
}

impl fmt::Display for ProduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProduceError::Busy { queued, limit } => write!(
                f,
                "{queued} bytes wait for the log's servers; the bound is {limit}. Wait a little \
                 and send again."
            ),
            ProduceError::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ProduceError {}

/// Bytes that wait for the servers, of all records.
#[derive(Debug)]
pub(super) struct Waiting {
    bytes: AtomicUsize,
    limit: usize,
}

/// Bytes of a call, given back when it is over or given up.
pub(super) struct Held<'a> {
    waiting: &'a Waiting,
    bytes: usize,
}

impl Waiting {
    pub(super) fn new(limit: usize) -> Waiting {
        Waiting { bytes: AtomicUsize::new(0), limit }
    }

    /// What a record counts for.
    pub(super) fn cost(key: &[u8], payload: &[u8]) -> usize {
        key.len() + payload.len() + RECORD_BYTES
    }

    /// Takes records in, to be given back all at once.
    pub(super) fn hold(&self, records: &[(&[u8], &[u8])]) -> Result<Held<'_>, ProduceError> {
        let bytes = records.iter().map(|(key, payload)| Waiting::cost(key, payload)).sum();
        self.take(bytes)?;
        Ok(Held { waiting: self, bytes })
    }

    /// Takes bytes in, to be released.
    pub(super) fn take(&self, bytes: usize) -> Result<(), ProduceError> {
        let queued = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued + bytes <= self.limit {
            return Ok(());
        }
        self.release(bytes);
        Err(ProduceError::Busy { queued, limit: self.limit })
    }

    pub(super) fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.waiting.release(self.bytes);
    }
}

/// The partition that a key's records go to, of a log whose servers do not choose it.
pub(super) fn partition(key: &[u8], partitions: usize) -> u32 {
    // There are at most some hundred partitions.
    (xxh3_64(key) % partitions as u64) as u32
}

//! Push: events from callers into the stream's log, acknowledged when the log has them on disk.
//!
//! What cannot be an event is told to the caller and filed as a dead letter; the rest of the call
//! goes on. Sending the same events again is harmless: their ids tell.

use super::admit;
use super::progress::{Bell, Counts, Progress};
use crate::catalog::{Catalog, StreamPart};
use crate::clock::Clock;
use std::sync::Arc;
use tokio::sync::oneshot;
use trueup_sql::decode::MAX_BAD_ROW_BYTES;
use trueup_store::{DeadLetter, Done, Log, LogRecord, Lot, StoreError};

/// Bytes of the longest reason that a dead letter keeps.
const MAX_REASON_BYTES: usize = 1 << 10;

/// What became of a call's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Events that the log has now.
    pub accepted: usize,
    /// Those that it has not, in the order of the call.
    pub rejected: Vec<RejectedEvent>,
    /// Records of the log with these events: wait for so many to be applied.
    pub records: u64,
}

/// An event that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedEvent {
    /// Its place in the call, from 0.
    pub index: usize,
    /// The column at fault; `None` if it is the event as a whole.
    pub column: Option<String>,
    /// What is wrong, and the remedy.
    pub reason: String,
}

/// Takes pushed events for all streams; shared by all connections.
#[derive(Debug)]
pub struct Pusher {
    /// The definitions.
    pub catalog: Arc<Catalog>,
    /// Where events go.
    pub log: Arc<Log>,
    /// Wall-clock time.
    pub clock: Clock,
    /// By stream: its progress and counters.
    pub progress: Vec<Arc<Progress>>,
    /// By stream: rung when its log has more.
    pub wakes: Vec<Arc<Bell>>,
}

/// Events sorted into what the log takes and what it does not.
struct Sorted {
    lot: Lot,
    rejected: Vec<RejectedEvent>,
    letters: Vec<DeadLetter>,
    unknown_fields: u64,
}

impl Pusher {
    /// Takes the events of one call, each one JSON object, into the log of a stream, and returns
    /// when they are on disk.
    ///
    /// # Errors
    /// Those of the log: nothing of the call is acknowledged then, though some of it may be found in
    /// the log later, and sending it again is harmless.
    pub async fn push(&self, stream: usize, rows: &[&[u8]]) -> Result<Pushed, StoreError> {
        let part = &self.catalog.streams()[stream];
        let name = &part.stream.name;
        let counts = &self.progress[stream].counts;
        let Sorted { lot, rejected, letters, unknown_fields } = self.sort(part, rows)?;
        let accepted = lot.len();
        let (kept, buried) = (oneshot::channel(), oneshot::channel());
        if accepted > 0 {
            self.log.submit(name, lot, tell(kept.0))?;
        }
        let filed = letters.len();
        if filed > 0 {
            self.log.submit_dead(name, letters, tell(buried.0))?;
        }
        let records = match accepted {
            0 => 0,
            _ => told(kept.1).await? + accepted as u64,
        };
        if filed > 0 {
            let new = told(buried.1).await?;
            Counts::add(&counts.dead_letters, new);
        }
        Counts::add(&counts.accepted, accepted as u64);
        Counts::add(&counts.unknown_fields, unknown_fields);
        self.wakes[stream].ring();
        Ok(Pushed { accepted, rejected, records })
    }

    fn sort(&self, part: &StreamPart, rows: &[&[u8]]) -> Result<Sorted, StoreError> {
        let decoded = part.decoder.json_rows(rows).map_err(|error| {
            // A fault of ours, not of the events: they may be sent again.
            StoreError::Unavailable { detail: error.to_string() }
        })?;
        let now = self.clock.now().0;
        let mut sorted = Sorted {
            lot: Lot::default(),
            rejected: Vec::new(),
            letters: Vec::new(),
            unknown_fields: decoded.unknown_fields,
        };
        for bad in decoded.bad {
            let reason = bad.to_string();
            sorted.letters.push(DeadLetter { position: None, reason: cut(reason), bytes: bad.row });
            let (index, column, reason) = (bad.index, bad.column, bad.reason);
            sorted.rejected.push(RejectedEvent { index, column, reason });
        }
        for (row, &index) in decoded.kept.iter().enumerate() {
            let bytes = rows[index];
            match admit::refusal(part, &decoded.batch, row, now) {
                None => sorted.lot.push(now, bytes)?,
                Some((column, reason)) => {
                    let bytes = bytes[..bytes.len().min(MAX_BAD_ROW_BYTES)].to_vec();
                    let letter = DeadLetter { position: None, reason: cut(reason.clone()), bytes };
                    sorted.letters.push(letter);
                    let column = Some(column);
                    sorted.rejected.push(RejectedEvent { index, column, reason });
                }
            }
        }
        sorted.rejected.sort_by_key(|rejected| rejected.index);
        Ok(sorted)
    }
}

fn tell(sender: oneshot::Sender<Result<u64, StoreError>>) -> Done {
    // A caller that has gone away need not be told.
    Box::new(move |answer| drop(sender.send(answer)))
}

async fn told(receiver: oneshot::Receiver<Result<u64, StoreError>>) -> Result<u64, StoreError> {
    let gone = || StoreError::Unavailable { detail: "the log's writer has ended".into() };
    receiver.await.unwrap_or_else(|_| Err(gone()))
}

/// The dead letter of a record of the log.
pub(super) fn letter(reason: String, record: &LogRecord) -> DeadLetter {
    let bytes = record.payload[..record.payload.len().min(MAX_BAD_ROW_BYTES)].to_vec();
    DeadLetter { position: Some(record.offset), reason: cut(reason), bytes }
}

/// A reason within its bound.
fn cut(mut reason: String) -> String {
    if reason.len() > MAX_REASON_BYTES {
        let end = (0..=MAX_REASON_BYTES).rev().find(|&end| reason.is_char_boundary(end));
        reason.truncate(end.unwrap_or(0));
    }
    reason
}

//! Push: events from callers into the stream's log, acknowledged when the log has them: a local one
//! on disk, a broker's at all replicas in sync, a stream's in NATS, one in Redis at its server.
//!
//! What cannot be an event is told to the caller and filed as a dead letter; the rest of the call
//! goes on. Sending the same events again is harmless: their ids tell.

use super::admit;
use super::letterbox::Letterbox;
use super::progress::{Bell, Counts, Progress};
#[cfg(feature = "kafka")]
use super::source::KafkaProducer;
#[cfg(feature = "nats")]
use super::source::NatsProducer;
use super::source::{ProduceError, RedisStreamProducer, SourceError, SourceRecord};
use crate::catalog::Catalog;
use crate::clock::Clock;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;
use trueup_core::Value;
use trueup_sql::decode::{AvroSchemas, MAX_BAD_ROW_BYTES};
use trueup_sql::value_at;
use trueup_store::{DeadLetter, Done, Log, Lot, StoreError};

/// Bytes of the longest reason that a dead letter keeps.
const MAX_REASON_BYTES: usize = 1 << 10;

/// What became of a call's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Events that the log has now.
    pub accepted: usize,
    /// Those that it has not, in the order of the call.
    pub rejected: Vec<RejectedEvent>,
    /// By partition, the records of the log up to the last of these events: wait for so many to be
    /// applied.
    pub places: Vec<(u32, u64)>,
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

/// The log of a stream, for those who write to it.
#[derive(Debug)]
pub enum Sink {
    /// A local one.
    Log(Arc<Log>),
    /// A topic of Kafka.
    #[cfg(feature = "kafka")]
    Kafka(KafkaProducer),
    /// Streams of Redis.
    RedisStream(Box<RedisStreamProducer>),
    /// Subjects of a stream of NATS.
    #[cfg(feature = "nats")]
    Nats(Box<NatsProducer>),
    /// Another process has it.
    Elsewhere,
}

/// Why a call's events were not taken. None of them is acknowledged then, though some may be found
/// in the log later, and sending them again is harmless.
#[derive(Debug)]
#[non_exhaustive]
pub enum PushError {
    /// The local log failed.
    Store(StoreError),
    /// The broker failed.
    Source(SourceError),
    /// More is waiting for the broker than may.
    Busy(String),
    /// The log's records are Avro, and what is pushed is JSON.
    Avro {
        /// The stream.
        stream: String,
    },
    /// This process has no log for the stream.
    Elsewhere {
        /// The stream.
        stream: String,
    },
}

impl From<StoreError> for PushError {
    fn from(error: StoreError) -> PushError {
        PushError::Store(error)
    }
}

impl From<ProduceError> for PushError {
    fn from(error: ProduceError) -> PushError {
        match error {
            ProduceError::Refused(error) => PushError::Source(error),
            busy @ ProduceError::Busy { .. } => PushError::Busy(busy.to_string()),
        }
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PushError::Store(error) => error.fmt(f),
            PushError::Source(error) => error.fmt(f),
            PushError::Busy(detail) => f.write_str(detail),
            PushError::Avro { stream } => write!(
                f,
                "the log of stream {stream} holds Avro, and what is pushed is JSON; write Avro to \
                 that log itself, or, if it holds JSON, take [avro.{stream}] out of the settings"
            ),
            PushError::Elsewhere { stream } => write!(
                f,
                "this process takes no events of stream {stream}: its log is that of another; push \
                 to the process that runs `trueup run`, or give the stream a source that all share"
            ),
        }
    }
}

impl std::error::Error for PushError {}

/// Takes pushed events for all streams; shared by all connections.
#[derive(Debug)]
pub struct Pusher {
    /// The definitions.
    pub catalog: Arc<Catalog>,
    /// The local logs, and where dead letters are filed; `None` in a process that only answers.
    pub log: Option<Arc<Log>>,
    /// Where dead letters go besides.
    pub letterbox: Option<Arc<Letterbox>>,
    /// By stream: its log.
    pub sinks: Vec<Arc<Sink>>,
    /// By stream: the schemas of its log's records, if they are Avro.
    pub avro: Vec<Option<Arc<AvroSchemas>>>,
    /// Whether rows that are recorded go into the log too; else their callers publish them.
    pub record_to_log: bool,
    /// Wall-clock time.
    pub clock: Clock,
    /// By stream: its progress and counters.
    pub progress: Vec<Arc<Progress>>,
    /// By stream: rung when its log has more.
    pub wakes: Vec<Arc<Bell>>,
}

/// Events sorted into what the log takes and what it does not.
struct Sorted {
    /// Places in the call of those that the log takes, each with its key.
    kept: Vec<(usize, String)>,
    now_us: i64,
    rejected: Vec<RejectedEvent>,
    letters: Vec<DeadLetter>,
    unknown_fields: u64,
}

impl RejectedEvent {
    /// Column and reason, in one line.
    pub fn said(&self) -> String {
        why(self.column.as_deref(), &self.reason)
    }
}

impl Pusher {
    /// For streams that all have a local log.
    pub fn local(catalog: Arc<Catalog>, log: Log, clock: Clock) -> Pusher {
        let (streams, log) = (catalog.streams().len(), Arc::new(log));
        Pusher {
            sinks: (0..streams).map(|_| Arc::new(Sink::Log(Arc::clone(&log)))).collect(),
            avro: vec![None; streams],
            progress: (0..streams).map(|_| Arc::default()).collect(),
            wakes: (0..streams).map(|_| Arc::default()).collect(),
            log: Some(log),
            letterbox: None,
            record_to_log: true,
            catalog,
            clock,
        }
    }

    /// Whether offsets of a stream's log count its records. Those of Redis are made of times: how
    /// many records lie between two of them is not known without counting.
    pub fn counts_records(&self, stream: usize) -> bool {
        !matches!(*self.sinks[stream], Sink::RedisStream(_))
    }

    /// How many records a stream's log has, as far as this process knows.
    pub fn end(&self, stream: usize) -> Option<u64> {
        match &*self.sinks[stream] {
            Sink::Log(log) => {
                let name = &self.catalog.streams()[stream].stream.name;
                log.info(name).ok().flatten().map(|info| info.end)
            }
            _ => {
                let partitions = self.progress[stream].partitions();
                (!partitions.is_empty())
                    .then(|| partitions.values().map(|applied| applied.end).sum())
            }
        }
    }

    /// Takes the events of one call, each one JSON object, into the log of a stream, and returns
    /// when they are there.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn push(&self, stream: usize, rows: &[&[u8]]) -> Result<Pushed, PushError> {
        self.takes_json(stream)?;
        let sorted = self.sort(stream, rows)?;
        self.write(stream, rows, sorted).await
    }

    /// Files those of a call's rows that are no events as dead letters, and takes none of them.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn bury(&self, stream: usize, rows: &[&[u8]]) -> Result<Pushed, PushError> {
        self.takes_json(stream)?;
        let sorted = self.sort(stream, rows)?;
        self.write(stream, rows, Sorted { kept: Vec::new(), ..sorted }).await
    }

    /// Whether events can come into a stream's log through this process.
    ///
    /// # Errors
    /// Why not: [`PushError::Avro`] or [`PushError::Elsewhere`].
    pub fn takes(&self, stream: usize) -> Result<(), PushError> {
        match &*self.sinks[stream] {
            Sink::Elsewhere => {
                let stream = self.catalog.streams()[stream].stream.name.clone();
                Err(PushError::Elsewhere { stream })
            }
            _ => self.takes_json(stream),
        }
    }

    fn takes_json(&self, stream: usize) -> Result<(), PushError> {
        if self.avro[stream].is_none() {
            return Ok(());
        }
        let stream = self.catalog.streams()[stream].stream.name.clone();
        Err(PushError::Avro { stream })
    }

    /// Takes events that have been dead letters, in the form that the log's records have: those
    /// that are refused again are filed no second time.
    ///
    /// # Errors
    /// [`PushError`].
    pub(super) async fn push_again(
        &self,
        stream: usize,
        rows: &[&[u8]],
    ) -> Result<Pushed, PushError> {
        let sorted = self.sort(stream, rows)?;
        self.write(stream, rows, Sorted { letters: Vec::new(), ..sorted }).await
    }

    async fn write(
        &self,
        stream: usize,
        rows: &[&[u8]],
        sorted: Sorted,
    ) -> Result<Pushed, PushError> {
        let name = &self.catalog.streams()[stream].stream.name;
        let counts = &self.progress[stream].counts;
        let Sorted { kept, now_us, rejected, letters, unknown_fields } = sorted;
        let accepted = kept.len();
        if let Some(letterbox) = self.letterbox.as_ref().filter(|_| !letters.is_empty()) {
            letterbox.post(name, &letters).await.map_err(PushError::Source)?;
        }
        let filing = match &self.log {
            Some(log) if !letters.is_empty() => {
                let filed = oneshot::channel();
                log.submit_dead(name, letters, tell(filed.0))?;
                Some(filed.1)
            }
            _ => None,
        };
        let places = match &*self.sinks[stream] {
            _ if accepted == 0 => Vec::new(),
            Sink::Log(log) => {
                let mut lot = Lot::default();
                for (index, _) in &kept {
                    lot.push(now_us, rows[*index])?;
                }
                let written = oneshot::channel();
                log.submit(name, lot, tell(written.0))?;
                vec![(0, told(written.1).await? + accepted as u64)]
            }
            #[cfg(feature = "kafka")]
            Sink::Kafka(producer) => produce(producer, &kept, rows).await?,
            Sink::RedisStream(producer) => ends(producer.send(&keyed(&kept, rows)).await?),
            #[cfg(feature = "nats")]
            Sink::Nats(producer) => ends(producer.send(&keyed(&kept, rows)).await?),
            Sink::Elsewhere => return Err(PushError::Elsewhere { stream: name.clone() }),
        };
        if let Some(filing) = filing {
            Counts::add(&counts.dead_letters, told(filing).await?);
        }
        Counts::add(&counts.accepted, accepted as u64);
        Counts::add(&counts.unknown_fields, unknown_fields);
        self.progress[stream].written(&places);
        self.wakes[stream].ring();
        Ok(Pushed { accepted, rejected, places })
    }

    fn sort(&self, stream: usize, rows: &[&[u8]]) -> Result<Sorted, StoreError> {
        let part = &self.catalog.streams()[stream];
        let decoded = part.records(self.avro[stream].as_deref(), rows).map_err(|error| {
            // A fault of ours, not of the events: they may be sent again.
            StoreError::Unavailable { detail: error.to_string() }
        })?;
        let now = self.clock.now().0;
        let ids = decoded.batch.column(part.stream.id);
        let mut sorted = Sorted {
            kept: Vec::with_capacity(decoded.kept.len()),
            now_us: now,
            rejected: Vec::new(),
            letters: Vec::new(),
            unknown_fields: decoded.unknown_fields,
        };
        let time_us = Some(now);
        for bad in decoded.bad {
            let reason = cut(why(bad.column.as_deref(), &bad.reason));
            sorted.letters.push(DeadLetter { time_us, position: None, reason, bytes: bad.row });
            let (index, column, reason) = (bad.index, bad.column, bad.reason);
            sorted.rejected.push(RejectedEvent { index, column, reason });
        }
        for (row, &index) in decoded.kept.iter().enumerate() {
            let bytes = rows[index];
            match admit::refusal(part, &decoded.batch, row, now) {
                None => sorted.kept.push((index, key(&value_at(ids, row)))),
                Some((column, reason)) => {
                    let bytes = bytes[..bytes.len().min(MAX_BAD_ROW_BYTES)].to_vec();
                    let said = cut(why(Some(&column), &reason));
                    let letter = DeadLetter { time_us, position: None, reason: said, bytes };
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

/// What keeps an event's repeats in one partition of a broker's log: its id.
fn key(id: &Value) -> String {
    match id {
        Value::Int(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}

/// Events as a producer takes them: key and bytes.
fn keyed<'a>(kept: &'a [(usize, String)], rows: &[&'a [u8]]) -> Vec<(&'a [u8], &'a [u8])> {
    kept.iter().map(|(index, key)| (key.as_bytes(), rows[*index])).collect()
}

/// Sends events to a topic; by partition, the records up to the last of them.
#[cfg(feature = "kafka")]
pub(super) async fn produce(
    producer: &KafkaProducer,
    kept: &[(usize, String)],
    rows: &[&[u8]],
) -> Result<Vec<(u32, u64)>, PushError> {
    let mut sending = Vec::with_capacity(kept.len());
    for (index, key) in kept {
        let (sender, receiver) = oneshot::channel();
        // A caller that has gone away need not be told.
        let sent = Box::new(move |placed| drop(sender.send(placed)));
        producer.send(key.as_bytes(), rows[*index], sent)?;
        sending.push(receiver);
    }
    let mut placed = Vec::with_capacity(sending.len());
    for receiver in sending {
        let gone = || StoreError::Unavailable { detail: "the producer has ended".into() };
        let sent = receiver.await.map_err(|_| PushError::Store(gone()))?;
        placed.push(sent.map_err(PushError::Source)?);
    }
    Ok(ends(placed))
}

/// By partition, the records up to the last of these places.
fn ends(placed: Vec<(u32, u64)>) -> Vec<(u32, u64)> {
    let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
    for (partition, offset) in placed {
        let end = ends.entry(partition).or_default();
        *end = (*end).max(offset + 1);
    }
    ends.into_iter().collect()
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
pub(super) fn letter(reason: String, record: &SourceRecord) -> DeadLetter {
    let bytes = record.payload[..record.payload.len().min(MAX_BAD_ROW_BYTES)].to_vec();
    let position = Some((record.partition, record.offset));
    DeadLetter { position, time_us: Some(record.time_us), reason: cut(reason), bytes }
}

/// What is wrong, with the column at fault.
pub(super) fn why(column: Option<&str>, reason: &str) -> String {
    match column {
        Some(column) => format!("column {column}: {reason}"),
        None => reason.to_owned(),
    }
}

/// A reason within its bound.
pub(super) fn cut(mut reason: String) -> String {
    if reason.len() > MAX_REASON_BYTES {
        let end = (0..=MAX_REASON_BYTES).rev().find(|&end| reason.is_char_boundary(end));
        reason.truncate(end.unwrap_or(0));
    }
    reason
}

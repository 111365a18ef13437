//! A topic of Kafka, or of a broker that speaks its protocol, as a source.
//!
//! ```text
//!   join ─▶ the group gives partitions ─▶ Owned ─▶ seek: fetch these, from there ─▶ records …
//!             ▲   (nothing is fetched)                │ ▲                              │
//!             │                                       └─┴── rewind ◀───────────────────┤
//!             └────── the group takes them all: Owned(none) ◀──────────────────────────┘
//! ```
//!
//! The group only shares partitions out; where each is read from, the worker says, for that stands
//! in the store. So offsets are committed for the broker's tools alone and never read back, and a
//! place that the topic no longer has is an error, not another place. Partitions are given and
//! taken all at once (librdkafka's eager protocol): every change begins with a look at the
//! checkpoints anyway.
//!
//! What else there is to know:
//!
//! - Times are those of the messages, in milliseconds: the broker's where the topic has
//!   `message.timestamp.type=LogAppendTime`, else the producer's. A message without one, which only
//!   producers of before 2016 and odd ones send, counts as of 1970: its event is then far ahead of
//!   its log's time, so it becomes a dead letter that says so, and the stream goes on.
//! - A message without a payload (a tombstone) comes with an empty one, and decoding refuses it.
//! - Messages of transactions that were aborted do not come. A transaction's marker takes an offset
//!   and does not come either, so a topic written in transactions is never seen as read to its end
//!   while a marker stands there: freshness is then that of its last event.

mod ask;
mod error;
mod group;
mod producer;
mod settings;

pub use producer::{KafkaProducer, Sent};
pub use settings::KafkaSettings;

use super::{
    Bounds, LogLook, PartitionInfo, Polled, Source, SourceError, SourceRecord, log_number,
};
use ask::{ANSWER, Asker};
use error::{failed, failed_with, passes};
use group::Group;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

/// How often what was applied is told to the broker: its tools are looked at by people.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// What a reader asks of librdkafka unless settings say otherwise.
const READER: &[(&str, &str)] = &[
    ("client.id", "trueup"),
    // Milliseconds without a heartbeat after which another reader gets our partitions; brokers
    // allow no less than 6 s by default, and librdkafka's 45 s leave a crash unseen for long.
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "1000"),
    // Kilobytes fetched ahead of the worker, all partitions together: some batches of 4 MiB, so
    // that it never waits for the network, and a rewind throws away little.
    ("queued.max.messages.kbytes", "16384"),
    // Messages fetched ahead of the worker, of each partition: some batches of 4096.
    ("queued.min.messages", "16384"),
    // Milliseconds until a full queue is looked at again; librdkafka's 1000 are seen as staleness.
    ("fetch.queue.backoff.ms", "5"),
    // Milliseconds that a fetch waits for records. A seek waits for the fetch before it, so with
    // librdkafka's 500 each rewind and each assignment would begin half a second late.
    ("fetch.wait.max.ms", "100"),
    // Bytes of one answer: half of what may wait.
    ("fetch.max.bytes", "8388608"),
    // Milliseconds until a lost broker is tried again, doubled up to the second of the two: a
    // broker that restarts is back within a second, where librdkafka's bound is 10 s.
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    // A flipped bit on the way must not become an amount.
    ("check.crcs", "true"),
];

/// What is not settings' to say.
const READER_ALWAYS: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("partition.assignment.strategy", "range"),
];

/// A topic, as one reader of its group reads it.
///
/// Closing it leaves the group, which takes a moment.
pub struct KafkaSource {
    settings: KafkaSettings,
    consumer: BaseConsumer<Group>,
    asker: Asker,
    number: u32,
    /// The offset that each partition that was sought goes on at: one past the last that was
    /// returned.
    next: BTreeMap<u32, u64>,
    /// The partitions that librdkafka fetches.
    begun: BTreeSet<u32>,
    /// A record that the last poll had no room for.
    held: Option<SourceRecord>,
    /// What failed after the last poll had records to return.
    failed: Option<SourceError>,
    committed: Option<Instant>,
}

impl KafkaSource {
    /// Joins the group, in the background: brokers are first heard of by other calls.
    ///
    /// # Errors
    /// For properties that librdkafka does not take.
    pub fn open(settings: KafkaSettings) -> Result<KafkaSource, SourceError> {
        let made = settings.reader(READER, READER_ALWAYS).create_with_context(Group::default());
        let consumer: BaseConsumer<Group> =
            made.map_err(|error| failed(&settings, "no client could be made", &error))?;
        let subscribed = consumer.subscribe(&[&settings.topic]);
        subscribed.map_err(|error| failed(&settings, "the group could not be joined", &error))?;
        let asker = Asker::open(&settings)?;
        let number = number_of(settings.topic());
        let (next, begun) = (BTreeMap::new(), BTreeSet::new());
        let (held, failed, committed) = (None, None, None);
        Ok(KafkaSource { settings, consumer, asker, number, next, begun, held, failed, committed })
    }

    /// The number and the partitions of a topic, for one who does not join the group: whoever does
    /// takes partitions from the others.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn looker(settings: KafkaSettings) -> Result<LogLook, SourceError> {
        let asker = Asker::open(&settings)?;
        Ok(Box::new(move || Ok((number_of(settings.topic()), roster(&asker, &settings)?))))
    }

    fn failed(&self, what: &str, error: &KafkaError) -> SourceError {
        failed(&self.settings, what, error)
    }

    /// Refuses places that the partitions do not have. A broker refuses them too, but not every
    /// broker, and later.
    fn check(&self, places: &[(u32, u64)]) -> Result<(), SourceError> {
        let asked: Vec<u32> = places.iter().map(|&(partition, _)| partition).collect();
        let firsts = self.asker.firsts(&self.settings, &asked)?;
        let ends = self.asker.ends(&self.settings, &asked)?;
        for (&(partition, offset), (first, end)) in places.iter().zip(firsts.into_iter().zip(ends))
        {
            if offset < first || offset > end {
                let what = format!("partition {partition} has {first} to {end}, not {offset}");
                let code = RDKafkaErrorCode::OffsetOutOfRange;
                return Err(failed_with(&self.settings, &what, code));
            }
        }
        Ok(())
    }

    /// The next record of a partition that is read, if it comes within this time; also `None` when
    /// something else happened meanwhile.
    fn fetched(&mut self, wait: Duration) -> Result<Option<SourceRecord>, SourceError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => {
                let record = record(&message);
                let next = record.as_ref().and_then(|record| self.next.get(&record.partition));
                let is_read = next.zip(record.as_ref()).is_some_and(|(&at, r)| r.offset >= at);
                Ok(record.filter(|_| is_read))
            }
            Some(Err(error)) if passes(&error) => {
                tracing::warn!(source = %self.settings, %error, "a Kafka broker is out of reach");
                Ok(None)
            }
            Some(Err(error)) => Err(self.failed("reading failed", &error)),
        }
    }

    /// Says what is owned now, if that changed, and forgets what was read.
    fn owned(&mut self) -> Option<Vec<u32>> {
        let owned = self.consumer.context().take()?;
        self.next.clear();
        self.begun.clear();
        self.held = None;
        self.failed = None;
        Some(owned)
    }

    /// Goes to places of partitions that are fetched already; `false` if one of them is not, or
    /// has stopped at an error.
    ///
    /// A new assignment would do it too. But librdkafka (to 2.15, its issue 5573) stops a partition
    /// twice if assignments follow each other more closely than it stops, and aborts the process.
    fn sought(&self, places: &[(u32, u64)]) -> bool {
        if places.is_empty() || !places.iter().all(|(partition, _)| self.begun.contains(partition))
        {
            return false;
        }
        let places = places.iter().map(|&(partition, offset)| (partition, place(offset)));
        let places = self::places(&self.settings, places);
        let told = self.consumer.seek_partitions(places, ANSWER);
        told.is_ok_and(|told| told.elements().iter().all(|one| one.error().is_ok()))
    }
}

impl Source for KafkaSource {
    /// Made of the topic's name: librdkafka does not tell the topic's id. A topic that was made
    /// anew under its old name is told by an end before the checkpoints.
    fn number(&self) -> u32 {
        self.number
    }

    fn roster(&mut self) -> Result<Vec<PartitionInfo>, SourceError> {
        roster(&self.asker, &self.settings)
    }

    /// Does nothing when the group has given or taken partitions meanwhile: the next poll says so.
    /// When it fails, nothing comes of these partitions before a seek that does not.
    fn seek(&mut self, places: &[(u32, u64)]) -> Result<(), SourceError> {
        if self.consumer.context().has_changed() {
            return Ok(());
        }
        for &(partition, _) in places {
            if !self.consumer.context().has(partition) {
                let code = RDKafkaErrorCode::UnknownPartition;
                let what = format!("partition {partition} is not read here");
                return Err(failed_with(&self.settings, &what, code));
            }
        }
        // What is held comes again, its offset being the next one of its partition.
        self.held = None;
        self.failed = None;
        // Should the rest fail, nothing comes from where they were.
        self.next.retain(|partition, _| places.iter().all(|(sought, _)| sought != partition));
        self.check(places)?;
        self.next.extend(places.iter().copied());
        if self.sought(places) {
            return Ok(());
        }
        self.begun.clear();
        let next = self.next.iter().map(|(&partition, &offset)| (partition, place(offset)));
        let next = self::places(&self.settings, next);
        let assigned = self.consumer.assign(&next);
        assigned.map_err(|error| self.failed("reading could not begin", &error))?;
        self.begun.extend(self.next.keys());
        Ok(())
    }

    fn poll(&mut self, bounds: &Bounds) -> Result<Polled, SourceError> {
        if let Some(owned) = self.owned() {
            return Ok(Polled::Owned(owned));
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let began = Instant::now();
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < bounds.records {
            let left = bounds.wait.saturating_sub(began.elapsed());
            let wait = if records.is_empty() { left } else { Duration::ZERO };
            match self.fetched(wait) {
                Ok(Some(record)) => {
                    let size = record.payload.len();
                    if !records.is_empty() && bytes + size > bounds.bytes {
                        self.held = Some(record);
                        break;
                    }
                    bytes += size;
                    self.next.insert(record.partition, record.offset + 1);
                    records.push(record);
                }
                Ok(None) if records.is_empty() => {
                    if let Some(owned) = self.owned() {
                        return Ok(Polled::Owned(owned));
                    }
                    if wait.is_zero() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) if records.is_empty() => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok(Polled::Records(records))
    }

    fn ends(&mut self, partitions: &[u32]) -> Result<Vec<u64>, SourceError> {
        self.asker.ends(&self.settings, partitions)
    }

    fn first_time_us(&mut self, partition: u32) -> Result<Option<i64>, SourceError> {
        self.asker.first_time_us(&self.settings, partition)
    }

    fn applied(&mut self, places: &[(u32, u64)]) {
        if self.committed.is_some_and(|at| at.elapsed() < COMMIT_EVERY) {
            return;
        }
        let ours = places.iter().filter(|(partition, _)| self.next.contains_key(partition));
        let ours = ours.map(|&(partition, offset)| (partition, place(offset)));
        let places = self::places(&self.settings, ours);
        if places.count() == 0 {
            return;
        }
        self.committed = Some(Instant::now());
        if let Err(error) = self.consumer.commit(&places, CommitMode::Async) {
            tracing::debug!(%error, "Kafka's tools will show an old lag: a commit failed");
        }
    }

    /// The group gives up a reader that asks for nothing for `max.poll.interval.ms`, however alive:
    /// a store that is away for longer would have every worker leave and join again. So one message
    /// is asked for, and dropped.
    fn rest(&mut self, pause: Duration) {
        std::thread::sleep(pause);
        if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
            tracing::warn!(source = %self.settings, %error, "Kafka reported a failure");
        }
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KafkaSource");
        shown.field("settings", &self.settings).field("next", &self.next).finish_non_exhaustive()
    }
}

fn roster(asker: &Asker, settings: &KafkaSettings) -> Result<Vec<PartitionInfo>, SourceError> {
    let partitions = asker.partitions(settings)?;
    let firsts = asker.firsts(settings, &partitions)?;
    let ends = asker.ends(settings, &partitions)?;
    let edges = partitions.into_iter().zip(firsts.into_iter().zip(ends));
    Ok(edges.map(|(partition, (first, end))| PartitionInfo { partition, first, end }).collect())
}

fn number_of(topic: &str) -> u32 {
    log_number(xxh3_64(topic.as_bytes()) as u32)
}

/// `None` for a partition or an offset below 0, which are no records.
fn record(message: &BorrowedMessage<'_>) -> Option<SourceRecord> {
    let millis = message.timestamp().to_millis().unwrap_or(0);
    Some(SourceRecord {
        partition: u32::try_from(message.partition()).ok()?,
        offset: u64::try_from(message.offset()).ok()?,
        time_us: millis.saturating_mul(1_000),
        payload: message.payload().unwrap_or_default().to_vec(),
    })
}

/// Places in the topic, as librdkafka wants them.
fn places(
    settings: &KafkaSettings,
    places: impl IntoIterator<Item = (u32, Offset)>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in places {
        // Kafka numbers partitions up to this; what is above is no partition for it either.
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        // Only an offset below 0 is refused, and there is none.
        let _ = list.add_partition_offset(settings.topic(), partition, offset);
    }
    list
}

fn place(offset: u64) -> Offset {
    Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}

//! Events into a topic: what HTTP push does where a stream's log is Kafka.
//!
//! ```text
//!   send ─▶ librdkafka's queue ─▶ brokers: all replicas in sync have it ─▶ Sent(partition, offset)
//!     └─▶ Busy, at once, when too much waits
//! ```

use super::error::failed;
use super::group::log;
use super::{KafkaSettings, SourceError};
use crate::ingest::source::ProduceError;
use crate::ingest::source::produce::{MAX_WAITING_BYTES, Waiting};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a producer asks of librdkafka unless settings say otherwise.
const PRODUCER: &[(&str, &str)] = &[
    ("client.id", "trueup"),
    // Milliseconds to gather records of one request: less than a sync, and callers wait for it.
    ("linger.ms", "1"),
    // Milliseconds until a record that the brokers did not acknowledge is reported as failed: a
    // caller of a push waits no longer than this.
    ("message.timeout.ms", "10000"),
    // As the Java clients choose a key's partition, so that a key's events meet there.
    ("partitioner", "murmur2_random"),
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    // Kilobytes of librdkafka's own queue; ours is full before it.
    ("queue.buffering.max.kbytes", "131072"),
];

/// What is not settings' to say.
const PRODUCER_ALWAYS: &[(&str, &str)] = &[("enable.idempotence", "true"), ("acks", "all")];

/// Called once, on the producer's thread, with the record's partition and offset when all replicas
/// in sync have it, or with the error; after an error the record may still be found in the topic
/// later. It must neither block nor panic.
pub type Sent = Box<dyn FnOnce(Result<(u32, u64), SourceError>) + Send + Sync>;

/// How soon after another a producer may be replaced.
const RENEW_AFTER: Duration = Duration::from_secs(5);

/// Writes records to one topic.
///
/// Brokers know a producer by a number. One whose number they have forgotten, or whose records do
/// not follow those that they have, gets nothing through ever again, so a producer that a record
/// has failed is replaced: an event that was written twice counts once by its id.
pub struct KafkaProducer {
    settings: KafkaSettings,
    /// The one that takes records.
    current: Mutex<Arc<ThreadedProducer<Deliveries>>>,
    waiting: Arc<Waiting>,
}

/// One record that waits.
struct Pending {
    bytes: usize,
    sent: Sent,
}

/// Reports deliveries of one producer.
struct Deliveries {
    settings: KafkaSettings,
    waiting: Arc<Waiting>,
    /// When the producer was made.
    made: Instant,
    /// Whether it has failed a record.
    has_failed: AtomicBool,
}

fn made(
    settings: &KafkaSettings,
    waiting: &Arc<Waiting>,
) -> Result<Arc<ThreadedProducer<Deliveries>>, SourceError> {
    let config = settings.client(PRODUCER, PRODUCER_ALWAYS);
    let (waiting, made, has_failed) = (Arc::clone(waiting), Instant::now(), AtomicBool::default());
    let context = Deliveries { settings: settings.clone(), waiting, made, has_failed };
    let producer = config.create_with_context(context);
    producer.map(Arc::new).map_err(|error| failed(settings, "no producer", &error))
}

impl KafkaProducer {
    /// A producer; brokers are first heard of when a record is sent.
    ///
    /// # Errors
    /// For properties that librdkafka does not take.
    pub fn open(settings: KafkaSettings) -> Result<KafkaProducer, SourceError> {
        KafkaProducer::with_limit(settings, MAX_WAITING_BYTES)
    }

    /// A producer with another bound on the bytes that wait; each record costs some beside its own.
    ///
    /// # Errors
    /// As [`KafkaProducer::open`].
    pub fn with_limit(settings: KafkaSettings, limit: usize) -> Result<KafkaProducer, SourceError> {
        let waiting = Arc::new(Waiting::new(limit));
        let current = Mutex::new(made(&settings, &waiting)?);
        Ok(KafkaProducer { settings, current, waiting })
    }

    /// The producer that takes records, anew if it has failed one.
    fn producer(&self) -> Arc<ThreadedProducer<Deliveries>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Deliveries { made: since, has_failed, .. } = &**current.context();
        if has_failed.load(Relaxed) && since.elapsed() >= RENEW_AFTER {
            match made(&self.settings, &self.waiting) {
                Ok(new) => {
                    let old = std::mem::replace(&mut *current, new);
                    // What waits there is written or fails in its own time.
                    std::thread::spawn(move || old.flush(Timeout::Never));
                }
                // It was made before, from the same settings; later it may be again.
                Err(error) => tracing::warn!(%error, "Kafka's producer is not replaced"),
            }
        }
        Arc::clone(&current)
    }

    /// Hands a record to the producer and returns at once; `sent` is called when it is in the
    /// topic. Records with one key go to one partition, in the order of their sending while none
    /// fails.
    ///
    /// # Errors
    /// [`ProduceError`]; then `sent` is not called.
    pub fn send(&self, key: &[u8], payload: &[u8], sent: Sent) -> Result<(), ProduceError> {
        let bytes = Waiting::cost(key, payload);
        self.waiting.take(bytes)?;
        let pending = Box::new(Pending { bytes, sent });
        let record = BaseRecord::with_opaque_to(&self.settings.topic, pending);
        let producer = self.producer();
        producer.send(record.key(key).payload(payload)).map_err(|(error, record)| {
            self.waiting.release(record.delivery_opaque.bytes);
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
                let (queued, limit) = (self.waiting.bytes(), self.waiting.limit());
                return ProduceError::Busy { queued, limit };
            }
            producer.context().has_failed.store(true, Relaxed);
            ProduceError::Refused(failed(&self.settings, "the event was not taken", &error))
        })
    }

    /// Waits until all records sent so far are in the topic or have failed.
    ///
    /// # Errors
    /// When some still wait after this time.
    pub fn flush(&self, bound: Duration) -> Result<(), SourceError> {
        let until = Instant::now() + bound;
        let flushed = self.producer().flush(bound);
        flushed.map_err(|error| failed(&self.settings, "events still wait", &error))?;
        // One that was replaced may have some yet.
        while self.waiting.bytes() > 0 {
            if Instant::now() >= until {
                let late = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
                return Err(failed(&self.settings, "events still wait", &late));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Bytes that wait for brokers.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    /// What concerns no single record; those that it fails are reported one by one.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(topic = %self.settings, %error, reason, "Kafka's producer");
    }

    /// Nothing: nobody asks for librdkafka's statistics.
    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        self.waiting.release(pending.bytes);
        let told = match result {
            Ok(message) => match (message.partition().try_into(), message.offset().try_into()) {
                (Ok(partition), Ok(offset)) => Ok((partition, offset)),
                // acks=all always brings the place.
                _ => Err(self.failed(&KafkaError::Canceled)),
            },
            Err((error, _)) => Err(self.failed(error)),
        };
        (pending.sent)(told);
    }
}

impl Deliveries {
    fn failed(&self, error: &KafkaError) -> SourceError {
        self.has_failed.store(true, Relaxed);
        failed(&self.settings, "the event was not acknowledged", error)
    }
}

impl fmt::Debug for KafkaProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KafkaProducer");
        shown.field("settings", &self.settings).field("waiting", &self.waiting);
        shown.finish_non_exhaustive()
    }
}

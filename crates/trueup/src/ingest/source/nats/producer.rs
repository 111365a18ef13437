//! Events into subjects: what HTTP push does where a stream's log is in NATS.
//!
//! ```text
//!   send ─▶ publish each ─▶ the stream has them: (partition, offset) of each
//!     │        └─▶ no answer in time: publish those again; the stream knows them by their id
//!     └─▶ Busy, at once, when too much waits
//! ```
//!
//! What is acknowledged is as durable as the stream is set up to be: with more replicas than one
//! most of them have it, and a single server syncs its files to disk some time later.

use super::NatsSettings;
use super::error::{failed, refused};
use super::link::{ANSWER, connect};
use crate::ingest::source::produce::{MAX_WAITING_BYTES, RECORD_BYTES, Waiting, partition};
use crate::ingest::source::{ProduceError, SourceError};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures_util::future::join_all;
use std::fmt;
use tokio::sync::Mutex;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// How often a record is published that nobody acknowledges: together with [`ANSWER`], a caller of
/// a push waits no longer than 12 s, and streams know an id for two minutes unless they are told
/// otherwise.
const TRIES: usize = 3;

/// What a call was to do, for errors.
const WHAT: &str = "events were not acknowledged";

/// Writes records to the subjects of one log. Callers share one connection, on which their records
/// follow each other without waiting.
pub struct NatsProducer {
    settings: NatsSettings,
    subjects: Vec<String>,
    /// None before the first record. The library connects again by itself.
    open: Mutex<Option<Context>>,
    waiting: Waiting,
}

impl NatsProducer {
    /// A producer; the servers are first heard of when a record is sent.
    pub fn open(settings: NatsSettings) -> NatsProducer {
        NatsProducer::with_limit(settings, MAX_WAITING_BYTES)
    }

    /// A producer with another bound on the bytes that wait; each record costs some beside its own.
    pub fn with_limit(settings: NatsSettings, limit: usize) -> NatsProducer {
        let (subjects, open) = (settings.subjects(), Mutex::new(None));
        NatsProducer { settings, subjects, open, waiting: Waiting::new(limit) }
    }

    /// Sends records, key and payload, and returns when the stream has them; partition and offset
    /// of each. Records with one key go to one partition. A record that the stream has from a
    /// little while ago, byte for byte, is not written again: its place is that of the first.
    ///
    /// # Errors
    /// [`ProduceError`]; after an error of the servers, some may still be found in the log later.
    pub async fn send(&self, records: &[(&[u8], &[u8])]) -> Result<Vec<(u32, u64)>, ProduceError> {
        let _held = self.waiting.hold(records)?;
        let written = self.write(records).await;
        written.map_err(ProduceError::Refused)
    }

    async fn write(&self, records: &[(&[u8], &[u8])]) -> Result<Vec<(u32, u64)>, SourceError> {
        let context = self.context().await?;
        let mut placed: Vec<Option<u64>> = vec![None; records.len()];
        let mut last = None;
        for _ in 0..TRIES {
            let mut acknowledging = Vec::with_capacity(records.len());
            let left = (0..records.len()).filter(|&nth| placed[nth].is_none());
            for nth in left.collect::<Vec<_>>() {
                let (key, payload) = records[nth];
                let subject = &self.subjects[partition(key, self.subjects.len()) as usize];
                let message = PublishMessage::build()
                    .payload(Bytes::copy_from_slice(payload))
                    .message_id(id(subject, payload))
                    .expected_stream(self.settings.stream());
                match context.send_publish(subject.clone(), message).await {
                    Ok(acknowledgement) => acknowledging.push((nth, acknowledgement)),
                    // The connection takes no more: neither would it take the next ones.
                    Err(error) if passes(&error.kind()) => {
                        last = Some(error);
                        break;
                    }
                    Err(error) => return Err(failed(&self.settings, WHAT, &error)),
                }
            }
            // All together: each waits for so long from when it is asked.
            let (sent, acknowledging): (Vec<usize>, Vec<_>) = acknowledging.into_iter().unzip();
            let acknowledged = join_all(acknowledging.into_iter().map(IntoFuture::into_future));
            for (nth, acknowledged) in sent.into_iter().zip(acknowledged.await) {
                match acknowledged {
                    Ok(acknowledged) => placed[nth] = Some(acknowledged.sequence),
                    Err(error) if passes(&error.kind()) => last = Some(error),
                    Err(error) => return Err(failed(&self.settings, WHAT, &error)),
                }
            }
            if placed.iter().all(Option::is_some) {
                break;
            }
        }
        let place = |((key, _), placed): (&(&[u8], &[u8]), Option<u64>)| match (placed, &last) {
            (Some(sequence), _) => Ok((partition(key, self.subjects.len()), sequence)),
            (None, Some(error)) => Err(failed(&self.settings, WHAT, error)),
            (None, None) => Err(refused(&self.settings, WHAT.into(), true, "Send them again")),
        };
        records.iter().zip(placed).map(place).collect()
    }

    /// Bytes that wait for the servers.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    async fn context(&self) -> Result<Context, SourceError> {
        let mut open = self.open.lock().await;
        if let Some(context) = &*open {
            return Ok(context.clone());
        }
        // More acknowledgements than records may wait for are never waited for.
        let most = self.waiting.limit() / RECORD_BYTES + 1;
        let made = connect(&self.settings, ANSWER, most).await?;
        *open = Some(made.clone());
        Ok(made)
    }
}

/// What a stream knows a record by: where it goes and all its bytes. An event that was sent with
/// another content is another record, since which of the two counts is not the stream's to say.
fn id(subject: &str, payload: &[u8]) -> String {
    format!("{:016x}{:032x}", xxh3_64(subject.as_bytes()), xxh3_128(payload))
}

/// Whether publishing again may help.
fn passes(kind: &PublishErrorKind) -> bool {
    matches!(kind, PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe)
}

impl fmt::Debug for NatsProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("NatsProducer");
        shown.field("settings", &self.settings).field("waiting", &self.waiting);
        shown.finish_non_exhaustive()
    }
}

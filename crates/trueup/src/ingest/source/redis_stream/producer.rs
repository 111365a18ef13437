//! Events into streams: what HTTP push does where a stream's log is in Redis.
//!
//! ```text
//!   send ─▶ XADD of each, in one pipeline ─▶ the server has them: (partition, offset) of each
//!     └─▶ Busy, at once, when too much waits
//! ```
//!
//! What is acknowledged is as durable as the server is set up to be (`appendonly`, replicas): it
//! does not wait for a disk or a replica.

use super::error::failed;
use super::id::Id;
use super::link::ANSWER;
use super::look::unfit;
use super::{FIELD, RedisStreamSettings};
use crate::ingest::source::produce::{MAX_WAITING_BYTES, Waiting, partition};
use crate::ingest::source::{ProduceError, SourceError};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use std::fmt;
use tokio::sync::Mutex;

/// What a call was to do, for errors.
const WHAT: &str = "events were not acknowledged";

/// Writes records to the streams of one log. Callers share one connection, on which their commands
/// follow each other without waiting.
pub struct RedisStreamProducer {
    settings: RedisStreamSettings,
    streams: Vec<String>,
    client: Client,
    /// None before the first record and after a failure.
    open: Mutex<Option<MultiplexedConnection>>,
    waiting: Waiting,
}

impl RedisStreamProducer {
    /// A producer; the server is first heard of when a record is sent.
    ///
    /// # Errors
    /// For an address that is none.
    pub fn open(settings: RedisStreamSettings) -> Result<RedisStreamProducer, SourceError> {
        RedisStreamProducer::with_limit(settings, MAX_WAITING_BYTES)
    }

    /// A producer with another bound on the bytes that wait; each record costs some beside its own.
    ///
    /// # Errors
    /// As [`RedisStreamProducer::open`].
    pub fn with_limit(
        settings: RedisStreamSettings,
        limit: usize,
    ) -> Result<RedisStreamProducer, SourceError> {
        let client = settings.client().map_err(|error| failed(&settings, "no client", &error))?;
        let (streams, open) = (settings.streams(), Mutex::new(None));
        let waiting = Waiting::new(limit);
        Ok(RedisStreamProducer { settings, streams, client, open, waiting })
    }

    /// Sends keys with payloads, and returns when the server has them: the partition and offset of
    /// each. Records with one key go to one partition, those of one call in their order.
    ///
    /// # Errors
    /// [`ProduceError`]; after an error of the server, some may still be found in the log later.
    pub async fn send(&self, records: &[(&[u8], &[u8])]) -> Result<Vec<(u32, u64)>, ProduceError> {
        let _held = self.waiting.hold(records)?;
        let partitions: Vec<u32> =
            records.iter().map(|(key, _)| partition(key, self.streams.len())).collect();
        let mut adds = redis::pipe();
        for (&partition, (_, payload)) in partitions.iter().zip(records) {
            let stream = &self.streams[partition as usize];
            adds.cmd("XADD").arg(stream).arg("*").arg(FIELD).arg(*payload);
        }
        let refused =
            |error: &RedisError| ProduceError::Refused(failed(&self.settings, WHAT, error));
        let mut connection = self.connection().await.map_err(|error| refused(&error))?;
        let added: Result<Vec<String>, RedisError> = adds.query_async(&mut connection).await;
        let ids = match added {
            Ok(ids) => ids,
            Err(error) => {
                // The next call finds out whether another connection is better.
                *self.open.lock().await = None;
                return Err(refused(&error));
            }
        };
        let offset = |(partition, id): (u32, String)| match Id::parse(&id) {
            Ok(id) => Ok((partition, id.0)),
            Err(reason) => Err(ProduceError::Refused(unfit(&self.settings, reason))),
        };
        partitions.into_iter().zip(ids).map(offset).collect()
    }

    /// Bytes that wait for the server.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut open = self.open.lock().await;
        if let Some(connection) = &*open {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER))
            .set_response_timeout(Some(ANSWER));
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *open = Some(made.clone());
        Ok(made)
    }
}

impl fmt::Debug for RedisStreamProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RedisStreamProducer");
        shown.field("settings", &self.settings).field("waiting", &self.waiting);
        shown.finish_non_exhaustive()
    }
}

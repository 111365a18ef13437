//! Subjects of a stream of NATS JetStream as a source: one subject for each partition, read by the
//! stream's sequences.
//!
//! ```text
//!   lease ─▶ Owned ─▶ seek: look, find the message before ─▶ read from there ─▶ still whole?
//!     ▲                                  ▲                     │              yes ▼  │ no
//!     └── each second                    └──── begin again ◀───┴─ cut off     records │
//!                                                    ▲────────────────────────────────┘
//! ```
//!
//! Durable consumers of JetStream are not used: they hand out single messages and hand them out
//! again out of order, where a state's checkpoint wants a partition whole and in order. Each
//! partition has a consumer of its own that acknowledges nothing and is made anew wherever reading
//! begins (`read`).
//!
//! - An event is a message's payload, JSON. Times are those that the stream gave.
//! - A consumer that is told to begin at a message that is gone begins at the next one, and says
//!   nothing. So what was fetched is returned only after a look at the stream that found nothing
//!   gone from where it was read (`look`, `note`); else it is fetched again from the checkpoints,
//!   where a gap is seen if there is one.
//! - The stream, what is written down about it and the leases are of one account. A stream deleted
//!   and made anew, and one that lost what it had taken, is another log: checkpoints are a gap.

mod error;
mod lease;
mod link;
mod look;
mod note;
mod producer;
mod read;
mod settings;

pub use producer::NatsProducer;
pub use settings::NatsSettings;

use super::{Bounds, PartitionInfo, Polled, Source, SourceError, SourceRecord};
use error::{GAP, refused};
use lease::Lease;
use link::{ANSWER, Ask, Link};
use look::Looker;
use note::Part;
use read::Reader;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc;
use std::time::Instant;
use tokio::runtime::Runtime;

/// A log of subjects, as one reader of its group reads it.
///
/// Closing it gives its partitions up, which takes a moment.
pub struct NatsSource {
    /// Drives the connection; `None` only while it is closed.
    runtime: Option<Runtime>,
    /// `None` only while it is closed.
    log: Option<Log>,
}

/// What a reader has, beside the runtime that drives it.
struct Log {
    link: Link,
    lease: Lease,
    looker: Looker,
    reader: Reader,
    /// The log's number, as last seen.
    number: u32,
    /// Whether it was another one before, and nobody has been told.
    is_anew: bool,
    /// The last record that was returned of each partition: its offset and time.
    newest: BTreeMap<u32, (u64, i64)>,
}

impl NatsSource {
    /// Connects and looks at the stream.
    ///
    /// # Errors
    /// What the server says, also when there is no such stream.
    pub fn open(settings: NatsSettings) -> Result<NatsSource, SourceError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("nats")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| error::failed(&settings, "no thread", &error))?;
        let partitions = settings.subjects().len() as u32;
        let mut log = Log {
            link: Link::new(settings),
            lease: Lease::new(partitions),
            looker: Looker::default(),
            reader: Reader::default(),
            number: 0,
            is_anew: false,
            newest: BTreeMap::new(),
        };
        let all = log.all();
        let looked = runtime.block_on(async {
            log.link.connect().await?;
            log.looker.look(&mut log.link, &all).await
        });
        log.number = log.looker.number(&log.link);
        let source = NatsSource { runtime: Some(runtime), log: Some(log) };
        looked.map(|()| source)
    }

    fn parts(&mut self) -> (&Runtime, &mut Log) {
        let parts = self.runtime.as_ref().zip(self.log.as_mut());
        parts.expect("both are there until it is dropped")
    }
}

impl Log {
    /// All partitions.
    fn all(&self) -> Vec<u32> {
        (0..self.link.subjects().len() as u32).collect()
    }

    async fn look(&mut self, partitions: &[u32]) -> Result<(), SourceError> {
        self.looker.look(&mut self.link, partitions).await?;
        let number = self.looker.number(&self.link);
        if number != self.number {
            (self.number, self.is_anew) = (number, true);
            self.reader.clear(&self.link);
            self.newest.clear();
        }
        Ok(())
    }

    /// A partition, as it was last looked at.
    fn part(&self, partition: u32) -> Result<Part, SourceError> {
        self.looker.part(partition).copied().ok_or_else(|| {
            let detail = format!("partition {partition} was not looked at");
            self.link.changed(detail)
        })
    }

    fn check(&self, partition: u32) -> Result<(), SourceError> {
        if (partition as usize) < self.link.subjects().len() {
            return Ok(());
        }
        let detail = format!("there is no partition {partition}");
        Err(refused(&self.link.settings, detail, false, "Give the URL the right partitions=N"))
    }

    async fn roster(&mut self) -> Result<Vec<PartitionInfo>, SourceError> {
        let all = self.all();
        self.look(&all).await?;
        // Whoever asks for the roster asks for the number too.
        self.is_anew = false;
        let info = |partition: u32| {
            let Part { from: first, end, .. } = self.part(partition)?;
            Ok(PartitionInfo { partition, first, end })
        };
        all.into_iter().map(info).collect()
    }

    async fn seek(&mut self, places: &[(u32, u64)]) -> Result<(), SourceError> {
        // Should anything fail, nothing comes from where they were.
        self.reader.end(&self.link, places.iter().map(|&(partition, _)| partition));
        if let Some((partition, _)) = places.iter().find(|(one, _)| !self.lease.has(*one)) {
            return Err(self.link.changed(format!("partition {partition} is not read here")));
        }
        let partitions: Vec<u32> = places.iter().map(|&(partition, _)| partition).collect();
        self.look(&partitions).await?;
        for &(partition, offset) in places {
            self.find(partition, offset).await?;
        }
        self.reader.begin(&self.link, places.iter().copied());
        Ok(())
    }

    /// Refuses a place that the log does not have, and one whose message before is not the one that
    /// was read.
    async fn find(&mut self, partition: u32, offset: u64) -> Result<(), SourceError> {
        let Part { from, end, .. } = self.part(partition)?;
        if offset < from || offset > end {
            let detail = format!("partition {partition} has {from} to {end}, not {offset}");
            return Err(refused(&self.link.settings, detail, false, GAP));
        }
        // Where a partition counts as whole from, the message before may be of others; before the
        // first sequence there is none.
        if offset == from || offset <= 1 {
            return Ok(());
        }
        let subject = self.link.subjects()[partition as usize].clone();
        let Some(before) = self.link.message(Ask::At(offset - 1)).await? else {
            // It was trimmed, or deleted alone.
            return Ok(());
        };
        let time_us = before.time.unix_timestamp_nanos() / 1_000;
        let known = self.newest.get(&partition).filter(|(newest, _)| *newest == offset - 1);
        let is_known = known.is_none_or(|&(_, time)| i128::from(time) == time_us);
        if before.subject.as_str() == subject && is_known {
            return Ok(());
        }
        self.looker.disown(&mut self.link).await?;
        let detail = format!("message {} was read and is another one now", offset - 1);
        Err(self.link.changed(detail))
    }

    async fn poll(&mut self, bounds: &Bounds) -> Result<Polled, SourceError> {
        let until = Instant::now() + bounds.wait;
        loop {
            if let Some(owned) = self.lease.renew(&mut self.link).await? {
                self.reader.clear(&self.link);
                return Ok(Polled::Owned(owned));
            }
            if std::mem::take(&mut self.is_anew) {
                return Err(self.link.changed("the log was made anew".into()));
            }
            let places = self.reader.places();
            let wait = until.min(Instant::now() + self.lease.due_in());
            let records = match self.reader.poll(&self.link, bounds, wait).await {
                Ok(records) => records,
                Err(error) => {
                    self.reader.begin(&self.link, places);
                    return Err(error);
                }
            };
            if !records.is_empty() {
                self.prove(places, &records).await?;
                return Ok(Polled::Records(records));
            }
            if Instant::now() >= until {
                return Ok(Polled::Records(records));
            }
        }
    }

    /// Looks, after records were fetched, whether their partitions are whole from where they were
    /// read.
    async fn prove(
        &mut self,
        places: BTreeMap<u32, u64>,
        records: &[SourceRecord],
    ) -> Result<(), SourceError> {
        let newest =
            records.iter().map(|record| (record.partition, (record.offset, record.time_us)));
        let newest: BTreeMap<_, _> = newest.collect();
        let mut read = places.clone();
        read.retain(|partition, _| newest.contains_key(partition));
        let proved = match self.looker.is_whole(&mut self.link, &read).await {
            Ok(true) => {
                self.newest.extend(newest);
                return Ok(());
            }
            Ok(false) => Err(self.link.changed("messages are gone that were to be read".into())),
            Err(error) => Err(error),
        };
        self.reader.begin(&self.link, places);
        proved
    }

    async fn ends(&mut self, partitions: &[u32]) -> Result<Vec<u64>, SourceError> {
        partitions.iter().try_for_each(|&partition| self.check(partition))?;
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        self.look(partitions).await?;
        partitions.iter().map(|&partition| Ok(self.part(partition)?.end)).collect()
    }

    async fn first_time_us(&mut self, partition: u32) -> Result<Option<i64>, SourceError> {
        self.check(partition)?;
        let first =
            self.link.message(Ask::First(&self.link.subjects()[partition as usize])).await?;
        let time_us = |ns: i128| i64::try_from(ns / 1_000).unwrap_or(i64::MAX);
        Ok(first.map(|message| time_us(message.time.unix_timestamp_nanos())))
    }
}

impl Source for NatsSource {
    /// Made of the stream's name, of when it was made, and of how often it lost what it had.
    fn number(&self) -> u32 {
        self.log.as_ref().map_or(0, |log| log.number)
    }

    fn roster(&mut self) -> Result<Vec<PartitionInfo>, SourceError> {
        let (runtime, log) = self.parts();
        runtime.block_on(log.roster())
    }

    fn seek(&mut self, places: &[(u32, u64)]) -> Result<(), SourceError> {
        let (runtime, log) = self.parts();
        runtime.block_on(log.seek(places))
    }

    fn poll(&mut self, bounds: &Bounds) -> Result<Polled, SourceError> {
        let (runtime, log) = self.parts();
        runtime.block_on(log.poll(bounds))
    }

    fn ends(&mut self, partitions: &[u32]) -> Result<Vec<u64>, SourceError> {
        let (runtime, log) = self.parts();
        runtime.block_on(log.ends(partitions))
    }

    fn first_time_us(&mut self, partition: u32) -> Result<Option<i64>, SourceError> {
        let (runtime, log) = self.parts();
        runtime.block_on(log.first_time_us(partition))
    }

    /// Nothing: what shows a stream's lag goes by durable consumers, and there is none.
    fn applied(&mut self, _places: &[(u32, u64)]) {}
}

impl Drop for NatsSource {
    fn drop(&mut self) {
        let (Some(runtime), Some(mut log)) = (self.runtime.take(), self.log.take()) else { return };
        let (done, left) = mpsc::channel();
        // Not by waiting on the runtime: whoever drops it may be on another one.
        runtime.spawn(async move {
            log.reader.clear(&log.link);
            log.lease.leave(&mut log.link).await;
            // Nobody may wait any more.
            let _ = done.send(());
        });
        // An answer that does not come leaves the leases to run out.
        let _ = left.recv_timeout(ANSWER);
        runtime.shutdown_background();
    }
}

impl fmt::Debug for NatsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("NatsSource");
        if let Some(log) = &self.log {
            shown.field("settings", &log.link.settings).field("lease", &log.lease);
            shown.field("reading", &log.reader.places());
        }
        shown.finish_non_exhaustive()
    }
}

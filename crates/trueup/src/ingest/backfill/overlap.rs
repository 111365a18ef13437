//! Which events a log brings, told by their ids: a history that holds some of them too is copied
//! without these, so that none counts twice.
//!
//! The log is read by a reader of its own, from where it is to take over to the end that it has at
//! the call, and nothing is applied. What a worker would make a dead letter is no event that the
//! log brings.

use super::BackfillError;
use crate::catalog::StreamPart;
use crate::ingest::IngestError;
use crate::ingest::admit;
use crate::ingest::source::{Bounds, PartitionInfo, Polled, Source, SourceError, SourceRecord};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use trueup_core::Id;
use trueup_sql::decode::AvroSchemas;
use trueup_sql::decode::bridge::id_at;

/// One poll, as a worker's.
const BOUNDS: Bounds = Bounds { records: 4_096, bytes: 4 << 20, wait: Duration::from_millis(250) };

/// How long a log may bring nothing of what it says that it has: a group of readers settles in some
/// seconds, and leases of one that died run out.
const SILENT: Duration = Duration::from_secs(60);

/// Ids of events, sorted.
#[derive(Clone, Debug, Default)]
pub struct Overlap {
    ids: Vec<u128>,
}

/// What is read of a log, and how.
#[derive(Debug)]
pub struct Reading<'a> {
    /// The stream.
    pub part: &'a StreamPart,
    /// The schemas of its records, if they are Avro.
    pub avro: Option<&'a AvroSchemas>,
    /// By partition, where the log takes over.
    pub from: &'a BTreeMap<u32, u64>,
    /// How many ids may be held at most.
    pub most: usize,
    /// Ends it.
    pub stop: &'a AtomicBool,
}

impl Overlap {
    /// Whether the log brings the event with this id.
    pub fn holds(&self, id: &Id) -> bool {
        self.ids.binary_search(&number(id)).is_ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn settle(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
    }
}

/// An id as a number: those of one stream are all integers, or all hashes.
fn number(id: &Id) -> u128 {
    match id {
        Id::Int(value) => u128::from(value.cast_unsigned()),
        Id::Hash(bytes) => u128::from_be_bytes(*bytes),
        // Only groups keep ids so, and these are a stream's.
        Id::Text(_) => u128::MAX,
    }
}

impl Reading<'_> {
    /// Reads the log to its end. Blocks.
    ///
    /// # Errors
    /// [`BackfillError`]: also if the log has too many records there, or does not bring them.
    pub fn read(&self, log: &mut dyn Source) -> Result<Overlap, BackfillError> {
        let mut places: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for PartitionInfo { partition, end, .. } in source(log.roster())? {
            let from = self.from.get(&partition).copied().unwrap_or(0);
            if from < end {
                places.insert(partition, (from, end));
            }
        }
        let mut overlap = Overlap::default();
        let (mut owned, mut is_sought, mut heard) = (Vec::new(), false, Instant::now());
        while !places.is_empty() {
            if self.stop.load(Ordering::SeqCst) {
                return Err(self.refused("told to stop"));
            }
            let polled = match is_sought {
                true => log.poll(&BOUNDS),
                false => sought(log, &owned, &places).and_then(|()| log.poll(&BOUNDS)),
            };
            is_sought = polled.is_ok();
            match polled {
                Ok(Polled::Owned(now)) => (owned, is_sought) = (now, false),
                Ok(Polled::Records(records)) if records.is_empty() => {}
                Ok(Polled::Records(records)) => {
                    self.take(&records, &mut places, &mut overlap)?;
                    heard = Instant::now();
                }
                Err(error) if error.retry => {
                    tracing::warn!(%error, "the log is asked again");
                    std::thread::sleep(BOUNDS.wait);
                }
                Err(error) => return Err(IngestError::from(error).into()),
            }
            if heard.elapsed() > SILENT {
                return Err(self.silent(&places));
            }
        }
        overlap.settle();
        Ok(overlap)
    }

    fn take(
        &self,
        records: &[SourceRecord],
        places: &mut BTreeMap<u32, (u64, u64)>,
        overlap: &mut Overlap,
    ) -> Result<(), BackfillError> {
        let mut wanted = Vec::with_capacity(records.len());
        for record in records {
            let Some((next, end)) = places.get_mut(&record.partition) else { continue };
            if record.offset < *end {
                wanted.push(record);
            }
            *next = record.offset + 1;
            if *next >= *end {
                places.remove(&record.partition);
            }
        }
        let payloads: Vec<&[u8]> = wanted.iter().map(|record| &record.payload[..]).collect();
        let decoded = self.part.records(self.avro, &payloads);
        let decoded = decoded.map_err(|error| self.refused(&error.to_string()))?;
        let (stream, kind) = (&self.part.stream, self.part.stream.id_kind());
        let ids = decoded.batch.column(stream.id);
        for (row, &index) in decoded.kept.iter().enumerate() {
            let log_us = wanted[index].time_us;
            if admit::refusal(self.part, &decoded.batch, row, log_us).is_none() {
                overlap.ids.push(number(&id_at(ids, row, kind)));
            }
        }
        if overlap.ids.len() > self.most {
            overlap.settle();
        }
        match overlap.ids.len() > self.most {
            true => Err(self.refused(&format!(
                "the log has more than {} events from --up-to on, whose ids are held in memory to \
                 leave them out of the copy; give a later --up-to, or more of --overlap",
                self.most
            ))),
            false => Ok(()),
        }
    }

    fn silent(&self, places: &BTreeMap<u32, (u64, u64)>) -> BackfillError {
        let left: Vec<String> = places
            .iter()
            .map(|(partition, (next, end))| format!("{next} to {end} of partition {partition}"))
            .collect();
        self.refused(&format!(
            "the log says that it has {}, and brought nothing of it within {SILENT:?}; see that \
             the log is well and no other backfill of this stream runs, then give the same command \
             again",
            left.join(", ")
        ))
    }

    fn refused(&self, why: &str) -> BackfillError {
        let stream = self.part.stream.name.clone();
        BackfillError::Refused { stream, why: why.to_owned() }
    }
}

/// Goes to the places of those that are read here.
fn sought(
    log: &mut dyn Source,
    owned: &[u32],
    places: &BTreeMap<u32, (u64, u64)>,
) -> Result<(), SourceError> {
    let mine = places.iter().filter(|(partition, _)| owned.contains(partition));
    let from: Vec<(u32, u64)> = mine.map(|(partition, place)| (*partition, place.0)).collect();
    if from.is_empty() { Ok(()) } else { log.seek(&from) }
}

fn source<T>(done: Result<T, SourceError>) -> Result<T, BackfillError> {
    done.map_err(|error| IngestError::from(error).into())
}

//! The local log as a source: one partition, read by this process alone.

use super::{
    Bounds, LogEdges, PartitionInfo, Polled, Source, SourceError, SourceRecord, log_number,
};
use crate::ingest::progress::Bell;
use std::sync::Arc;
use trueup_store::{Log, LogRecord, Lot, StoreError, StreamInfo};

/// The partition that a local log's records are of: it has but one.
const PARTITION: u32 = 0;

/// A stream of a [`Log`], as its worker reads it. A ring of the bell ends a poll's wait, whether or
/// not there is a record.
#[derive(Debug)]
pub struct LogSource {
    log: Arc<Log>,
    stream: String,
    wake: Arc<Bell>,
    /// Rings of the bell that were heard.
    heard: u64,
    number: u32,
    /// Whether [`Polled::Owned`] has been said.
    told: bool,
    /// The offset of the next record; none before the first seek.
    next: Option<u64>,
}

impl LogSource {
    /// The stream in the log, which is made if it is not there. Whoever appends to it rings `wake`.
    ///
    /// # Errors
    /// What the log says.
    pub fn open(log: Arc<Log>, stream: &str, wake: Arc<Bell>) -> Result<LogSource, SourceError> {
        let stream = stream.to_owned();
        let mut source =
            LogSource { log, stream, wake, heard: 0, number: 0, told: false, next: None };
        if source.known()?.is_none() {
            let made = source.log.append(&source.stream, Lot::default());
            made.map_err(|error| source.failed(&error))?;
        }
        source.number = number_of(source.info()?.birth);
        Ok(source)
    }

    /// The number and the partitions of a stream's log, for one who does not read it: no
    /// partitions where nothing was ever put in, and nothing is made.
    ///
    /// # Errors
    /// What the log says.
    pub fn look(log: &Log, stream: &str) -> Result<LogEdges, SourceError> {
        let info = log.info(stream).map_err(|error| failed(stream, &error))?;
        let number = info.as_ref().map_or(0, |info| number_of(info.birth));
        Ok((number, info.iter().map(partition).collect()))
    }

    fn known(&self) -> Result<Option<StreamInfo>, SourceError> {
        self.log.info(&self.stream).map_err(|error| self.failed(&error))
    }

    fn info(&self) -> Result<StreamInfo, SourceError> {
        let gone = || self.refused("the stream is not in it", "Check the log's directory");
        self.known()?.ok_or_else(gone)
    }

    fn read(&self, from: u64, bounds: &Bounds) -> Result<Vec<SourceRecord>, SourceError> {
        let read = self.log.read(&self.stream, from, bounds.records, bounds.bytes);
        let records = read.map_err(|error| self.failed(&error))?;
        Ok(records.into_iter().map(record).collect())
    }

    fn check(&self, partition: u32) -> Result<(), SourceError> {
        if partition == PARTITION {
            return Ok(());
        }
        let detail = format!("there is no partition {partition}");
        Err(self.refused(&detail, "A local log has partition 0 alone"))
    }

    fn failed(&self, error: &StoreError) -> SourceError {
        failed(&self.stream, error)
    }

    fn refused(&self, detail: &str, remedy: &'static str) -> SourceError {
        refused(&self.stream, detail, remedy)
    }
}

fn failed(stream: &str, error: &StoreError) -> SourceError {
    let advice = error.advice();
    let said = error.to_string();
    // The store's sentence ends with its remedy, which has a place of its own here.
    let detail = said.strip_suffix(advice.remedy).unwrap_or(&said).trim_end_matches([' ', '.']);
    SourceError { retry: advice.retry, ..refused(stream, detail, advice.remedy) }
}

fn refused(stream: &str, detail: &str, remedy: &'static str) -> SourceError {
    let source = format!("log:{stream}");
    SourceError { source, detail: detail.to_owned(), retry: false, remedy }
}

fn partition(info: &StreamInfo) -> PartitionInfo {
    PartitionInfo { partition: PARTITION, first: info.first, end: info.end }
}

impl Source for LogSource {
    fn number(&self) -> u32 {
        self.number
    }

    fn roster(&mut self) -> Result<Vec<PartitionInfo>, SourceError> {
        Ok(vec![partition(&self.info()?)])
    }

    fn seek(&mut self, places: &[(u32, u64)]) -> Result<(), SourceError> {
        for &(partition, offset) in places {
            self.check(partition)?;
            self.next = Some(offset);
        }
        Ok(())
    }

    fn poll(&mut self, bounds: &Bounds) -> Result<Polled, SourceError> {
        if !self.told {
            self.told = true;
            return Ok(Polled::Owned(vec![PARTITION]));
        }
        let Some(next) = self.next else {
            self.wake.wait(&mut self.heard, bounds.wait);
            return Ok(Polled::Records(Vec::new()));
        };
        let mut records = self.read(next, bounds)?;
        if records.is_empty() {
            self.wake.wait(&mut self.heard, bounds.wait);
            records = self.read(next, bounds)?;
        }
        self.next = Some(records.last().map_or(next, |record| record.offset + 1));
        Ok(Polled::Records(records))
    }

    fn ends(&mut self, partitions: &[u32]) -> Result<Vec<u64>, SourceError> {
        let end = self.info()?.end;
        let end = |&partition: &u32| self.check(partition).map(|()| end);
        partitions.iter().map(end).collect()
    }

    fn first_time_us(&mut self, partition: u32) -> Result<Option<i64>, SourceError> {
        self.check(partition)?;
        let first = self.log.read(&self.stream, self.info()?.first, 1, 1);
        let first = first.map_err(|error| self.failed(&error))?;
        Ok(first.first().map(|record| record.time_us))
    }

    /// Nothing: a local log has no tools that ask.
    fn applied(&mut self, _places: &[(u32, u64)]) {}
}

fn record(record: LogRecord) -> SourceRecord {
    let LogRecord { offset, time_us, payload } = record;
    SourceRecord { partition: PARTITION, offset, time_us, payload }
}

/// The number that positions of a log of this birth carry.
fn number_of(birth: u64) -> u32 {
    log_number((birth >> 32) as u32 ^ birth as u32)
}

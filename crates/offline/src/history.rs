//! Histories: the events of a stream as the pipeline would have admitted them, and when each became
//! known.

use crate::dead::{DeadLetter, DeadLetters, FUTURE};
use crate::error::OfflineError;
use crate::progress::Watch;
use crate::source::{self, EventFile, Rows, place};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use std::path::Path;
use std::sync::Arc;
use trueup_sql::Stream;
use trueup_sql::decode::print::Timestamp;
use trueup_sql::decode::{Decoded, Decoder, Fault};

/// The events of one stream, in the order of its history.
///
/// An event is known from the time that the stream's `known_at` column gives or, where there is
/// none, from the time beside its batch (of a log); without either, events are known always. What
/// the pipeline would dead-letter is left out and counted: what does not decode, and what has an
/// event time further ahead of the time beside it (else of its `known_at`) than the stream's
/// `future`.
#[derive(Clone, Debug)]
pub struct History {
    stream: Arc<Stream>,
    parts: Vec<Part>,
    sources: Vec<Source>,
    dead: DeadLetters,
}

/// A file or another input of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's path, or what the caller named it.
    pub name: Arc<str>,
    /// Events that were taken from it.
    pub events: u64,
    /// Events of it that were left out.
    pub dead_letters: u64,
}

/// Events of one batch.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) batch: RecordBatch,
    /// When each became known, microseconds since 1970.
    pub(crate) known: Option<Vec<i64>>,
    pub(crate) origin: Origin,
}

/// Where the events of a part stood.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    source: Arc<str>,
    lines: bool,
    before: u64,
    /// The number of each row; `None` if they are 0, 1, 2 and so on.
    kept: Option<Vec<u32>>,
}

impl History {
    /// A history of `stream` without events.
    pub fn new(stream: Arc<Stream>) -> History {
        History { stream, parts: Vec::new(), sources: Vec::new(), dead: DeadLetters::default() }
    }

    /// The history of `stream` in a file that ends in .parquet, .csv, .json, .jsonl or .ndjson (the
    /// last three are JSON lines), or in a folder of such files, in the order of their names.
    ///
    /// # Errors
    /// [`OfflineError::File`] if a file cannot be read or its columns do not fit. Events that are
    /// bad are no error: see [`History::dead_letters`].
    pub fn read(
        stream: &Arc<Stream>,
        path: &Path,
        watch: Watch<'_>,
    ) -> Result<History, OfflineError> {
        let mut history = History::new(stream.clone());
        let decoder = Decoder::new(stream.clone());
        source::read(path, &decoder, watch, |rows| history.take(rows, None))?;
        Ok(history)
    }

    /// The same of files that are at hand, each called by its own name.
    ///
    /// # Errors
    /// As [`History::read`] has them.
    pub fn of_files(
        stream: &Arc<Stream>,
        files: &[EventFile],
        watch: Watch<'_>,
    ) -> Result<History, OfflineError> {
        let mut history = History::new(stream.clone());
        let decoder = Decoder::new(stream.clone());
        for file in files {
            file.read(&decoder, 0, watch, &mut |rows| history.take(rows, None))?;
        }
        Ok(history)
    }

    /// Adds what a decoder of this stream made of a batch of rows, behind what is there.
    ///
    /// `known_us` are the times that a log gave the rows, in microseconds since 1970: one for each
    /// row that the decoder was given, bad ones too. `source` names the input in reports; rows are
    /// numbered from `before`.
    ///
    /// # Errors
    /// [`OfflineError::Mismatch`] if the batch is not of this stream, times are missing, or some
    /// batches have times and others do not.
    pub fn push(
        &mut self,
        source: &str,
        before: u64,
        decoded: Decoded,
        known_us: Option<&[i64]>,
    ) -> Result<(), OfflineError> {
        let source: Arc<str> = match self.sources.last() {
            Some(last) if *last.name == *source => last.name.clone(),
            _ => source.into(),
        };
        self.take(Rows { source, decoded, lines: false, before }, known_us)
    }

    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// How many events there are, repeats counted.
    pub fn events(&self) -> usize {
        self.parts.iter().map(|part| part.batch.num_rows()).sum()
    }

    /// What it was read from, in order.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The events that were left out.
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.dead
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn take(&mut self, rows: Rows, known_us: Option<&[i64]>) -> Result<(), OfflineError> {
        let known = self.known(&rows.decoded, known_us)?;
        let Rows { source, decoded, lines, before } = rows;
        let mut letters: Vec<(usize, DeadLetter)> = decoded
            .bad
            .into_iter()
            .map(|bad| {
                let place = place(lines, before, bad.index);
                let (source, fault) = (source.clone(), bad.fault.name());
                (
                    bad.index,
                    DeadLetter { source, place, column: bad.column, fault, reason: bad.reason },
                )
            })
            .collect();
        let mut admitted = vec![true; decoded.batch.num_rows()];
        for (row, index) in decoded.kept.iter().enumerate() {
            let refusal = self.refusal(&decoded.batch, row, *index, &known, known_us);
            let Some((column, fault, reason)) = refusal else { continue };
            admitted[row] = false;
            let (source, place) = (source.clone(), place(lines, before, *index));
            letters.push((*index, DeadLetter { source, place, column, fault, reason }));
        }
        // Those of the decoder and those of admission, as they stood in the input.
        letters.sort_by_key(|(index, _)| *index);
        self.count(&source, admitted.iter().filter(|&&is| is).count(), letters.len());
        letters.into_iter().for_each(|(_, letter)| self.dead.push(letter));
        let mut kept = decoded.kept;
        let mut part = Part {
            batch: decoded.batch,
            known: known.map(|known| known.into_iter().map(Option::unwrap_or_default).collect()),
            origin: Origin { source, lines, before, kept: None },
        };
        if admitted.contains(&false) {
            part = part.only(&admitted)?;
            let mut is = admitted.iter();
            kept.retain(|_| is.next() == Some(&true));
        }
        if kept.iter().enumerate().any(|(at, &index)| at != index) {
            part.origin.kept = Some(kept.into_iter().map(|index| index as u32).collect());
        }
        if part.batch.num_rows() > 0 {
            self.parts.push(part);
        }
        Ok(())
    }

    /// When each row of a batch became known; `None` within for those of which nobody says.
    fn known(
        &self,
        decoded: &Decoded,
        beside: Option<&[i64]>,
    ) -> Result<Option<Vec<Option<i64>>>, OfflineError> {
        let stream = &self.stream;
        let mismatch = |reason: &str| OfflineError::mismatch(&stream.name, reason);
        if decoded.batch.schema_ref() != &stream.schema {
            return Err(mismatch(
                "a batch of another schema; decode it with this stream's decoder",
            ));
        }
        let rows = decoded.kept.len() + decoded.bad.len();
        if beside.is_some_and(|beside| beside.len() < rows) {
            return Err(mismatch("fewer times beside a batch than rows; give one for each"));
        }
        let beside = |row: usize| Some(beside?[decoded.kept[row]]);
        let known: Option<Vec<Option<i64>>> = match stream.known_at {
            Some(column) => {
                let times = times(&decoded.batch, column);
                let of = |row| times.is_valid(row).then(|| times.value(row));
                Some((0..decoded.kept.len()).map(|row| of(row).or_else(|| beside(row))).collect())
            }
            None => (0..decoded.kept.len()).map(|row| Some(Some(beside(row)?))).collect(),
        };
        let others = self.parts.first().map(|part| part.known.is_some());
        let known = known.filter(|known| !known.is_empty());
        match others {
            Some(others) if others != known.is_some() && !decoded.kept.is_empty() => Err(mismatch(
                "some batches have times beside them and others not; give all or none",
            )),
            _ => Ok(known),
        }
    }

    /// Why the pipeline would not admit a row that decodes.
    fn refusal(
        &self,
        batch: &RecordBatch,
        row: usize,
        index: usize,
        known: &Option<Vec<Option<i64>>>,
        beside: Option<&[i64]>,
    ) -> Option<(Option<String>, &'static str, String)> {
        let name = |column: usize| self.stream.columns[column].name.clone();
        let known = known.as_ref()?;
        let Some(known) = known[row] else {
            let reason = "the history does not say when the event became known; give known_at";
            return Some((self.stream.known_at.map(name), Fault::Null.name(), reason.to_string()));
        };
        let known = beside.map_or(known, |beside| beside[index]);
        let time = times(batch, self.stream.event_time).value(row);
        let latest = known.saturating_add(self.stream.future_us);
        (time > latest).then(|| {
            let ahead = Timestamp(time);
            let reason = format!(
                "the event time {ahead} is more than {} s ahead of {}, when the event became known",
                self.stream.future_us as f64 / 1e6,
                Timestamp(known),
            );
            (Some(name(self.stream.event_time)), FUTURE, reason)
        })
    }

    fn count(&mut self, source: &Arc<str>, events: usize, dead: usize) {
        if self.sources.last().is_none_or(|last| last.name != *source) {
            self.sources.push(Source { name: source.clone(), events: 0, dead_letters: 0 });
        }
        if let Some(last) = self.sources.last_mut() {
            last.events += events as u64;
            last.dead_letters += dead as u64;
        }
    }
}

impl Part {
    /// The events for which `is` holds.
    fn only(self, is: &[bool]) -> Result<Part, OfflineError> {
        fn keep<T>(all: Vec<T>, is: &[bool]) -> Vec<T> {
            all.into_iter().zip(is).filter(|(_, is)| **is).map(|(one, _)| one).collect()
        }
        let mask = BooleanArray::from(is.to_vec());
        let batch = filter_record_batch(&self.batch, &mask).map_err(OfflineError::expression)?;
        let known = self.known.map(|known| keep(known, is));
        let rows = self.batch.num_rows() as u32;
        let kept = self.origin.kept.unwrap_or_else(|| (0..rows).collect());
        let origin = Origin { kept: Some(keep(kept, is)), ..self.origin };
        Ok(Part { batch, known, origin })
    }
}

impl Origin {
    /// The dead letter of the event at `row` of the part.
    pub(crate) fn letter(&self, row: usize, fault: &'static str, reason: String) -> DeadLetter {
        let index = self.kept.as_ref().map_or(row, |kept| kept[row] as usize);
        let place = place(self.lines, self.before, index);
        DeadLetter { source: self.source.clone(), place, column: None, fault, reason }
    }
}

fn times(
    batch: &RecordBatch,
    column: usize,
) -> &arrow::array::PrimitiveArray<TimestampMicrosecondType> {
    batch.column(column).as_primitive::<TimestampMicrosecondType>()
}

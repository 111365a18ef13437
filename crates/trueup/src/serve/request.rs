//! What is asked: decoded rows, or keys at an instant.

use crate::catalog::StreamPart;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use std::sync::Arc;
use trueup_core::Micros;
use trueup_sql::decode::{BadEvent, DecodeError, Fault};
use trueup_store::Detail;

/// How the rows of a request are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each is an event that is answered as if it were appended to the stream.
    Rows,
    /// Each gives keys only; no row is appended. For each row, the columns that it gives.
    Lookup(Vec<Vec<usize>>),
}

/// A decoded request.
#[derive(Clone, Debug)]
pub struct Request {
    /// How the rows are meant.
    pub mode: Mode,
    /// The stream's columns; what a row does not give is NULL.
    pub rows: RecordBatch,
    /// When each row's frames are evaluated, microseconds since 1970.
    pub at: Vec<i64>,
    /// Which rows had no event time of their own and got the server's clock.
    pub clocked: Vec<bool>,
    /// Whether the answer is to say at which positions of the log it stands.
    pub detail: Detail,
    /// Whether it is to say what each frame held.
    pub receipts: bool,
}

/// Why a request cannot be answered: one row of it, with the column and the remedy.
#[derive(Debug)]
pub enum BadRequest {
    /// A row is not one of the stream.
    Row(BadEvent),
    /// The rows cannot be decoded at all.
    Decode(DecodeError),
}

impl Request {
    /// Rows of the stream, each one JSON object. A row without an event time gets `now`.
    ///
    /// # Errors
    /// The first row that the decoding table refuses.
    pub fn rows(part: &StreamPart, rows: &[&[u8]], now: Micros) -> Result<Request, BadRequest> {
        let decoded = part.row_decoder.json_rows(rows).map_err(BadRequest::Decode)?;
        if let Some(bad) = decoded.bad.into_iter().next() {
            return Err(BadRequest::Row(bad));
        }
        short_keys(part, &decoded.batch)?;
        let time = part.stream.event_time;
        let times = decoded.batch.column(time).as_primitive::<TimestampMicrosecondType>();
        let clocked: Vec<bool> = (0..times.len()).map(|row| times.is_null(row)).collect();
        let at: Vec<i64> = (0..times.len())
            .map(|row| if clocked[row] { now.0 } else { times.value(row) })
            .collect();
        let rows = match clocked.contains(&true) {
            false => decoded.batch,
            true => with_times(&decoded.batch, time, &at).map_err(BadRequest::Decode)?,
        };
        let (mode, detail) = (Mode::Rows, Detail::Summary);
        Ok(Request { mode, rows, at, clocked, detail, receipts: false })
    }

    /// Keys, each one JSON object of key columns and values; `given` names the columns of each.
    ///
    /// # Errors
    /// The first value that the decoding table refuses.
    pub fn keys(
        part: &StreamPart,
        keys: &[&[u8]],
        given: Vec<Vec<usize>>,
        at: Micros,
    ) -> Result<Request, BadRequest> {
        let decoded = part.key_decoder.json_rows(keys).map_err(BadRequest::Decode)?;
        if let Some(bad) = decoded.bad.into_iter().next() {
            return Err(BadRequest::Row(bad));
        }
        short_keys(part, &decoded.batch)?;
        let count = decoded.batch.num_rows();
        let (at, clocked) = (vec![at.0; count], vec![false; count]);
        let (mode, detail) = (Mode::Lookup(given), Detail::Summary);
        Ok(Request { mode, rows: decoded.batch, at, clocked, detail, receipts: false })
    }

    /// Whether row `row` gives a value for this column of the stream.
    pub(super) fn gives(&self, row: usize, column: usize) -> bool {
        match &self.mode {
            Mode::Rows => true,
            Mode::Lookup(given) => given[row].contains(&column),
        }
    }

    pub(super) fn is_lookup(&self) -> bool {
        matches!(self.mode, Mode::Lookup(_))
    }
}

/// Refuses keys that no store takes, before anything is read for them.
fn short_keys(part: &StreamPart, rows: &RecordBatch) -> Result<(), BadRequest> {
    let long = |row| Some((row, part.long_key(rows, row)?));
    match (0..rows.num_rows()).find_map(long) {
        None => Ok(()),
        Some((index, (column, reason))) => Err(BadRequest::Row(BadEvent {
            index,
            column: Some(column.to_string()),
            fault: Fault::Size,
            reason,
            row: Vec::new(),
        })),
    }
}

fn with_times(batch: &RecordBatch, time: usize, at: &[i64]) -> Result<RecordBatch, DecodeError> {
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns[time] = Arc::new(TimestampMicrosecondArray::from(at.to_vec()));
    RecordBatch::try_new(batch.schema(), columns).map_err(DecodeError::Batch)
}

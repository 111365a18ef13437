//! Request rows: rows whose features are wanted although they need not be events of the history.

use crate::error::OfflineError;
use crate::progress::Watch;
use crate::source;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use std::path::Path;
use std::sync::Arc;
use trueup_sql::decode::Decoder;
use trueup_sql::{Column, ColumnType, Stream};

/// The column of request rows that says what each of them knows.
pub const AS_OF: &str = "as_of";

/// Rows that ask, in the columns of a view's stream, and what each of them knows.
#[derive(Clone, Debug)]
pub struct RequestRows {
    pub(crate) batches: Vec<RecordBatch>,
    /// For each row, what was known by then counts; microseconds since 1970.
    pub(crate) as_of: Vec<i64>,
    pub(crate) sources: Vec<Arc<str>>,
}

impl RequestRows {
    /// No rows.
    pub fn new() -> RequestRows {
        RequestRows { batches: Vec::new(), as_of: Vec::new(), sources: Vec::new() }
    }

    /// Reads rows of `stream` from files as [`History::read`](crate::History::read) does.
    ///
    /// A row's `as_of` is the value of its column [`AS_OF`], else of the stream's `known_at`; a row
    /// that has neither knows everything.
    ///
    /// # Errors
    /// [`OfflineError::File`] if a file cannot be read, [`OfflineError::BadRow`] for a row that the
    /// decoding table refuses: a row that was asked for is never left out in silence.
    pub fn read(
        stream: &Arc<Stream>,
        path: &Path,
        watch: Watch<'_>,
    ) -> Result<RequestRows, OfflineError> {
        let asking = Arc::new(with_as_of(stream)?);
        let as_of = asking.column(AS_OF);
        let decoder = Decoder::new(asking).allow_null(stream.known_at);
        let mut all = RequestRows::new();
        source::read(path, &decoder, watch, |rows| {
            if let Some(bad) = rows.decoded.bad.first() {
                let column = bad.column.as_ref().map(|name| format!("column {name}: "));
                return Err(OfflineError::BadRow {
                    source: rows.source.to_string(),
                    place: rows.place(bad.index),
                    reason: format!("{}{}", column.unwrap_or_default(), bad.reason),
                });
            }
            if all.sources.last().is_none_or(|last| *last != rows.source) {
                all.sources.push(rows.source.clone());
            }
            let batch = rows.decoded.batch;
            let known = [as_of, stream.known_at].into_iter().flatten().collect::<Vec<_>>();
            all.as_of.extend((0..batch.num_rows()).map(|row| first_time(&batch, &known, row)));
            let own: Vec<usize> = (0..stream.columns.len()).collect();
            all.batches.push(batch.project(&own).map_err(OfflineError::expression)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Adds decoded rows. `as_of_us` has one entry for each, microseconds since 1970; without it a
    /// row's `as_of` is its `known_at`, and a row that has none knows everything.
    ///
    /// # Errors
    /// [`OfflineError::Mismatch`] if the batch is not of this stream or times are missing.
    pub fn push(
        &mut self,
        stream: &Stream,
        batch: RecordBatch,
        as_of_us: Option<&[i64]>,
    ) -> Result<(), OfflineError> {
        let types = |batch: &arrow::datatypes::Schema| -> Vec<_> {
            batch.fields().iter().map(|field| field.data_type().clone()).collect()
        };
        if types(batch.schema_ref()) != types(&stream.schema) {
            let reason = "request rows of another schema; decode them with this stream's decoder";
            return Err(OfflineError::mismatch(&stream.name, reason));
        }
        match as_of_us {
            Some(as_of) if as_of.len() == batch.num_rows() => self.as_of.extend(as_of),
            Some(_) => {
                let reason = "not one as_of for each request row";
                return Err(OfflineError::mismatch(&stream.name, reason));
            }
            None => {
                let known: Vec<usize> = stream.known_at.into_iter().collect();
                let rows = 0..batch.num_rows();
                self.as_of.extend(rows.map(|row| first_time(&batch, &known, row)));
            }
        }
        self.batches.push(batch);
        Ok(())
    }
}

impl Default for RequestRows {
    fn default() -> RequestRows {
        RequestRows::new()
    }
}

/// The stream with a column [`AS_OF`], unless it declares one itself.
fn with_as_of(stream: &Stream) -> Result<Stream, OfflineError> {
    let mut asking = stream.clone();
    match stream.column(AS_OF).map(|column| stream.columns[column].ty) {
        Some(ColumnType::Timestamp) => {}
        Some(ty) => {
            let reason = format!("its column {AS_OF} is {ty}; for request rows it is a TIMESTAMP");
            return Err(OfflineError::mismatch(&stream.name, reason));
        }
        None => {
            let ty = ColumnType::Timestamp;
            asking.columns.push(Column { name: AS_OF.to_string(), ty, not_null: false });
            asking.schema = Stream::schema_of(&asking.columns);
        }
    }
    Ok(asking)
}

/// The first of these times of a row that is not NULL.
fn first_time(batch: &RecordBatch, columns: &[usize], row: usize) -> i64 {
    let at = |&column: &usize| {
        let times = batch.column(column).as_primitive::<TimestampMicrosecondType>();
        times.is_valid(row).then(|| times.value(row))
    };
    columns.iter().find_map(at).unwrap_or(i64::MAX)
}

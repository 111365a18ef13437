//! Histories: the events of a stream, as one batch in the stream's own schema.

use crate::error::OfflineError;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Float64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::Path;
use trueup_sql::Stream;

/// Rows a read at a time: large enough for columns to pay, small enough to stay in cache.
const BATCH_ROWS: usize = 65_536;

/// The events of one stream, in the order of the history.
#[derive(Clone, Debug)]
pub struct History {
    /// The name of the stream.
    pub stream: String,
    /// Its events, with the stream's schema.
    pub events: RecordBatch,
}

/// Reads a stream's history from a Parquet file; columns are found by name, others are left alone.
///
/// # Errors
/// [`OfflineError::File`] if the file cannot be read, [`OfflineError::Mismatch`] if a column is missing or of another
/// type, [`OfflineError::BadEvent`] for NULL in a NOT NULL column and for doubles that are not finite.
pub fn read_parquet(path: &Path, stream: &Stream) -> Result<History, OfflineError> {
    let failed = |reason: String| OfflineError::File { path: path.display().to_string(), reason };
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| failed(e.to_string()))?;
    let schema = builder.parquet_schema();
    let wanted = |name: &str| stream.column(name).is_some();
    let columns: Vec<usize> =
        (0..schema.num_columns()).filter(|&i| wanted(schema.column(i).name())).collect();
    let mask = ProjectionMask::leaves(schema, columns);
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
    let mut batches = Vec::new();
    for batch in reader.map_err(|e| failed(e.to_string()))? {
        let batch = batch.map_err(|e| failed(e.to_string()))?;
        let before = batches.iter().map(RecordBatch::num_rows).sum();
        batches.push(conform(&batch, stream, before)?);
    }
    let events = concat_batches(&stream.schema, &batches).map_err(|e| failed(e.to_string()))?;
    Ok(History { stream: stream.name.clone(), events })
}

/// A batch in the stream's schema; rows are numbered from `before`.
fn conform(
    batch: &RecordBatch,
    stream: &Stream,
    before: usize,
) -> Result<RecordBatch, OfflineError> {
    let mismatch = |reason: String| OfflineError::Mismatch { stream: stream.name.clone(), reason };
    let mut columns = Vec::with_capacity(stream.columns.len());
    for (at, column) in stream.columns.iter().enumerate() {
        let Some(found) = batch.column_by_name(&column.name) else {
            let reason = format!("column {} is missing; name it so in the file", column.name);
            return Err(mismatch(reason));
        };
        let array = cast(found, stream.schema.field(at).data_type()).map_err(|reason| {
            mismatch(format!("column {} is declared {}: {reason}", column.name, column.ty))
        })?;
        let bad = |row: usize, reason: &str| OfflineError::BadEvent {
            stream: stream.name.clone(),
            row: before + row,
            reason: format!("{} is {reason}", column.name),
        };
        if column.not_null && array.null_count() > 0 {
            let row = (0..array.len()).find(|&row| array.is_null(row)).unwrap_or(0);
            return Err(bad(row, "NULL, and declared NOT NULL"));
        }
        if *array.data_type() == DataType::Float64 {
            let doubles = array.as_primitive::<Float64Type>();
            let finite = |row: &usize| doubles.is_null(*row) || doubles.value(*row).is_finite();
            if let Some(row) = (0..doubles.len()).find(|row| !finite(row)) {
                return Err(bad(row, "not finite"));
            }
        }
        columns.push(array);
    }
    RecordBatch::try_new(stream.schema.clone(), columns).map_err(|e| mismatch(e.to_string()))
}

fn cast(array: &ArrayRef, ty: &DataType) -> Result<ArrayRef, String> {
    if array.data_type() == ty {
        return Ok(array.clone());
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, ty, &strict).map_err(|e| e.to_string())
}

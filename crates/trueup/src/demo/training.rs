//! The training rows of the transactions that were asked for, as a person would get them: from files
//! of history and of request rows.

use super::scene::Files;
use crate::cli::Failure;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use trueup_offline::{Options, read_parquet, train};
use trueup_sql::{Definitions, View};

/// One row of the view for each request row, in their order.
pub(super) fn rows(
    definitions: &Definitions,
    view: &View,
    files: &Files,
) -> Result<RecordBatch, Failure> {
    let stream = &definitions.streams[view.stream];
    let history = read_parquet(&files.history, stream)?;
    let rows = read_parquet(&files.requests, stream)?.events;
    let trained = train(definitions, &view.name, &[history], &Options { rows: Some(rows) })?;
    Ok(concat_batches(&trained.schema, &trained.batches)?)
}

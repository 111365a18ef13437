//! The training rows of the transactions that were asked for, as a person would get them: from
//! files of history and of request rows.

use super::scene::Files;
use crate::cli::Failure;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use trueup_offline::{History, Options, RequestRows, UNWATCHED, train};
use trueup_sql::{Definitions, View};

/// One row of the view for each request row, in their order.
pub(super) fn rows(
    definitions: &Definitions,
    view: &View,
    files: &Files,
) -> Result<RecordBatch, Failure> {
    let stream = &definitions.streams[view.stream];
    let history = History::read(stream, &files.history, UNWATCHED)?;
    let rows = RequestRows::read(stream, &files.requests, UNWATCHED)?;
    let options = Options { rows: Some(&rows), ..Options::default() };
    let histories = [history];
    let set = train(definitions, &view.name, &histories, &options)?;
    let batches = set.batches().map(|batch| batch.map(|batch| batch.columns));
    let batches = batches.collect::<Result<Vec<RecordBatch>, _>>()?;
    let schema = batches.first().ok_or("error: no row was trained")?.schema();
    Ok(concat_batches(&schema, &batches)?)
}

//! Training sets for tests that hold served rows against them.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use std::sync::Arc;
use trueup_offline as offline;
use trueup_sql::Definitions;
use trueup_sql::decode::Decoder;

/// The training set of a view over the history of its stream, for these rows or else for the
/// history's own; every event is a good one.
pub(crate) fn train(
    definitions: &Definitions,
    view: &str,
    history: RecordBatch,
    rows: Option<RecordBatch>,
) -> RecordBatch {
    let stream = &definitions.streams[definitions.view(view).unwrap().stream];
    let decoded = Decoder::new(Arc::clone(stream)).arrow(&history).unwrap();
    let mut history = offline::History::new(Arc::clone(stream));
    history.push("events", 0, decoded, None).unwrap();
    let rows = rows.map(|batch| {
        let mut rows = offline::RequestRows::new();
        rows.push(stream, batch, None).unwrap();
        rows
    });
    let options = offline::Options { rows: rows.as_ref(), ..offline::Options::default() };
    let histories = [history];
    let trained = offline::train(definitions, view, &histories, &options);
    let trained = trained.unwrap_or_else(|error| panic!("{error}"));
    let counts = trained.counts();
    assert_eq!((counts.dead_letters.total(), counts.repeats), (0, 0));
    let batches: Vec<RecordBatch> = trained.batches().map(|batch| batch.unwrap().columns).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

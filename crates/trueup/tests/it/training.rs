//! Training sets for tests that hold served rows against them.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use trueup_offline as offline;
use trueup_sql::Definitions;

/// The training set of a view over the history of its stream, for these rows or else for the
/// history's own; every event is a good one.
pub(crate) fn train(
    definitions: &Definitions,
    view: &str,
    history: RecordBatch,
    rows: Option<RecordBatch>,
) -> RecordBatch {
    let stream = definitions.streams[definitions.view(view).unwrap().stream].name.clone();
    let histories = [offline::History { stream, events: history }];
    let options = offline::Options { rows };
    let trained = offline::train(definitions, view, &histories, &options);
    let trained = trained.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((trained.dead_letters, trained.repeats), (0, 0));
    concat_batches(&trained.schema, &trained.batches).unwrap()
}

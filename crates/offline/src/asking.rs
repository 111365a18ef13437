//! The rows of a training set: events of the history, or request rows.

use crate::error::OfflineError;
use crate::past::{Ids, Past, take};
use crate::request::RequestRows;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use trueup_core::Value;
use trueup_sql::bridge::value_at;
use trueup_sql::{EvalError, Stream, View};

/// Rows that ask, numbered in their order.
pub(crate) struct Asking {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) times: Vec<i64>,
    /// For each row, when what it knows was known; `None`: it knows everything.
    pub(crate) as_of: Option<Vec<i64>>,
    pub(crate) origin: Origin,
    /// Rows that the view's WHERE left out.
    pub(crate) not_in_view: usize,
    /// Rows for which the view's WHERE has no value, ascending, and why. They are rows, since
    /// nothing says that they are none, and nothing of them can be known.
    pub(crate) unjudged: Vec<(usize, EvalError)>,
}

/// What the rows are.
pub(crate) enum Origin {
    /// These events of the history; all of them in order if `None`.
    History(Option<Vec<u32>>),
    /// Rows of their own, with these ids.
    Request(Ids),
}

impl Asking {
    /// One row for each id of the history, as of when its event became known.
    pub(crate) fn history(view: &View, past: &Past) -> Result<Asking, OfflineError> {
        let winners = past.winners();
        let mut wins = vec![winners.is_none(); past.len()];
        winners.iter().flatten().for_each(|&row| wins[row as usize] = true);
        let candidates = winners.as_ref().map_or(past.len(), Vec::len);
        let InView { batches, kept, unjudged } = in_view(view, &past.batches, &wins)?;
        let as_of = past.known.as_ref();
        let as_of = as_of.map(|known| kept.iter().map(|&row| known[row as usize]).collect());
        Ok(Asking {
            times: kept.iter().map(|&row| past.times[row as usize]).collect(),
            not_in_view: candidates - kept.len(),
            origin: Origin::History((kept.len() < past.len()).then_some(kept)),
            batches,
            as_of,
            unjudged,
        })
    }

    /// Request rows, in their order.
    pub(crate) fn request(
        view: &View,
        stream: &Stream,
        rows: &RequestRows,
    ) -> Result<Asking, OfflineError> {
        let all = vec![true; rows.as_of.len()];
        let InView { batches, kept, unjudged } = in_view(view, &rows.batches, &all)?;
        let mut times = Vec::with_capacity(kept.len());
        for batch in &batches {
            let column = batch.column(stream.event_time);
            times.extend_from_slice(column.as_primitive::<TimestampMicrosecondType>().values());
        }
        Ok(Asking {
            times,
            as_of: Some(kept.iter().map(|&row| rows.as_of[row as usize]).collect()),
            origin: Origin::Request(Ids::new(&batches, stream.id)),
            batches,
            not_in_view: rows.as_of.len() - kept.len(),
            unjudged,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn as_of(&self, row: u32) -> i64 {
        self.as_of.as_ref().map_or(i64::MAX, |as_of| as_of[row as usize])
    }

    /// The event of the history that a row is.
    pub(crate) fn event(&self, row: u32) -> Option<u32> {
        match &self.origin {
            Origin::History(None) => Some(row),
            Origin::History(Some(events)) => Some(events[row as usize]),
            Origin::Request(_) => None,
        }
    }
}

/// The rows of a view.
struct InView {
    batches: Vec<RecordBatch>,
    /// Their numbers among all.
    kept: Vec<u32>,
    /// Those that may be in the view or not, by their places in `kept`, and why.
    unjudged: Vec<(usize, EvalError)>,
}

/// Those of the `wanted` rows that the view's WHERE does not leave out.
fn in_view(view: &View, batches: &[RecordBatch], wanted: &[bool]) -> Result<InView, OfflineError> {
    let mut out = InView { batches: Vec::new(), kept: Vec::new(), unjudged: Vec::new() };
    let mut before = 0;
    for batch in batches {
        let rows: Vec<usize> = (0..batch.num_rows()).filter(|row| wanted[before + row]).collect();
        let mut part = take(batch, &rows)?;
        let mut numbers: Vec<u32> = rows.iter().map(|&row| (before + row) as u32).collect();
        if let Some(filter) = &view.filter {
            let (truth, failed) = filter.evaluate_each(&part);
            let mut failed = failed.into_iter().peekable();
            let mut stay = Vec::new();
            for at in 0..numbers.len() {
                if let Some((_, error)) = failed.next_if(|(place, _)| *place == at) {
                    out.unjudged.push((out.kept.len() + stay.len(), error));
                } else if value_at(&truth, at) != Value::Bool(true) {
                    continue;
                }
                stay.push(at);
            }
            part = take(&part, &stay)?;
            numbers = stay.into_iter().map(|at| numbers[at]).collect();
        }
        if part.num_rows() > 0 {
            out.batches.push(part);
        }
        out.kept.append(&mut numbers);
        before += batch.num_rows();
    }
    Ok(out)
}

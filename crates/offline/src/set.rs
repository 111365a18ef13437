//! A training set: rows and their features in memory, the select list evaluated a batch at a time.

use crate::asking::Asking;
use crate::error::OfflineError;
use crate::feature::Answers;
use crate::progress::Watch;
use crate::train::{Counts, Options, Sources};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, nullif};
use arrow::datatypes::{Field, Schema, SchemaRef};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use trueup_core::Unknown;
use trueup_sql::decode::print;
use trueup_sql::{EvalError, View};

/// Rows of a batch at most: bounds what evaluating the select list holds at once.
pub const BATCH_ROWS: usize = 65_536;

/// The rows of a view, ready to be written or looked at.
pub struct TrainingSet<'a> {
    pub(crate) view: &'a View,
    schema: SchemaRef,
    /// Of the batches that the select list is evaluated on. Unlike the view's own it lets request
    /// rows lack what the server would fill in.
    rows: Vec<RecordBatch>,
    answers: Vec<Answers>,
    /// Rows that may be in the view or not, ascending, and why.
    unjudged: Vec<(usize, EvalError)>,
    counts: Counts,
    pub(crate) sources: Sources,
    pub(crate) threads: NonZeroUsize,
    pub(crate) watch: Watch<'a>,
}

/// Some rows of a training set.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The view's columns.
    pub columns: RecordBatch,
    /// Cells that are NULL because their value cannot be known.
    pub unknown: Vec<UnknownCell>,
}

/// A cell that is NULL because its value cannot be known: a server would say `UNKNOWN`.
#[derive(Clone, Debug, PartialEq)]
pub struct UnknownCell {
    /// The row, from 0 at the first of the training set.
    pub row: usize,
    /// The column, by its place in the view.
    pub column: usize,
    /// Why.
    pub reason: Reason,
}

/// Why a value cannot be known.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// A window has no value that can be trusted, and the column uses it.
    Feature(Unknown),
    /// The column's expression has no value for the row: the sentence says which, and why.
    Expression(String),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Feature(why) => write!(f, "{}", print::Reason(*why)),
            Reason::Expression(why) => f.write_str(why),
        }
    }
}

impl<'a> TrainingSet<'a> {
    pub(crate) fn new(
        view: &'a View,
        asking: Asking,
        answers: Vec<Answers>,
        counts: Counts,
        sources: Sources,
        options: &Options<'a>,
    ) -> TrainingSet<'a> {
        let fields = view.outputs.iter().map(|o| Field::new(&o.name, o.ty.clone(), true));
        TrainingSet {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            view,
            rows: asking.batches,
            answers,
            unjudged: asking.unjudged,
            counts,
            sources,
            threads: options.threads,
            watch: options.watch,
        }
    }

    /// The view's columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What went into it.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The rows in their order (of the history, or of the request rows), at most [`BATCH_ROWS`] at
    /// a time.
    pub fn batches(&self) -> impl Iterator<Item = Result<Batch, OfflineError>> + '_ {
        let mut before = 0;
        let slices = self.rows.iter().flat_map(|rows| {
            let starts = (0..rows.num_rows()).step_by(BATCH_ROWS);
            starts.map(|start| rows.slice(start, BATCH_ROWS.min(rows.num_rows() - start)))
        });
        slices.map(move |rows| {
            let range = before..before + rows.num_rows();
            before = range.end;
            self.batch(&rows, range)
        })
    }

    /// All rows at once, and all unknown cells.
    ///
    /// # Errors
    /// As [`TrainingSet::batches`].
    pub fn table(&self) -> Result<Batch, OfflineError> {
        let batches = self.batches().collect::<Result<Vec<Batch>, _>>()?;
        let columns = concat_batches(&self.schema, batches.iter().map(|batch| &batch.columns))
            .map_err(OfflineError::expression)?;
        let unknown = batches.into_iter().flat_map(|batch| batch.unknown).collect();
        Ok(Batch { columns, unknown })
    }

    fn batch(&self, rows: &RecordBatch, range: Range<usize>) -> Result<Batch, OfflineError> {
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        for answers in &self.answers {
            columns.extend(answers.columns(range.clone())?);
        }
        let wide = RecordBatch::try_new(self.view.loose_schema.clone(), columns)
            .map_err(OfflineError::expression)?;
        let (mut out, mut unknown) = (Vec::with_capacity(self.view.outputs.len()), Vec::new());
        for (column, output) in self.view.outputs.iter().enumerate() {
            let (mut array, failed) = output.expr.evaluate_each(&wide);
            let failed =
                failed.into_iter().map(|(at, error)| (at, Reason::Expression(error.to_string())));
            let mut cells: Vec<(usize, Reason)> = failed.collect();
            for &feature in &output.features {
                let of = self.unknown(feature, range.clone()).iter();
                cells.extend(of.map(|(row, why)| (*row as usize - range.start, why.clone())));
            }
            let of = |(row, error): &(usize, EvalError)| {
                (row - range.start, Reason::Expression(error.to_string()))
            };
            cells.extend(self.unjudged(&range).iter().map(of));
            if !cells.is_empty() {
                // An expression may give a value although what it uses is unknown; it is not one.
                cells.sort_by_key(|(at, reason)| (*at, matches!(reason, Reason::Expression(_))));
                cells.dedup_by_key(|(at, _)| *at);
                array = without(&array, cells.iter().map(|(at, _)| *at))?;
            }
            unknown.extend(cells.into_iter().map(|(at, reason)| UnknownCell {
                row: range.start + at,
                column,
                reason,
            }));
            out.push(array);
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(range.len()));
        let columns = RecordBatch::try_new_with_options(self.schema.clone(), out, &options)
            .map_err(OfflineError::expression)?;
        Ok(Batch { columns, unknown })
    }

    fn unjudged(&self, rows: &Range<usize>) -> &[(usize, EvalError)] {
        let place = |row: usize| self.unjudged.partition_point(|(other, _)| *other < row);
        &self.unjudged[place(rows.start)..place(rows.end)]
    }

    fn unknown(&self, feature: usize, rows: Range<usize>) -> &[(u32, Reason)] {
        match self.view.feature(feature) {
            Some((lookup, place)) => self.answers[lookup].unknown(place, rows),
            None => &[],
        }
    }
}

/// The array with NULL at these places.
fn without(array: &ArrayRef, at: impl Iterator<Item = usize>) -> Result<ArrayRef, OfflineError> {
    let mut gone = vec![false; array.len()];
    at.for_each(|at| gone[at] = true);
    nullif(array, &BooleanArray::from(gone)).map_err(OfflineError::expression)
}

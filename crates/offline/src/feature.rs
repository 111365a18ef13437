//! The features of all rows: every look-up answered by key, and the answers put back to their rows.

use crate::column::{FeatureColumn, Piece, cut};
use crate::error::OfflineError;
use crate::lookup::Work;
use crate::parallel;
use crate::progress::Meter;
use crate::set::Reason;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Mutex;
use trueup_core::Value;

/// Rows that one task answers, unless a key has more: enough to make its overhead small, few enough
/// for threads to end together.
const ROWS_OF_A_TASK: usize = 8_192;

/// The answers of one look-up: its features in the order of keys, and where each row's are.
pub(crate) struct Answers {
    features: Vec<Feature>,
    /// For each row, its place in the features.
    places: Vec<u32>,
}

struct Feature {
    values: ArrayRef,
    /// Rows without a value that can be trusted, ascending, and why.
    unknown: Vec<(u32, Reason)>,
}

/// Some keys, and where their answers go.
struct Task<'a> {
    keys: Range<usize>,
    /// The row of each answer.
    rows: &'a mut [u32],
    features: Vec<Piece<'a>>,
    /// Feature, row, why.
    unknown: Vec<(usize, u32, Reason)>,
}

impl Answers {
    /// Answers a look-up for all its rows. `types` are those of its features.
    pub(crate) fn of(
        work: &Work<'_>,
        types: &[DataType],
        threads: NonZeroUsize,
        meter: &Meter<'_>,
    ) -> Answers {
        let keys = ranges(work);
        let rows_of = |keys: &Range<usize>| keys.clone().map(|key| work.asked(key)).sum::<usize>();
        let lengths: Vec<usize> = keys.iter().map(rows_of).collect();
        let total = lengths.iter().sum();
        let mut order = vec![0; total];
        let mut columns: Vec<FeatureColumn> =
            types.iter().map(|ty| FeatureColumn::new(ty, total)).collect();
        let mut pieces: Vec<_> =
            columns.iter_mut().map(|column| column.pieces(&lengths).into_iter()).collect();
        let tasks = keys.into_iter().zip(cut(&mut order, &lengths)).map(|(keys, rows)| {
            let features = pieces.iter_mut().filter_map(Iterator::next).collect();
            Mutex::new(Task { keys, rows, features, unknown: Vec::new() })
        });
        let tasks: Vec<Mutex<Task<'_>>> = tasks.collect();
        parallel::map(threads, &tasks, |task| {
            let mut task = task.lock().unwrap_or_else(|e| e.into_inner());
            task.run(work);
            meter.add(task.rows.len() as u64);
        });
        let mut unknown: Vec<Vec<(u32, Reason)>> = types.iter().map(|_| Vec::new()).collect();
        for task in tasks {
            for (feature, row, why) in task.into_inner().unwrap_or_else(|e| e.into_inner()).unknown
            {
                unknown[feature].push((row, why));
            }
        }
        unknown.iter_mut().for_each(|rows| rows.sort_by_key(|(row, _)| *row));
        let mut places = vec![0; total];
        order.iter().enumerate().for_each(|(at, &row)| places[row as usize] = at as u32);
        let features = columns.into_iter().zip(unknown);
        let features = features.map(|(c, unknown)| Feature { values: c.finish(), unknown });
        Answers { features: features.collect(), places }
    }

    /// The features of some rows, a column for each.
    pub(crate) fn columns(&self, rows: Range<usize>) -> Result<Vec<ArrayRef>, OfflineError> {
        let places = UInt32Array::from(self.places[rows].to_vec());
        let column = |feature: &Feature| take(&feature.values, &places, None);
        self.features.iter().map(column).collect::<Result<_, _>>().map_err(OfflineError::expression)
    }

    /// Which of these rows have no value of a feature that can be trusted.
    pub(crate) fn unknown(&self, feature: usize, rows: Range<usize>) -> &[(u32, Reason)] {
        let unknown = &self.features[feature].unknown;
        let place = |row: usize| unknown.partition_point(|(other, _)| (*other as usize) < row);
        &unknown[place(rows.start)..place(rows.end)]
    }
}

/// Keys cut into ranges of near equal numbers of rows.
fn ranges(work: &Work<'_>) -> Vec<Range<usize>> {
    let (mut out, mut start, mut rows) = (Vec::new(), 0, 0);
    for key in 0..work.keys() {
        rows += work.asked(key);
        if rows >= ROWS_OF_A_TASK {
            out.push(start..key + 1);
            (start, rows) = (key + 1, 0);
        }
    }
    out.push(start..work.keys());
    out
}

impl Task<'_> {
    fn run(&mut self, work: &Work<'_>) {
        let mut before = 0;
        for key in self.keys.clone() {
            let mut unknown = Vec::new();
            let answered = work.answer(key, |feature, value| {
                let column = &mut self.features[feature];
                column.push(value.unwrap_or_else(|why| {
                    unknown.push((feature, column.filled() - before, why));
                    Value::Null
                }));
            });
            let rows = unknown.into_iter().map(|(feature, at, why)| (feature, answered[at], why));
            self.unknown.extend(rows);
            self.rows[before..before + answered.len()].copy_from_slice(&answered);
            before += answered.len();
        }
    }
}

//! The features of all rows: every look-up answered by key, and the answers put back to their rows.

use crate::error::OfflineError;
use crate::lookup::Work;
use crate::parallel;
use crate::progress::{Meter, Phase, Watch};
use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use std::num::NonZeroUsize;
use std::ops::Range;
use trueup_core::{Kind, Unknown, Value};
use trueup_sql::bridge::array_of;

/// Rows that one piece of work answers, unless a key has more: enough to make its overhead small,
/// few enough for threads to end together.
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
    unknown: Vec<(u32, Unknown)>,
}

/// What one piece of work gives.
struct Piece {
    rows: Vec<u32>,
    values: Vec<ArrayRef>,
    /// Place of the aggregate, place among `rows`, why.
    unknown: Vec<(usize, u32, Unknown)>,
}

/// Answers look-ups for all their rows. `kinds` are those of each look-up's features.
pub(crate) fn answer(
    works: &[Work<'_>],
    kinds: &[Vec<Kind>],
    threads: NonZeroUsize,
    watch: Watch<'_>,
) -> Result<Vec<Answers>, OfflineError> {
    let asked = |work: &Work<'_>| (0..work.keys()).map(|key| work.asked(key)).sum::<usize>();
    let meter = Meter::new(watch, Phase::Answer, works.iter().map(asked).sum::<usize>() as u64);
    let mut tasks: Vec<(usize, Range<usize>)> = Vec::new();
    for (at, work) in works.iter().enumerate() {
        tasks.extend(ranges(work).into_iter().map(|keys| (at, keys)));
    }
    let pieces = parallel::map(threads, &tasks, |(at, keys)| {
        let piece = piece(&works[*at], &kinds[*at], keys.clone());
        meter.add(piece.rows.len() as u64);
        piece
    });
    let mut of_work: Vec<Vec<Piece>> = works.iter().map(|_| Vec::new()).collect();
    tasks.iter().zip(pieces).for_each(|((at, _), piece)| of_work[*at].push(piece));
    of_work.into_iter().zip(kinds).map(|(pieces, kinds)| Answers::of(pieces, kinds)).collect()
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

fn piece(work: &Work<'_>, kinds: &[Kind], keys: Range<usize>) -> Piece {
    let mut rows = Vec::new();
    let mut values: Vec<Vec<Value>> = kinds.iter().map(|_| Vec::new()).collect();
    let mut unknown = Vec::new();
    for key in keys {
        let answered = work.answer(key, |feature, value| {
            let column = &mut values[feature];
            column.push(value.unwrap_or_else(|why| {
                unknown.push((feature, column.len() as u32, why));
                Value::Null
            }));
        });
        rows.extend(answered);
    }
    let values = kinds.iter().zip(&values).map(|(kind, values)| array_of(kind, values));
    Piece { rows, values: values.collect(), unknown }
}

impl Answers {
    fn of(pieces: Vec<Piece>, kinds: &[Kind]) -> Result<Answers, OfflineError> {
        let mut unknown: Vec<Vec<(u32, Unknown)>> = kinds.iter().map(|_| Vec::new()).collect();
        let mut places = vec![0; pieces.iter().map(|piece| piece.rows.len()).sum()];
        let mut before = 0;
        let mut parts: Vec<Vec<ArrayRef>> = kinds.iter().map(|_| Vec::new()).collect();
        for piece in pieces {
            for (at, &row) in piece.rows.iter().enumerate() {
                places[row as usize] = before + at as u32;
            }
            for (feature, at, why) in piece.unknown {
                unknown[feature].push((piece.rows[at as usize], why));
            }
            before += piece.rows.len() as u32;
            parts.iter_mut().zip(piece.values).for_each(|(parts, values)| parts.push(values));
        }
        let features = parts.into_iter().zip(unknown).map(|(parts, mut unknown)| {
            unknown.sort_by_key(|(row, _)| *row);
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            Ok(Feature { values: concat(&parts).map_err(OfflineError::expression)?, unknown })
        });
        Ok(Answers { features: features.collect::<Result<_, _>>()?, places })
    }

    /// The features of some rows, a column for each.
    pub(crate) fn columns(&self, rows: Range<usize>) -> Result<Vec<ArrayRef>, OfflineError> {
        let places = UInt32Array::from(self.places[rows].to_vec());
        let column = |feature: &Feature| take(&feature.values, &places, None);
        self.features.iter().map(column).collect::<Result<_, _>>().map_err(OfflineError::expression)
    }

    /// Which of these rows have no value of a feature that can be trusted.
    pub(crate) fn unknown(&self, feature: usize, rows: Range<usize>) -> &[(u32, Unknown)] {
        let unknown = &self.features[feature].unknown;
        let place = |row: usize| unknown.partition_point(|(other, _)| (*other as usize) < row);
        &unknown[place(rows.start)..place(rows.end)]
    }
}

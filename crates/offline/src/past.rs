//! The past of one stream, ready to be asked: admitted events, flat where they are read often.

use crate::dead::{DeadLetter, NO_VALUE};
use crate::error::OfflineError;
use crate::history::{History, Origin};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use std::collections::hash_map::{DefaultHasher, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use trueup_core::{Column, Events, Id};
use trueup_sql::Stream;
use trueup_sql::bridge::value_at;

/// Most events of one history: places are 32 bits wide.
const MAX_EVENTS: usize = u32::MAX as usize - 1;

/// The admitted events of a stream, numbered in the order of its history.
pub(crate) struct Past {
    pub(crate) stream: Arc<Stream>,
    pub(crate) batches: Vec<RecordBatch>,
    /// Where the events of each batch stood.
    origins: Vec<Origin>,
    ids: Ids,
    pub(crate) times: Vec<i64>,
    /// When each became known, if the history says.
    pub(crate) known: Option<Vec<i64>>,
    /// Whether events are in the order of (event time, id) as they stand.
    pub(crate) in_order: bool,
    /// For each event whether others have its id; `None` if all ids differ.
    pub(crate) repeated: Option<Vec<bool>>,
}

/// An id as it orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum IdRef<'a> {
    Int(i64),
    Text(&'a str),
}

/// The ids of rows in several batches.
pub(crate) struct Ids {
    columns: Vec<arrow::array::ArrayRef>,
    /// The number of the first row of each batch, and of the row behind the last.
    starts: Vec<usize>,
}

impl Ids {
    pub(crate) fn new(batches: &[RecordBatch], column: usize) -> Ids {
        let mut starts = vec![0];
        for batch in batches {
            starts.push(starts[starts.len() - 1] + batch.num_rows());
        }
        Ids { columns: batches.iter().map(|b| b.column(column).clone()).collect(), starts }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    fn batch_of(&self, row: usize) -> usize {
        self.starts.partition_point(|&start| start <= row) - 1
    }

    pub(crate) fn get(&self, row: usize) -> IdRef<'_> {
        let batch = self.batch_of(row);
        id_of(&self.columns[batch], row - self.starts[batch])
    }

    fn iter(&self) -> impl Iterator<Item = IdRef<'_>> {
        self.columns.iter().flat_map(|column| (0..column.len()).map(|row| id_of(column, row)))
    }
}

/// Streams have ids that are integers or text.
fn id_of(column: &arrow::array::ArrayRef, row: usize) -> IdRef<'_> {
    match column.data_type() {
        DataType::Utf8 => IdRef::Text(column.as_string::<i32>().value(row)),
        _ => IdRef::Int(column.as_primitive::<Int64Type>().value(row)),
    }
}

impl Past {
    /// The events of a history.
    pub(crate) fn of(history: &History) -> Result<Past, OfflineError> {
        let stream = history.stream().clone();
        let (mut batches, mut origins) = (Vec::new(), Vec::new());
        let (mut times, mut known) = (Vec::with_capacity(history.events()), Vec::new());
        for part in history.parts() {
            let column = part.batch.column(stream.event_time);
            times.extend_from_slice(column.as_primitive::<TimestampMicrosecondType>().values());
            known.extend(part.known.iter().flatten());
            batches.push(part.batch.clone());
            origins.push(part.origin.clone());
        }
        if times.len() > MAX_EVENTS {
            let reason = format!("more than {MAX_EVENTS} events; train on a part of the history");
            return Err(OfflineError::mismatch(&stream.name, reason));
        }
        let ids = Ids::new(&batches, stream.id);
        let known = (!known.is_empty()).then_some(known);
        let mut past = Past {
            in_order: is_ascending(times.iter().copied().zip(ids.iter())),
            repeated: repeated(&ids),
            stream,
            batches,
            origins,
            ids,
            times,
            known,
        };
        // Equal (event time, id) pairs are in no order that counts, and only repeats have them.
        past.in_order &= past.repeated.is_none();
        Ok(past)
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn id(&self, row: u32) -> IdRef<'_> {
        self.ids.get(row as usize)
    }

    /// The dead letter of an event that a filter or an argument has no value for.
    pub(crate) fn letter(&self, event: usize, reason: String) -> DeadLetter {
        let batch = self.ids.batch_of(event);
        self.origins[batch].letter(event - self.ids.starts[batch], NO_VALUE, reason)
    }

    /// Where events come in a key's order.
    pub(crate) fn order(&self, row: u32) -> (i64, IdRef<'_>) {
        (self.times[row as usize], self.id(row))
    }

    pub(crate) fn is_repeated(&self, row: u32) -> bool {
        self.repeated.as_ref().is_some_and(|repeated| repeated[row as usize])
    }

    /// One event for each id, ascending: of several the one that sorts last by event time and
    /// columns, and of equal ones the one that was known first. `None` if all ids differ.
    pub(crate) fn winners(&self) -> Option<Vec<u32>> {
        let repeated = self.repeated.as_ref()?;
        let again: Vec<u32> = (0..self.len() as u32).filter(|&r| repeated[r as usize]).collect();
        let versions = self.versions(&again);
        let known = |row: u32| self.known.as_ref().map_or(0, |known| known[row as usize]);
        let mut best: HashMap<IdRef<'_>, usize> = HashMap::new();
        for (place, &row) in again.iter().enumerate() {
            let winner = best.entry(self.id(row)).or_insert(place);
            let order = versions.rank(place, &versions, *winner);
            if order.then(known(again[*winner]).cmp(&known(row))).is_gt() {
                *winner = place;
            }
        }
        let best: Vec<u32> = best.into_values().map(|place| again[place]).collect();
        let mut wins: Vec<bool> = repeated.iter().map(|is| !is).collect();
        best.iter().for_each(|&row| wins[row as usize] = true);
        Some((0..self.len() as u32).filter(|&row| wins[row as usize]).collect())
    }

    /// Some events with all their columns as slots, but for when they became known.
    fn versions(&self, rows: &[u32]) -> Events {
        let columns = self.stream.columns.iter().enumerate();
        let slots = columns.filter(|(at, _)| Some(*at) != self.stream.known_at);
        let slots = slots.map(|(at, column)| {
            let arrays = Ids::new(&self.batches, at);
            let mut slot = Column::with_capacity(&column.ty.kind(), rows.len());
            for &row in rows {
                let batch = arrays.batch_of(row as usize);
                slot.push(&value_at(&arrays.columns[batch], row as usize - arrays.starts[batch]));
            }
            slot
        });
        Events {
            times: rows.iter().map(|&row| self.times[row as usize]).collect(),
            ids: vec![Id::Int(0); rows.len()],
            slots: slots.collect(),
        }
    }
}

/// The rows at `places`, ascending.
pub(crate) fn take(batch: &RecordBatch, places: &[usize]) -> Result<RecordBatch, OfflineError> {
    if places.len() == batch.num_rows() {
        return Ok(batch.clone());
    }
    let places = arrow::array::UInt64Array::from_iter_values(places.iter().map(|&at| at as u64));
    arrow::compute::take_record_batch(batch, &places).map_err(OfflineError::expression)
}

fn is_ascending<T: PartialOrd>(mut all: impl Iterator<Item = T>) -> bool {
    let Some(mut last) = all.next() else { return true };
    all.all(|next| {
        let ascends = last < next;
        last = next;
        ascends
    })
}

/// For each row whether another has its id; `None` if all differ.
fn repeated(ids: &Ids) -> Option<Vec<bool>> {
    if is_ascending(ids.iter()) {
        return None;
    }
    // Sorted by hash and compared where hashes are equal: much less memory than a set of ids.
    let hash = |id: IdRef<'_>| {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        hasher.finish()
    };
    let mut hashed: Vec<(u64, u32)> =
        ids.iter().enumerate().map(|(row, id)| (hash(id), row as u32)).collect();
    hashed.sort_unstable();
    let mut is = vec![false; ids.len()];
    for run in hashed.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
        let mut first = HashMap::with_capacity(run.len());
        for &(_, row) in run {
            if let Some(&other) = first.get(&ids.get(row as usize)) {
                is[row as usize] = true;
                is[other as usize] = true;
            }
            first.entry(ids.get(row as usize)).or_insert(row);
        }
    }
    is.contains(&true).then_some(is)
}

//! The past of one stream, ready to be asked: admitted events, flat where they are read often.

use crate::dead::{DeadLetters, NO_VALUE};
use crate::error::OfflineError;
use crate::history::{History, Part};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use std::collections::hash_map::{DefaultHasher, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use trueup_core::{Column, Events, Id};
use trueup_sql::bridge::value_at;
use trueup_sql::{Definitions, RowExpr, Stream};

/// Most events of one history: places are 32 bits wide.
const MAX_EVENTS: usize = u32::MAX as usize - 1;

/// The admitted events of a stream, numbered in the order of its history.
pub(crate) struct Past {
    pub(crate) stream: Arc<Stream>,
    pub(crate) batches: Vec<RecordBatch>,
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

    pub(crate) fn get(&self, row: usize) -> IdRef<'_> {
        let batch = self.starts.partition_point(|&start| start <= row) - 1;
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
    /// The events of a history that have a value for every filter and argument of every window that
    /// the definitions keep of their stream; the others are dead letters, as in the pipeline.
    pub(crate) fn of(
        definitions: &Definitions,
        number: usize,
        history: &History,
        dead: &mut DeadLetters,
    ) -> Result<Past, OfflineError> {
        dead.append(history.dead_letters());
        let stream = definitions.streams[number].clone();
        let checks = Checks::of(definitions, number);
        let mut batches = Vec::new();
        let (mut times, mut known) = (Vec::with_capacity(history.events()), Vec::new());
        for part in history.parts() {
            let part = checks.pass(part, dead)?;
            let column = part.batch.column(stream.event_time);
            times.extend_from_slice(column.as_primitive::<TimestampMicrosecondType>().values());
            known.extend(part.known.into_iter().flatten());
            batches.push(part.batch);
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
                let batch = arrays.starts.partition_point(|&start| start <= row as usize) - 1;
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

/// What must have a value for an event to be one.
struct Checks<'a> {
    /// A filter and what is evaluated where it is true.
    groups: Vec<(Option<&'a RowExpr>, Vec<&'a RowExpr>)>,
}

impl<'a> Checks<'a> {
    fn of(definitions: &'a Definitions, stream: usize) -> Checks<'a> {
        let computed = |expr: &&RowExpr| expr.as_column().is_none();
        let groups = definitions.groups.iter().filter(|group| group.stream == stream);
        let groups = groups.map(|group| {
            (group.filter.as_ref(), group.slots.iter().filter(computed).collect::<Vec<_>>())
        });
        let views = definitions.views.iter().filter(|view| view.stream == stream);
        let views = views.map(|view| (view.filter.as_ref(), Vec::new()));
        let all = groups.chain(views);
        let some = |(filter, slots): &(Option<&RowExpr>, Vec<_>)| {
            filter.is_some_and(|f| f.as_column().is_none()) || !slots.is_empty()
        };
        Checks { groups: all.filter(some).collect() }
    }

    /// A part without the events that lack a value.
    fn pass(&self, part: &Part, dead: &mut DeadLetters) -> Result<Part, OfflineError> {
        let mut good = vec![true; part.batch.num_rows()];
        for (filter, slots) in &self.groups {
            let mut passing: Vec<usize> = (0..good.len()).filter(|&row| good[row]).collect();
            let mut batch = take(&part.batch, &passing)?;
            for expr in filter.iter() {
                let (truth, failed) = expr.evaluate_each(&batch);
                for (row, error) in failed {
                    good[passing[row]] = false;
                    dead.push(part.letter(passing[row], NO_VALUE, error.to_string()));
                }
                let truth = truth.as_boolean();
                let is = |at: &usize| truth.is_valid(*at) && truth.value(*at);
                passing = (0..passing.len()).filter(is).map(|at| passing[at]).collect();
                batch = take(&part.batch, &passing)?;
            }
            for expr in slots {
                for (row, error) in expr.evaluate_each(&batch).1 {
                    if std::mem::replace(&mut good[passing[row]], false) {
                        dead.push(part.letter(passing[row], NO_VALUE, error.to_string()));
                    }
                }
            }
        }
        match good.contains(&false) {
            true => part.clone().only(&good),
            false => Ok(part.clone()),
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

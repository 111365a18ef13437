//! A view's rows over a history: every feature of every row, and from them the view's columns.

use crate::error::OfflineError;
use crate::history::History;
use crate::keyed::{Keyed, by_number, id_at, keys_of};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef, TimestampMicrosecondType};
use std::collections::HashMap;
use std::sync::Arc;
use trueup_core::{
    Ask, Column, Event, Events, Id, IdKind, Kind, Micros, Plan, Value, is_ordered, slide,
};
use trueup_sql::bridge::{array_of, value_at};
use trueup_sql::{Definitions, GroupDef, Lookup, Stream, View};

/// Rows a batch of the result: bounds what the select list's evaluation holds at once.
const OUTPUT_ROWS: usize = 65_536;

/// What to train on.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Request rows, in the schema of the view's stream; without them the rows are the history's own events.
    ///
    /// Where the stream has a `known_at` column, a row's value there is its `as_of`.
    pub rows: Option<RecordBatch>,
}

/// A training set, and what was met on the way.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The view's columns.
    pub schema: SchemaRef,
    /// The rows, in the order of the history or of the request rows.
    pub batches: Vec<RecordBatch>,
    /// Rows of the history that came with an id that was there already; of those with other content the last counts.
    pub repeats: usize,
    /// Events further ahead of their `known_at` than the stream's `future` allows: left out, as ingest would.
    pub dead_letters: usize,
    /// Cells that are NULL because the exact result did not fit, or an expression had no value there.
    pub unknown: usize,
}

/// Builds the training set of a view.
///
/// # Errors
/// If the view is not defined, a stream that it reads has no history, or an argument or filter expression fails on an event.
pub fn train(
    definitions: &Definitions,
    view: &str,
    histories: &[History],
    options: &Options,
) -> Result<Trained, OfflineError> {
    let view = definitions.view(view).ok_or_else(|| OfflineError::NoView(view.to_string()))?;
    let stream = &definitions.streams[view.stream];
    let (admitted, dead_letters) = admitted(definitions, view, histories)?;
    let own = admitted.get(&view.stream);
    let (rows, repeats) = match (&options.rows, own) {
        (Some(rows), _) => (rows.clone(), 0),
        (None, Some(own)) => each_once(own, stream)?,
        (None, None) => return Err(missing(stream)),
    };
    let rows = in_view(view, rows)?;
    let mut features = Vec::with_capacity(view.feature_count());
    let mut unknown = 0;
    for lookup in &view.lookups {
        let group = &definitions.groups[lookup.group];
        let history = admitted
            .get(&group.stream)
            .ok_or_else(|| missing(&definitions.streams[group.stream]))?;
        let from = &definitions.streams[group.stream];
        let mut work = Work::new(group, from, history, lookup, view, stream, &rows)?;
        unknown += work.run();
        features.append(&mut work.columns);
    }
    let (schema, batches) = outputs(view, &rows, &features, &mut unknown)?;
    Ok(Trained { schema, batches, repeats, dead_letters, unknown })
}

fn missing(stream: &Stream) -> OfflineError {
    let reason = "it has none; give one for it with --history".to_string();
    OfflineError::Mismatch { stream: stream.name.clone(), reason }
}

/// The histories that the view reads, without the events that ingest would not have admitted.
fn admitted(
    definitions: &Definitions,
    view: &View,
    histories: &[History],
) -> Result<(HashMap<usize, RecordBatch>, usize), OfflineError> {
    let mut out = HashMap::new();
    let mut dead = 0;
    let used = view.lookups.iter().map(|lookup| definitions.groups[lookup.group].stream);
    for number in used.chain([view.stream]) {
        let stream = &definitions.streams[number];
        let Some(history) = histories.iter().find(|h| h.stream == stream.name) else { continue };
        if out.contains_key(&number) {
            continue;
        }
        let Some(known_at) = stream.known_at else {
            out.insert(number, history.events.clone());
            continue;
        };
        let column = |c: usize| history.events.column(c).as_primitive::<TimestampMicrosecondType>();
        let (times, known) = (column(stream.event_time), column(known_at));
        let in_time = |&row: &u32| {
            let latest = known.value(row as usize).saturating_add(stream.future_us);
            times.value(row as usize) <= latest
        };
        let all = 0..history.events.num_rows() as u32;
        let kept: Vec<u32> = all.filter(in_time).collect();
        dead += history.events.num_rows() - kept.len();
        out.insert(number, take(&history.events, kept)?);
    }
    Ok((out, dead))
}

fn take(batch: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch, OfflineError> {
    if rows.len() == batch.num_rows() {
        return Ok(batch.clone());
    }
    take_record_batch(batch, &arrow::array::UInt32Array::from(rows))
        .map_err(|e| OfflineError::Expression(e.to_string()))
}

/// The rows of a history, of those with one id the one that sorts last by time; and how many that left out.
fn each_once(history: &RecordBatch, stream: &Stream) -> Result<(RecordBatch, usize), OfflineError> {
    let times = history.column(stream.event_time).as_primitive::<TimestampMicrosecondType>();
    let ids = history.column(stream.id);
    let mut winners: HashMap<Id, u32> = HashMap::with_capacity(history.num_rows());
    for row in 0..history.num_rows() {
        let winner = winners.entry(id_at(ids, row, IdKind::Text)).or_insert(row as u32);
        if times.value(row) > times.value(*winner as usize) {
            *winner = row as u32;
        }
    }
    let mut rows: Vec<u32> = winners.into_values().collect();
    rows.sort_unstable();
    let repeats = history.num_rows() - rows.len();
    Ok((take(history, rows)?, repeats))
}

/// The rows that the view's WHERE keeps.
fn in_view(view: &View, rows: RecordBatch) -> Result<RecordBatch, OfflineError> {
    let Some(filter) = &view.filter else { return Ok(rows) };
    let kept = filter.evaluate(&rows).map_err(|e| OfflineError::Expression(e.to_string()))?;
    let is = |row: &u32| value_at(&kept, *row as usize) == Value::Bool(true);
    let kept = (0..rows.num_rows() as u32).filter(is).collect();
    take(&rows, kept)
}

/// A column of feature values by row; lists have no typed column.
enum Feature {
    Plain(Column),
    Lists(Vec<Value>),
}

impl Feature {
    fn new(kind: &Kind, n: usize) -> Feature {
        match kind {
            Kind::List(_) => Feature::Lists(vec![Value::Null; n]),
            kind => Feature::Plain(Column::nulls(kind, n)),
        }
    }

    fn set(&mut self, row: usize, value: Value) {
        match self {
            Feature::Plain(column) => column.set(row, value),
            Feature::Lists(values) => values[row] = value,
        }
    }

    fn values(&self, rows: std::ops::Range<usize>) -> Vec<Value> {
        match self {
            Feature::Plain(column) => rows.map(|row| column.value(row)).collect(),
            Feature::Lists(values) => values[rows].to_vec(),
        }
    }
}

/// One look-up of a view, for all rows.
struct Work<'a> {
    plan: Plan,
    lookup: &'a Lookup,
    keyed: Keyed,
    /// When each event of the group became known, in the order of `keyed.events`, where the stream says.
    known: Option<Vec<i64>>,
    /// Rows by key number.
    rows: Vec<u32>,
    starts: Vec<u32>,
    times: Vec<i64>,
    as_of: Option<Vec<i64>>,
    /// The rows' own events, where the group is of the rows' stream and reads the same columns.
    own: Option<Own>,
    columns: Vec<(Kind, Feature)>,
}

struct Own {
    ids: Vec<Id>,
    slots: Vec<Column>,
}

impl Own {
    fn event(&self, row: usize, time: i64) -> Event {
        let slots = self.slots.iter().map(|column| column.value(row)).collect();
        Event { time, id: self.ids[row].clone(), slots }
    }
}

impl<'a> Work<'a> {
    fn new(
        group: &GroupDef,
        from: &Stream,
        history: &RecordBatch,
        lookup: &'a Lookup,
        view: &View,
        stream: &Stream,
        rows: &RecordBatch,
    ) -> Result<Work<'a>, OfflineError> {
        let failed = |e: trueup_sql::EvalError| OfflineError::Expression(e.to_string());
        let keyed = Keyed::new(group, from, history).map_err(failed)?;
        let timestamps = |batch: &RecordBatch, column: usize| {
            let array = batch.column(column).as_primitive::<TimestampMicrosecondType>().clone();
            array.values().to_vec()
        };
        // Events that a filter leaves out are not in `keyed`; with one, times are matched by place.
        let known = match (from.known_at, &group.filter) {
            (Some(column), None) => Some(timestamps(history, column)),
            (Some(column), Some(filter)) => {
                let kept = filter.evaluate(history).map_err(failed)?;
                let is = |&row: &usize| value_at(&kept, row) == Value::Bool(true);
                let all = timestamps(history, column);
                Some((0..all.len()).filter(is).map(|row| all[row]).collect())
            }
            (None, _) => None,
        };
        let as_of = stream.known_at.map(|column| timestamps(rows, column));
        let null = |row: usize| lookup.keys.iter().any(|&c| rows.column(c).is_null(row));
        // A row whose key is not in the history has only itself; one whose NULL equals nothing, not
        // even that.
        let (absent, nothing) = (keyed.len(), keyed.len() + 1);
        let number = |(row, key)| match keyed.keys.number(&key) {
            _ if !lookup.null_matches && null(row) => nothing,
            Some(number) => number,
            None => absent,
        };
        let of: Vec<u32> = keys_of(rows, &lookup.keys).enumerate().map(number).collect();
        let (places, starts) = by_number(&of, nothing as usize + 1);
        let own = if group.stream == view.stream && group.keys == lookup.keys {
            let ids = rows.column(stream.id);
            let mut slots = Vec::new();
            for (slot, kind) in group.slots.iter().zip(&group.core.slots) {
                let array = slot.evaluate(rows).map_err(failed)?;
                let mut column = Column::with_capacity(kind, rows.num_rows());
                (0..rows.num_rows()).for_each(|row| column.push(&value_at(&array, row)));
                slots.push(column);
            }
            let ids = (0..rows.num_rows()).map(|row| id_at(ids, row, group.core.id)).collect();
            Some(Own { ids, slots })
        } else {
            None
        };
        let kinds =
            lookup.aggregates.iter().map(|&a| group.core.kind_of(&group.core.aggregates[a]));
        let columns = kinds.map(|kind| {
            let column = Feature::new(&kind, rows.num_rows());
            (kind, column)
        });
        Ok(Work {
            plan: Plan::new(group.core.clone()),
            lookup,
            times: timestamps(rows, stream.event_time),
            columns: columns.collect(),
            keyed,
            known,
            rows: places,
            starts,
            as_of,
            own,
        })
    }

    /// Fills the columns key by key; returns how many cells are unknown.
    fn run(&mut self) -> usize {
        let mut unknown = 0;
        for number in 0..self.starts.len() as u32 - 1 {
            let range =
                self.starts[number as usize] as usize..self.starts[number as usize + 1] as usize;
            let mut rows = self.rows[range].to_vec();
            if rows.is_empty() {
                continue;
            }
            let absent = number >= self.keyed.len();
            let (events, repeats) = match absent {
                true => (Events::new(&self.plan.group().slots), false),
                false => self.keyed.of(number),
            };
            unknown += match self.asks(number, absent, &events, repeats, &mut rows) {
                Some(asks) => self.slide(&events, &rows, &asks),
                None => rows.iter().map(|&row| self.one(number, absent, row as usize)).sum(),
            };
        }
        unknown
    }

    /// The rows of a key as they slide, ordered; `None` if they must go one at a time.
    fn asks(
        &self,
        number: u32,
        absent: bool,
        events: &Events,
        repeats: bool,
        rows: &mut [u32],
    ) -> Option<Vec<Ask>> {
        let known = match (&self.known, absent) {
            (Some(known), false) if repeats || known.is_empty() => return None,
            (Some(known), false) => Some(self.known_in_order(number, known)?),
            _ => None,
        };
        let own = self.own_of(number);
        let id = |row: u32| own.map(|own| &own.ids[row as usize]);
        rows.sort_by(|&a, &b| {
            (self.times[a as usize], id(a)).cmp(&(self.times[b as usize], id(b)))
        });
        let mut asks = Vec::with_capacity(rows.len());
        for &row in rows.iter() {
            let at = self.times[row as usize];
            let place = match own {
                None => None,
                Some(own) => Some(place_of(events, own, row as usize, at)?),
            };
            let count = match (&known, &self.as_of) {
                (Some(known), Some(as_of)) => {
                    let count = known.partition_point(|&k| k <= as_of[row as usize]);
                    count.max(place.map_or(0, |place| place + 1))
                }
                _ => events.len(),
            };
            asks.push(Ask { at: Micros(at), own: place, known: count });
        }
        is_ordered(&asks).then_some(asks)
    }

    /// The rows' own events, for rows of this number: none where NULL equals nothing.
    fn own_of(&self, number: u32) -> Option<&Own> {
        self.own.as_ref().filter(|_| number <= self.keyed.len())
    }

    /// When a key's events became known, in the order of their times, if that is ascending.
    fn known_in_order(&self, number: u32, known: &[i64]) -> Option<Vec<i64>> {
        let mut places = self.keyed.places(number).to_vec();
        let all = &self.keyed.events;
        places.sort_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            (all.times[a], &all.ids[a]).cmp(&(all.times[b], &all.ids[b]))
        });
        let known: Vec<i64> = places.iter().map(|&place| known[place as usize]).collect();
        known.is_sorted().then_some(known)
    }

    fn slide(&mut self, events: &Events, rows: &[u32], asks: &[Ask]) -> usize {
        let mut unknown = 0;
        for (&aggregate, (_, column)) in self.lookup.aggregates.iter().zip(&mut self.columns) {
            slide(&self.plan, aggregate, events, asks, |n, value| match value {
                Ok(value) => column.set(rows[n] as usize, value),
                Err(_) => unknown += 1,
            });
        }
        unknown
    }

    /// A row by itself: the events known to it, and its own once.
    fn one(&mut self, number: u32, absent: bool, row: usize) -> usize {
        let places = if absent { &[][..] } else { self.keyed.places(number) };
        let as_of = self.as_of.as_ref().map_or(i64::MAX, |as_of| as_of[row]);
        let is_known = |place: u32| self.known.as_ref().is_none_or(|k| k[place as usize] <= as_of);
        let seen: Vec<u32> = places.iter().copied().filter(|&place| is_known(place)).collect();
        let (mut events, _) = self.keyed.events.gather(&seen).normalise();
        let at = self.times[row];
        let own = self.own_of(number).map(|own| events.put(&own.event(row, at)).0);
        let ask = Ask { at: Micros(at), own, known: events.len() };
        self.slide(&events, &[row as u32], &[ask])
    }
}

/// The place of a row's own event among its key's, if it is there with the same content.
fn place_of(events: &Events, own: &Own, row: usize, at: i64) -> Option<usize> {
    let id = &own.ids[row];
    let place = (events.before(at)..events.until(at)).find(|&i| events.ids[i] == *id)?;
    let same = |(a, b): (&Column, &Column)| a.value(place) == b.value(row);
    events.slots.iter().zip(&own.slots).all(same).then_some(place)
}

/// The view's columns, a batch of rows at a time.
fn outputs(
    view: &View,
    rows: &RecordBatch,
    features: &[(Kind, Feature)],
    unknown: &mut usize,
) -> Result<(SchemaRef, Vec<RecordBatch>), OfflineError> {
    let fields = view.outputs.iter().map(|o| Field::new(&o.name, o.ty.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let failed = |e: arrow::error::ArrowError| OfflineError::Expression(e.to_string());
    let mut batches = Vec::new();
    for start in (0..rows.num_rows()).step_by(OUTPUT_ROWS) {
        let end = rows.num_rows().min(start + OUTPUT_ROWS);
        let slice = rows.slice(start, end - start);
        let mut columns: Vec<ArrayRef> = slice.columns().to_vec();
        for (kind, feature) in features {
            columns.push(array_of(kind, feature.values(start..end).iter()));
        }
        let wide = RecordBatch::try_new(view.row_schema.clone(), columns).map_err(failed)?;
        let mut out = Vec::with_capacity(view.outputs.len());
        for output in &view.outputs {
            let (array, without) = output.expr.evaluate_each(&wide);
            *unknown += without.len();
            out.push(array);
        }
        batches.push(RecordBatch::try_new(schema.clone(), out).map_err(failed)?);
    }
    Ok((schema, batches))
}

//! A group's events by key: the whole history evaluated once, then cut into keys by a counting sort of places.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use std::collections::HashMap;
use trueup_core::{Column, Events, Id, IdKind, Key, Value};
use trueup_sql::bridge::value_at;
use trueup_sql::{EvalError, GroupDef, Stream};

/// Key numbers of rows, and the rows of each key.
pub(crate) struct Keys {
    numbers: HashMap<Key, u32>,
}

/// A group's events, and where each key's are.
pub(crate) struct Keyed {
    pub(crate) keys: Keys,
    /// All events of the group, in the order of the history.
    pub(crate) events: Events,
    /// For each key, places in `events`.
    places: Vec<u32>,
    starts: Vec<u32>,
}

/// The key of each row by these columns.
pub(crate) fn keys_of(batch: &RecordBatch, columns: &[usize]) -> impl Iterator<Item = Key> {
    let arrays: Vec<ArrayRef> = columns.iter().map(|&c| batch.column(c).clone()).collect();
    let mut values = Vec::with_capacity(arrays.len());
    (0..batch.num_rows()).map(move |row| {
        values.clear();
        values.extend(arrays.iter().map(|array| value_at(array, row)));
        Key::of(&values)
    })
}

/// The id of a row, as a group of this kind keeps it.
pub(crate) fn id_at(ids: &dyn Array, row: usize, kind: IdKind) -> Id {
    match value_at(ids, row) {
        Value::Int(id) => Id::Int(id),
        Value::Text(text) => Id::of_text(kind, &text).unwrap_or(Id::Int(0)),
        _ => Id::Int(0),
    }
}

impl Keys {
    pub(crate) fn number(&self, key: &Key) -> Option<u32> {
        self.numbers.get(key).copied()
    }
}

impl Keyed {
    /// Evaluates a group on the history of its stream.
    pub(crate) fn new(
        group: &GroupDef,
        stream: &Stream,
        history: &RecordBatch,
    ) -> Result<Keyed, EvalError> {
        let passes = match &group.filter {
            None => None,
            Some(filter) => Some(filter.evaluate(history)?),
        };
        let passes =
            |row: usize| passes.as_ref().is_none_or(|p| value_at(p, row) == Value::Bool(true));
        let rows: Vec<u32> =
            (0..history.num_rows() as u32).filter(|&r| passes(r as usize)).collect();
        let times = history.column(stream.event_time).as_primitive::<TimestampMicrosecondType>();
        let ids = history.column(stream.id);
        let mut slots = Vec::with_capacity(group.slots.len());
        for (slot, kind) in group.slots.iter().zip(&group.core.slots) {
            let array = slot.evaluate(history)?;
            let mut column = Column::with_capacity(kind, rows.len());
            rows.iter().for_each(|&row| column.push(&value_at(&array, row as usize)));
            slots.push(column);
        }
        let events = Events {
            times: rows.iter().map(|&row| times.value(row as usize)).collect(),
            ids: rows.iter().map(|&row| id_at(ids, row as usize, group.core.id)).collect(),
            slots,
        };
        let mut numbers = HashMap::new();
        let mut of_row = Vec::with_capacity(rows.len());
        let mut wanted = rows.iter().peekable();
        for (row, key) in keys_of(history, &group.keys).enumerate() {
            if wanted.next_if(|&&next| next as usize == row).is_some() {
                let fresh = numbers.len() as u32;
                of_row.push(*numbers.entry(key).or_insert(fresh));
            }
        }
        let (places, starts) = by_number(&of_row, numbers.len());
        Ok(Keyed { keys: Keys { numbers }, events, places, starts })
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    /// The events of a key, ordered and each id once, and whether any id was there twice.
    pub(crate) fn of(&self, number: u32) -> (Events, bool) {
        let (start, end) = (self.starts[number as usize], self.starts[number as usize + 1]);
        let places = &self.places[start as usize..end as usize];
        let (events, met) = self.events.gather(places).normalise();
        (events, met.duplicates + met.conflicts > 0)
    }

    /// The events of a key as they came: places in `events`.
    pub(crate) fn places(&self, number: u32) -> &[u32] {
        let (start, end) = (self.starts[number as usize], self.starts[number as usize + 1]);
        &self.places[start as usize..end as usize]
    }
}

/// Places grouped by number, stable, and where each group starts.
pub(crate) fn by_number(of: &[u32], numbers: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; numbers + 1];
    of.iter().for_each(|&n| starts[n as usize + 1] += 1);
    for i in 0..numbers {
        starts[i + 1] += starts[i];
    }
    let mut next = starts.clone();
    let mut places = vec![0u32; of.len()];
    for (place, &n) in of.iter().enumerate() {
        places[next[n as usize] as usize] = place as u32;
        next[n as usize] += 1;
    }
    (places, starts)
}

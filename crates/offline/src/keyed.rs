//! A group's events by key: filter and arguments evaluated over the whole past, and the events of
//! each key found by a counting sort.

use crate::past::Past;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use trueup_core::{Column, Events, Id, Key};
use trueup_sql::GroupDef;
use trueup_sql::bridge::value_at;

/// The number of a key that no event has, and of an event that is in no key.
pub(crate) const NO_KEY: u32 = u32::MAX;

/// A group's events, and where each key's are.
pub(crate) struct Keyed {
    by_key: ByNumber,
    /// The group's slots, for each event of the past.
    slots: Vec<Column>,
}

/// The keys of a group, to find those of rows.
pub(crate) struct Keys {
    numbers: Numbers,
    /// For each event of the past its key; [`NO_KEY`] for those that the group's filter leaves out.
    of_event: Vec<u32>,
}

/// Places by number.
pub(crate) struct ByNumber {
    places: Vec<u32>,
    starts: Vec<u32>,
}

impl ByNumber {
    /// Places by the number at each, ascending within a number; those at [`NO_KEY`] left out.
    pub(crate) fn new(of: &[u32], numbers: usize) -> ByNumber {
        let mut starts = vec![0u32; numbers + 1];
        for &n in of.iter().filter(|&&n| n != NO_KEY) {
            starts[n as usize + 1] += 1;
        }
        for i in 0..numbers {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut places = vec![0u32; starts[numbers] as usize];
        for (place, &n) in of.iter().enumerate().filter(|(_, n)| **n != NO_KEY) {
            places[next[n as usize] as usize] = place as u32;
            next[n as usize] += 1;
        }
        ByNumber { places, starts }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn of(&self, number: usize) -> &[u32] {
        &self.places[self.starts[number] as usize..self.starts[number + 1] as usize]
    }
}

impl Keyed {
    /// The events of a past in a group, the way to their keys, and those that the group cannot take
    /// because its filter or an argument has no value for them, with the reason.
    pub(crate) fn new(group: &GroupDef, past: &Past) -> (Keyed, Keys, Vec<(u32, String)>) {
        let mut numbers = Numbers::new(&past.batches, &group.keys);
        let mut of_event = Vec::with_capacity(past.len());
        let (mut refused, mut before) = (Vec::new(), 0);
        let kinds = group.core.slots.iter();
        let mut slots: Vec<Column> =
            kinds.map(|kind| Column::with_capacity(kind, past.len())).collect();
        for batch in &past.batches {
            numbers.extend(batch, &group.keys, &mut of_event);
            let entering = group.evaluate(batch);
            for (array, column) in entering.slots().iter().zip(&mut slots) {
                (0..array.len()).for_each(|row| column.push(&value_at(array, row)));
            }
            let out = (0..batch.num_rows()).filter(|row| !entering.enters(*row));
            out.for_each(|row| of_event[before + row] = NO_KEY);
            for (row, error) in entering.refused() {
                let reason = format!("group {}: {error}", group.name);
                refused.push(((before + row) as u32, reason));
            }
            before += batch.num_rows();
        }
        let by_key = ByNumber::new(&of_event, numbers.len());
        (Keyed { by_key, slots }, Keys { numbers, of_event }, refused)
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The events of a key, as places in the past, in the order of the history.
    pub(crate) fn places(&self, number: u32) -> &[u32] {
        if number == NO_KEY { &[] } else { self.by_key.of(number as usize) }
    }

    /// The events at these places of the past, in this order. Their ids are their order: who has
    /// whose is settled before.
    pub(crate) fn events(&self, past: &Past, places: &[u32]) -> Events {
        Events {
            times: places.iter().map(|&place| past.times[place as usize]).collect(),
            ids: (0..places.len() as i64).map(Id::Int).collect(),
            slots: self.slots.iter().map(|column| column.gather(places)).collect(),
        }
    }
}

impl Keys {
    /// The key of an event of the past.
    pub(crate) fn number_of_event(&self, event: u32) -> u32 {
        self.of_event[event as usize]
    }

    /// The keys of rows that may be no events.
    pub(crate) fn numbers_of(&self, batch: &RecordBatch, columns: &[usize], into: &mut Vec<u32>) {
        self.numbers.find(batch, columns, into);
    }
}

/// Keys numbered in the order in which they come.
enum Numbers {
    /// One column of integers, which is what most keys are.
    Int(HashMap<Option<i64>, u32, BuildHasherDefault<Mix>>),
    Any(HashMap<Key, u32>),
}

impl Numbers {
    fn new(batches: &[RecordBatch], columns: &[usize]) -> Numbers {
        let is_int = |batch: &RecordBatch| match columns {
            [column] => *batch.column(*column).data_type() == DataType::Int64,
            _ => false,
        };
        match batches.first().is_some_and(is_int) {
            true => Numbers::Int(HashMap::default()),
            false => Numbers::Any(HashMap::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Numbers::Int(numbers) => numbers.len(),
            Numbers::Any(numbers) => numbers.len(),
        }
    }

    /// Numbers the keys of a batch, new ones too.
    fn extend(&mut self, batch: &RecordBatch, columns: &[usize], into: &mut Vec<u32>) {
        match self {
            Numbers::Int(numbers) => {
                for key in ints(batch.column(columns[0])) {
                    let fresh = numbers.len() as u32;
                    into.push(*numbers.entry(key).or_insert(fresh));
                }
            }
            Numbers::Any(numbers) => {
                for key in keys_of(batch, columns) {
                    let fresh = numbers.len() as u32;
                    into.push(*numbers.entry(key).or_insert(fresh));
                }
            }
        }
    }

    fn find(&self, batch: &RecordBatch, columns: &[usize], into: &mut Vec<u32>) {
        let known = |number: Option<&u32>| number.copied().unwrap_or(NO_KEY);
        match self {
            Numbers::Int(numbers) if *batch.column(columns[0]).data_type() == DataType::Int64 => {
                into.extend(ints(batch.column(columns[0])).map(|key| known(numbers.get(&key))));
            }
            // No key of another type equals an integer.
            Numbers::Int(_) => into.extend((0..batch.num_rows()).map(|_| NO_KEY)),
            Numbers::Any(numbers) => {
                into.extend(keys_of(batch, columns).map(|key| known(numbers.get(&key))));
            }
        }
    }
}

fn ints(array: &ArrayRef) -> impl Iterator<Item = Option<i64>> {
    array.as_primitive::<Int64Type>().iter()
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

/// Hashes integers by a multiplication whose high half falls on the low one. History is the user's
/// own: nobody picks keys that collide.
#[derive(Default)]
pub(crate) struct Mix(u64);

/// An odd number without pattern: the fraction of the golden ratio in 64 bits.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, x: u64) {
        let wide = u128::from(self.0 ^ x) * u128::from(GOLDEN);
        self.0 = (wide >> 64) as u64 ^ wide as u64;
    }

    fn write_i64(&mut self, x: i64) {
        self.write_u64(x as u64);
    }

    fn write_isize(&mut self, x: isize) {
        self.write_u64(x as u64);
    }
}

//! Events to records: expressions evaluated on a batch, keys and bytes made for each group.

use crate::catalog::{Catalog, StreamPart};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray,
};
use std::ops::Range;
use trueup_core::{Event, Key, Position, record};
use trueup_sql::{EvalError, GroupDef, RowExpr, id_at, value_at};
use trueup_store::{Append, At, MAX_RECORD_BYTES};

/// The records of a batch of events, for the keys of all groups of their stream.
#[derive(Debug, Default)]
pub struct Prepared {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Events that a group's expressions have no value for, by row of the batch, with the reason.
    /// They are in no value of that group.
    pub refused: Vec<(usize, String)>,
}

/// One record: where its key and its bytes stand.
#[derive(Debug)]
struct Entry {
    group: usize,
    key: Range<usize>,
    record: Range<usize>,
}

impl Prepared {
    /// The records as a store takes them.
    pub fn appends<'a>(&'a self, catalog: &Catalog) -> Vec<Append<'a>> {
        let append = |entry: &Entry| Append {
            at: At { space: catalog.space(entry.group), key: &self.bytes[entry.key.clone()] },
            record: &self.bytes[entry.record.clone()],
        };
        self.entries.iter().map(append).collect()
    }

    /// The group that the append with this number belongs to.
    pub fn group_of(&self, append: usize) -> usize {
        self.entries[append].group
    }
}

/// Makes the records of a batch in the stream's schema. `positions` has one for each row; `wanted`
/// says for which groups a row is new (a group behind the others must not miss what those have).
pub fn prepare(
    catalog: &Catalog,
    part: &StreamPart,
    batch: &RecordBatch,
    positions: &[Position],
    wanted: impl Fn(usize, Position) -> bool,
) -> Prepared {
    let mut out = Prepared::default();
    for &group in &part.groups {
        let definition = catalog.group(group);
        let evaluated = Evaluated::new(definition, part, batch, &mut out.refused);
        for (row, &position) in positions.iter().enumerate() {
            if evaluated.enters(row) && wanted(group, position) {
                let (key, event) = evaluated.event(row);
                if let Err(reason) = out.add(group, &key, &event, position) {
                    out.refused.push((row, format!("group {}: {reason}", definition.name)));
                }
            }
        }
    }
    out
}

/// A group's expressions on a batch.
struct Evaluated<'a> {
    group: &'a GroupDef,
    keys: Vec<&'a ArrayRef>,
    times: &'a TimestampMicrosecondArray,
    ids: &'a ArrayRef,
    passes: Option<BooleanArray>,
    /// Rows on which an expression has no value, ascending.
    without: Vec<usize>,
    slots: Vec<ArrayRef>,
}

impl<'a> Evaluated<'a> {
    fn new(
        group: &'a GroupDef,
        part: &StreamPart,
        batch: &'a RecordBatch,
        refused: &mut Vec<(usize, String)>,
    ) -> Evaluated<'a> {
        let (mut passes, mut failed) = (None, Vec::new());
        if let Some(filter) = &group.filter {
            let (values, without) = filter.evaluate_each(batch);
            passes = Some(values.as_boolean().clone());
            failed = without;
        }
        let evaluate = |slot: &RowExpr| {
            let (values, without) = slot.evaluate_each(batch);
            // What the filter leaves out is no event of this group, whatever its arguments.
            failed.extend(without.into_iter().filter(|(row, _)| holds(&passes, *row)));
            values
        };
        let slots = group.slots.iter().map(evaluate).collect();
        let mut without: Vec<usize> = failed.iter().map(|(row, _)| *row).collect();
        without.sort_unstable();
        let reason = |error: EvalError| format!("group {}: {error}", group.name);
        refused.extend(failed.into_iter().map(|(row, error)| (row, reason(error))));
        Evaluated {
            group,
            keys: group.keys.iter().map(|&column| batch.column(column)).collect(),
            times: batch.column(part.stream.event_time).as_primitive(),
            ids: batch.column(part.stream.id),
            passes,
            without,
            slots,
        }
    }

    fn enters(&self, row: usize) -> bool {
        holds(&self.passes, row) && self.without.binary_search(&row).is_err()
    }

    fn event(&self, row: usize) -> (Key, Event) {
        let values: Vec<_> = self.keys.iter().map(|column| value_at(column, row)).collect();
        let event = Event {
            time: self.times.value(row),
            id: id_at(self.ids, row, self.group.core.id),
            slots: self.slots.iter().map(|slot| value_at(slot, row)).collect(),
        };
        (Key::of(&values), event)
    }
}

/// Whether a filter, if there is one, is true for a row.
fn holds(filter: &Option<BooleanArray>, row: usize) -> bool {
    filter.as_ref().is_none_or(|truth| truth.is_valid(row) && truth.value(row))
}

impl Prepared {
    /// Adds a record; refuses one that no store takes.
    fn add(
        &mut self,
        group: usize,
        key: &Key,
        event: &Event,
        position: Position,
    ) -> Result<(), String> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.bytes());
        let middle = self.bytes.len();
        record(key.bytes(), event, Some(position), &mut self.bytes);
        let end = self.bytes.len();
        if end - middle > MAX_RECORD_BYTES {
            self.bytes.truncate(start);
            return Err(format!("a record of {} bytes is above the bound", end - middle));
        }
        self.entries.push(Entry { group, key: start..middle, record: middle..end });
        Ok(())
    }
}

//! Events to records: expressions evaluated on a batch, keys and bytes made for each group.

use crate::catalog::{Catalog, StreamPart};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
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
        let evaluated = Evaluated::new(definition, batch, &mut out.refused);
        for (row, position) in positions.iter().enumerate() {
            if evaluated.enters(row) && wanted(group, *position) {
                out.add(group, definition, part, batch, &evaluated, row, *position);
            }
        }
    }
    out
}

/// A group's expressions on a batch.
struct Evaluated {
    passes: Option<BooleanArray>,
    /// Rows on which an expression has no value, ascending.
    without: Vec<usize>,
    slots: Vec<ArrayRef>,
}

impl Evaluated {
    fn new(group: &GroupDef, batch: &RecordBatch, refused: &mut Vec<(usize, String)>) -> Evaluated {
        let mut without = Vec::new();
        let mut evaluate = |expr: &RowExpr| {
            let (values, failed) = expr.evaluate_each(batch);
            let note = |(row, error): (usize, EvalError)| {
                without.push(row);
                refused.push((row, format!("group {}: {error}", group.name)));
            };
            failed.into_iter().for_each(note);
            values
        };
        let passes = group.filter.as_ref().map(|filter| evaluate(filter).as_boolean().clone());
        let slots = group.slots.iter().map(&mut evaluate).collect();
        without.sort_unstable();
        Evaluated { passes, without, slots }
    }

    fn enters(&self, row: usize) -> bool {
        let passes = self.passes.as_ref().is_none_or(|p| p.is_valid(row) && p.value(row));
        passes && self.without.binary_search(&row).is_err()
    }
}

impl Prepared {
    #[expect(clippy::too_many_arguments, reason = "one row of one group, taken apart once")]
    fn add(
        &mut self,
        group: usize,
        definition: &GroupDef,
        part: &StreamPart,
        batch: &RecordBatch,
        evaluated: &Evaluated,
        row: usize,
        position: Position,
    ) {
        let values: Vec<_> =
            definition.keys.iter().map(|&column| value_at(batch.column(column), row)).collect();
        let key = Key::of(&values);
        let times = batch.column(part.stream.event_time);
        let event = Event {
            time: times.as_primitive::<TimestampMicrosecondType>().value(row),
            id: id_at(batch.column(part.stream.id), row, definition.core.id),
            slots: evaluated.slots.iter().map(|slot| value_at(slot, row)).collect(),
        };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.bytes());
        let middle = self.bytes.len();
        record(key.bytes(), &event, Some(position), &mut self.bytes);
        let end = self.bytes.len();
        if end - middle > MAX_RECORD_BYTES {
            let bytes = end - middle;
            self.bytes.truncate(start);
            let group = &definition.name;
            let reason = format!("group {group}: a record of {bytes} bytes is above the bound");
            return self.refused.push((row, reason));
        }
        self.entries.push(Entry { group, key: start..middle, record: middle..end });
    }
}

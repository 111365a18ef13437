//! Events to records: expressions evaluated on a batch, keys and bytes made for each group.

use crate::catalog::{Catalog, StreamPart};
use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use std::ops::Range;
use trueup_core::{Event, Key, Position, record};
use trueup_sql::{Entering, GroupDef, id_at, value_at};
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

    /// Puts the records of another batch behind these. What it refused stays its own.
    pub(super) fn join(&mut self, other: Prepared) {
        if self.entries.is_empty() {
            (self.bytes, self.entries) = (other.bytes, other.entries);
            return;
        }
        let shift = self.bytes.len();
        let behind = |range: Range<usize>| range.start + shift..range.end + shift;
        self.bytes.extend(other.bytes);
        self.entries.extend(other.entries.into_iter().map(|Entry { group, key, record }| Entry {
            group,
            key: behind(key),
            record: behind(record),
        }));
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
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
        let evaluated = Evaluated::new(definition, part, batch);
        let reason = |why: String| format!("group {}: {why}", definition.name);
        let refused = evaluated.entering.refused().iter();
        out.refused.extend(refused.map(|(row, error)| (*row, reason(error.to_string()))));
        for (row, &position) in positions.iter().enumerate() {
            if evaluated.entering.enters(row) && wanted(group, position) {
                let (key, event) = evaluated.event(row);
                if let Err(why) = out.add(group, &key, &event, Some(position)) {
                    out.refused.push((row, reason(why)));
                }
            }
        }
    }
    out
}

/// A group's expressions on a batch.
pub(super) struct Evaluated<'a> {
    group: &'a GroupDef,
    keys: Vec<&'a ArrayRef>,
    times: &'a TimestampMicrosecondArray,
    ids: &'a ArrayRef,
    pub(super) entering: Entering,
}

impl<'a> Evaluated<'a> {
    pub(super) fn new(
        group: &'a GroupDef,
        part: &StreamPart,
        batch: &'a RecordBatch,
    ) -> Evaluated<'a> {
        Evaluated {
            group,
            keys: group.keys.iter().map(|&column| batch.column(column)).collect(),
            times: batch.column(part.stream.event_time).as_primitive(),
            ids: batch.column(part.stream.id),
            entering: group.evaluate(batch),
        }
    }

    pub(super) fn event(&self, row: usize) -> (Key, Event) {
        let values: Vec<_> = self.keys.iter().map(|column| value_at(column, row)).collect();
        let event = Event {
            time: self.times.value(row),
            id: id_at(self.ids, row, self.group.core.id),
            slots: self.entering.slots().iter().map(|slot| value_at(slot, row)).collect(),
        };
        (Key::of(&values), event)
    }
}

impl Prepared {
    /// Adds a record; refuses one that no store takes.
    pub(super) fn add(
        &mut self,
        group: usize,
        key: &Key,
        event: &Event,
        position: Option<Position>,
    ) -> Result<(), String> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.bytes());
        let middle = self.bytes.len();
        record(key.bytes(), event, position, &mut self.bytes);
        let end = self.bytes.len();
        if end - middle > MAX_RECORD_BYTES {
            self.bytes.truncate(start);
            return Err(format!("a record of {} bytes is above the bound", end - middle));
        }
        self.entries.push(Entry { group, key: start..middle, record: middle..end });
        Ok(())
    }
}

//! A case's events as the records that ingest makes of them, one by one, so that a way can lay them
//! out as it likes.

use crate::case::Case;
use crate::report::Refused;
use arrow::array::RecordBatch;
use trueup::ingest::prepare;
use trueup_core::{Position, Value};
use trueup_sql::value_at;
use trueup_store::Space;

/// One event as one group keeps it.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) group: usize,
    pub(crate) space: Space,
    pub(crate) key: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
    /// Its partition, within which the order of records of groups with partials must be kept.
    pub(crate) partition: u32,
}

/// The batch of one event that decodes and is admitted, or why it is refused.
pub(crate) fn admit(case: &Case, index: usize) -> Result<RecordBatch, Refused> {
    let event = &case.events[index];
    let part = &case.catalog.streams()[event.stream];
    let decoded = part.decoder.json_rows(&[&event.bytes]).unwrap();
    if let Some(bad) = decoded.bad.into_iter().next() {
        return Err(Refused { index, column: Some(bad.column), reason: bad.reason });
    }
    let Value::Time(time) = value_at(decoded.batch.column(part.stream.event_time), 0) else {
        panic!("an event that decodes has a time")
    };
    // The rule of admission, spelled out; the worker and the server have code of their own for it.
    if time > event.log_us.saturating_add(part.stream.future_us) {
        let column = Some(Some(part.stream.columns[part.stream.event_time].name.clone()));
        return Err(Refused { index, column, reason: "too far ahead of its log".into() });
    }
    Ok(decoded.batch)
}

/// The records of all events, event by event, each at the position that `position` gives it, and
/// the events that are refused.
pub(crate) fn records(
    case: &Case,
    position: impl Fn(usize) -> Position,
) -> (Vec<Vec<Record>>, Vec<Refused>) {
    let mut refused = Vec::new();
    let mut all = Vec::new();
    for index in 0..case.events.len() {
        let batch = match admit(case, index) {
            Ok(batch) => batch,
            Err(bad) => {
                refused.push(bad);
                all.push(Vec::new());
                continue;
            }
        };
        let part = &case.catalog.streams()[case.events[index].stream];
        let at = position(index);
        let prepared = prepare(&case.catalog, part, &batch, &[at], |_, _| true);
        let without = prepared.refused.iter();
        refused.extend(without.map(|(_, reason)| Refused {
            index,
            column: None,
            reason: reason.clone(),
        }));
        let appends = prepared.appends(&case.catalog).into_iter().enumerate();
        let record = |(number, append): (usize, trueup_store::Append<'_>)| Record {
            group: prepared.group_of(number),
            space: append.at.space,
            key: append.at.key.to_vec(),
            bytes: append.record.to_vec(),
            partition: at.partition,
        };
        all.push(appends.map(record).collect());
    }
    (all, refused)
}

//! Which events of a batch enter a group, and with what arguments: the one answer that ingest,
//! serving and training share.
//!
//! An expression may have no value for an event: a division by zero, an overflow. SQL computes an
//! argument only for rows that pass the aggregate's FILTER, so `sum(100 / parts) FILTER (WHERE
//! parts <> 0)` is sound; there the argument counts as NULL. Where it is needed, the event cannot
//! be in the group, and the caller says so.

use crate::definition::GroupDef;
use crate::evaluate::EvalError;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};

/// A group's filter and slots for the rows of a batch.
#[derive(Debug)]
pub struct Entering {
    passes: Option<BooleanArray>,
    slots: Vec<ArrayRef>,
    refused: Vec<(usize, EvalError)>,
}

impl GroupDef {
    /// Evaluates the group on events of its stream.
    pub fn evaluate(&self, batch: &RecordBatch) -> Entering {
        let (mut passes, mut refused) = (None, Vec::new());
        if let Some(filter) = &self.filter {
            let (values, failed) = filter.evaluate_each(batch);
            passes = Some(values.as_boolean().clone());
            refused = failed;
        }
        let (mut slots, mut failures) = (Vec::new(), Vec::new());
        for slot in &self.slots {
            let (values, failed) = slot.evaluate_each(batch);
            slots.push(values);
            failures.push(failed);
        }
        for (slot, failed) in failures.iter().enumerate() {
            let needed =
                |row: usize| is_true(&passes, row) && self.needs(slot, row, &slots, &failures);
            refused.extend(failed.iter().filter(|(row, _)| needed(*row)).cloned());
        }
        refused.sort_by_key(|(row, _)| *row);
        refused.dedup_by_key(|(row, _)| *row);
        Entering { passes, slots, refused }
    }

    /// Whether some aggregate needs a slot's value for a row: as a condition, or as an argument
    /// whose condition holds.
    fn needs(
        &self,
        slot: usize,
        row: usize,
        slots: &[ArrayRef],
        failures: &[Vec<(usize, EvalError)>],
    ) -> bool {
        let holds = |filter: usize| {
            let truth = slots[filter].as_boolean();
            let failed = failures[filter].iter().any(|(place, _)| *place == row);
            failed || truth.is_valid(row) && truth.value(row)
        };
        self.core.aggregates.iter().any(|aggregate| {
            let argument = aggregate.arg == Some(slot) && aggregate.filter.is_none_or(holds);
            aggregate.filter == Some(slot) || argument
        })
    }
}

fn is_true(truth: &Option<BooleanArray>, row: usize) -> bool {
    truth.as_ref().is_none_or(|truth| truth.is_valid(row) && truth.value(row))
}

impl Entering {
    /// Whether the event in a row is one of the group's.
    pub fn enters(&self, row: usize) -> bool {
        is_true(&self.passes, row) && self.refusal(row).is_none()
    }

    /// Why the group cannot take the event in a row, if an expression that it needs has no value.
    pub fn refusal(&self, row: usize) -> Option<&EvalError> {
        let place = self.refused.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        Some(&self.refused[place].1)
    }

    /// The rows that the group cannot take, ascending, each with the reason.
    pub fn refused(&self) -> &[(usize, EvalError)] {
        &self.refused
    }

    /// The argument and filter columns, one a slot of the group.
    pub fn slots(&self) -> &[ArrayRef] {
        &self.slots
    }
}

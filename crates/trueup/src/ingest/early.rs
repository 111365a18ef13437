//! Early copies: the records of events that are on their way into the log, for those who ask
//! meanwhile.
//!
//! ```text
//!   row ─▶ admitted as push admits it ─▶ record without a position, of each exact group
//!     └──▶ log ─▶ worker ─▶ record with its position: the id is there, so it counts once
//! ```
//!
//! Exact groups alone take records without positions, since they know events by their ids. A copy
//! vouches for nothing: what the store loses of it the log brings.

use super::admit;
use super::prepare::{Evaluated, Prepared};
use super::push;
use crate::catalog::{Catalog, StreamPart};
use arrow::array::RecordBatch;
use trueup_core::Keep;
use trueup_store::Append;

/// The early copies of a request's rows.
#[derive(Debug, Default)]
pub struct EarlyCopies {
    prepared: Prepared,
    /// The row of each copy.
    rows: Vec<usize>,
    /// Rows that are no events which push would take, with the reason.
    pub refused: Vec<(usize, String)>,
}

impl EarlyCopies {
    /// Of rows in the stream's schema that come at `now_us`, microseconds since 1970.
    pub fn of(
        catalog: &Catalog,
        part: &StreamPart,
        batch: &RecordBatch,
        now_us: i64,
    ) -> EarlyCopies {
        let mut copies = EarlyCopies::default();
        let mut admitted = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            match admit::refusal(part, batch, row, now_us) {
                None => admitted.push(row),
                Some((column, reason)) => {
                    copies.refused.push((row, push::why(Some(&column), &reason)));
                }
            }
        }
        for &group in &part.groups {
            let definition = catalog.group(group);
            if definition.core.keep != Keep::Exact {
                continue;
            }
            let evaluated = Evaluated::new(definition, part, batch);
            for &row in admitted.iter().filter(|&&row| evaluated.entering.enters(row)) {
                let (key, event) = evaluated.event(row);
                // One that is too long for a store is a dead letter when the log brings it.
                if copies.prepared.add(group, &key, &event, None).is_ok() {
                    copies.rows.push(row);
                }
            }
        }
        copies
    }

    /// The copies as a store takes them.
    pub fn appends<'a>(&'a self, catalog: &Catalog) -> Vec<Append<'a>> {
        self.prepared.appends(catalog)
    }

    /// For each of `rows` rows whether the state has it: all of its copies, and there are some.
    pub fn held(&self, appended: &[bool], rows: usize) -> Vec<bool> {
        let mut held: Vec<Option<bool>> = vec![None; rows];
        for (&row, &done) in self.rows.iter().zip(appended) {
            held[row] = Some(held[row].unwrap_or(true) && done);
        }
        held.into_iter().map(|held| held == Some(true)).collect()
    }
}

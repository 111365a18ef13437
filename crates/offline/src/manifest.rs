//! What a training set was made of, beside its file: enough to tell whether a model and a server
//! mean the same features, and what the data held that nobody expected.

use crate::dead::{DeadLetters, Place};
use crate::set::{Batch, TrainingSet};
use crate::stats::Stats;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use trueup_sql::ARITHMETIC_VERSION;

/// What a training set was made of, as JSON: the view with its SQL and digest, sources, counts,
/// dead letters, unknown cells and column statistics. The same inputs give the same text.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest(Json);

impl Manifest {
    /// The manifest as a JSON object.
    pub fn json(&self) -> &Json {
        &self.0
    }

    /// How many cells are NULL because their value cannot be known.
    pub fn unknown_cells(&self) -> u64 {
        self.0["unknown_cells"]["total"].as_u64().unwrap_or(0)
    }
}

/// Counts cells that have no value, by column and reason.
#[derive(Default)]
pub(crate) struct UnknownCells {
    counts: BTreeMap<(usize, String), (u64, usize)>,
}

impl UnknownCells {
    pub(crate) fn add(&mut self, batch: &Batch) {
        for cell in &batch.unknown {
            // Reasons of expressions name values; what is counted is the expression.
            let key = (cell.column, cell.reason.to_string());
            let entry = self.counts.entry(key).or_insert((0, cell.row));
            entry.0 += 1;
        }
    }

    fn json(&self, set: &TrainingSet<'_>) -> Json {
        let total: u64 = self.counts.values().map(|(count, _)| count).sum();
        let each = self.counts.iter().map(|((column, reason), (count, first))| {
            let name = set.schema().field(*column).name();
            json!({"column": name, "reason": reason, "cells": count, "first_row": first})
        });
        json!({"total": total, "by_column": each.collect::<Vec<_>>()})
    }
}

impl Manifest {
    pub(crate) fn of(set: &TrainingSet<'_>, stats: &[Stats], unknown: &UnknownCells) -> Manifest {
        let (view, counts) = (set.view, set.counts());
        let sources =
            set.sources.iter().map(|(stream, name)| json!({"stream": stream, "source": &**name}));
        let fields = set.schema().fields().iter().zip(stats);
        let columns =
            fields.map(|(field, stats)| stats.json(field.name(), &field.data_type().to_string()));
        Manifest(json!({
            "view": view.name,
            "digest": view.digest.to_string(),
            "arithmetic_version": ARITHMETIC_VERSION,
            "trueup": env!("CARGO_PKG_VERSION"),
            "sql": view.sql,
            "sources": sources.collect::<Vec<_>>(),
            "rows": counts.rows,
            "not_in_view": counts.not_in_view,
            "repeated_ids": counts.repeats,
            "dead_letters": dead_letters(&counts.dead_letters),
            "unknown_cells": unknown.json(set),
            "columns": columns.collect::<Vec<_>>(),
        }))
    }
}

fn dead_letters(dead: &DeadLetters) -> Json {
    let first = dead.first().iter().map(|letter| {
        let (place, number) = match letter.place {
            Place::Row(row) => ("row", row),
            Place::Line(line) => ("line", line),
        };
        let mut out = json!({"source": &*letter.source, place: number});
        if let Some(column) = &letter.column {
            out["column"] = json!(column);
        }
        out["fault"] = json!(letter.fault);
        out["reason"] = json!(letter.reason);
        out
    });
    json!({
        "total": dead.total(),
        "by_fault": dead.counts(),
        "first": first.collect::<Vec<_>>(),
    })
}

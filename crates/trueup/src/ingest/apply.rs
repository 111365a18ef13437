//! From events that came to records of the store: admitted, evaluated; what cannot be used becomes
//! a dead letter.

use super::backfill::{Plan, Read};
use super::prepare::{Prepared, prepare};
use super::source::{HISTORY, SourceRecord};
use super::{admit, push};
use crate::catalog::{Catalog, StreamPart};
use crate::json;
use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use std::collections::BTreeSet;
use trueup_core::Position;
use trueup_sql::decode::{AvroSchemas, BadEvent, DecodeError, MAX_BAD_ROW_BYTES};
use trueup_store::DeadLetter;

/// What a batch of events comes to.
#[derive(Debug, Default)]
pub(super) struct Applying {
    /// For the store.
    pub(super) prepared: Prepared,
    /// For the dead letters.
    pub(super) letters: Vec<DeadLetter>,
    /// Fields that the stream declares no column for.
    pub(super) unknown_fields: u64,
    /// Names of some of them.
    pub(super) unknown_names: BTreeSet<String>,
}

impl Applying {
    /// Puts what a later batch comes to behind this.
    pub(super) fn join(&mut self, other: Applying) {
        self.prepared.join(other.prepared);
        self.letters.extend(other.letters);
        self.unknown_fields += other.unknown_fields;
        self.unknown_names.extend(other.unknown_names);
    }
}

/// Events that came, decoded.
pub(super) struct Arrived<'a> {
    /// The good ones.
    batch: RecordBatch,
    /// For each of them where it stands, and when its log took it.
    places: Vec<(Position, i64)>,
    /// Those that did not decode.
    letters: Vec<DeadLetter>,
    /// The letter of one of the good ones that cannot be used after all.
    letter: Box<dyn Fn(usize, String) -> DeadLetter + 'a>,
    /// Fields that the stream declares no column for.
    unknown_fields: u64,
    /// Names of some of them.
    unknown_names: BTreeSet<String>,
}

impl<'a> Arrived<'a> {
    /// Records of the log with this number, which has these schemas if it holds Avro.
    pub(super) fn records(
        part: &StreamPart,
        avro: Option<&AvroSchemas>,
        source: u32,
        records: &'a [SourceRecord],
    ) -> Result<Arrived<'a>, DecodeError> {
        let payloads: Vec<&[u8]> = records.iter().map(|record| &record.payload[..]).collect();
        crate::fault::poison(&payloads);
        let decoded = part.records(avro, &payloads)?;
        let why = |bad: &BadEvent| push::why(bad.column.as_deref(), &bad.reason);
        let bad = decoded.bad.iter();
        let letters = bad.map(|bad| push::letter(why(bad), &records[bad.index])).collect();
        let place = |&index: &usize| {
            let SourceRecord { partition, offset, time_us, .. } = records[index];
            (Position { source, partition, offset: offset + 1 }, time_us)
        };
        Ok(Arrived {
            places: decoded.kept.iter().map(place).collect(),
            batch: decoded.batch,
            letters,
            unknown_fields: decoded.unknown_fields,
            unknown_names: decoded.unknown_names,
            letter: Box::new(move |row, reason| push::letter(reason, &records[decoded.kept[row]])),
        })
    }

    /// Rows of the history of a plan. One that does not say when it became known was known when the
    /// backfill was begun.
    pub(super) fn rows(part: &StreamPart, plan: &Plan, rows: &'a Read) -> Arrived<'a> {
        let known = part.stream.known_at.map(|column| rows.batch.column(column));
        let known = known.map(|known| known.as_primitive::<TimestampMicrosecondType>());
        let time_us = |row: usize| match known.filter(|known| known.is_valid(row)) {
            Some(known) => known.value(row),
            None => plan.begun_us,
        };
        let place = |(row, &offset): (usize, &u64)| {
            let position = Position { source: HISTORY, partition: 0, offset: offset + 1 };
            (position, time_us(row))
        };
        let (letters, time_us) = (plan.letters(), Some(plan.begun_us));
        let letter = move |offset: u64, reason: String, mut bytes: Vec<u8>| {
            bytes.truncate(MAX_BAD_ROW_BYTES);
            DeadLetter { position: Some((letters, offset)), time_us, reason, bytes }
        };
        let bad = rows.bad.iter();
        let bad = bad.map(|bad| letter(bad.offset, bad.reason.clone(), bad.bytes.clone()));
        Arrived {
            batch: rows.batch.clone(),
            places: rows.offsets.iter().enumerate().map(place).collect(),
            letters: bad.collect(),
            unknown_fields: 0,
            unknown_names: BTreeSet::new(),
            letter: Box::new(move |row, reason| {
                let mut bytes = Vec::new();
                json::object(&mut bytes, &rows.batch, row);
                let reason = push::cut(format!("{}: {reason}", rows.place(row)));
                letter(rows.offsets[row], reason, bytes)
            }),
        }
    }
}

/// Works a batch out. `wanted` says for which groups a position is new.
pub(super) fn apply(
    catalog: &Catalog,
    part: &StreamPart,
    arrived: Arrived<'_>,
    wanted: impl Fn(usize, Position) -> bool,
) -> Result<Applying, DecodeError> {
    let Arrived { batch, places, mut letters, letter, unknown_fields, unknown_names } = arrived;
    let mut rows = Vec::with_capacity(places.len());
    for (row, &(_, time_us)) in places.iter().enumerate() {
        match admit::refusal(part, &batch, row, time_us) {
            None => rows.push(row),
            Some((column, reason)) => {
                letters.push(letter(row, push::why(Some(&column), &reason)));
            }
        }
    }
    let admitted = match rows.len() == places.len() {
        true => batch,
        false => {
            let rows: UInt32Array = rows.iter().map(|&row| row as u32).collect();
            take_record_batch(&batch, &rows).map_err(DecodeError::Batch)?
        }
    };
    let positions: Vec<Position> = rows.iter().map(|&row| places[row].0).collect();
    let prepared = prepare(catalog, part, &admitted, &positions, wanted);
    for (row, reason) in &prepared.refused {
        letters.push(letter(rows[*row], reason.clone()));
    }
    Ok(Applying { prepared, letters, unknown_fields, unknown_names })
}

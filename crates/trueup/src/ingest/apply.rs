//! From records of a log to records of the store: decoded, admitted, evaluated; what cannot be used
//! becomes a dead letter.

use super::prepare::{Prepared, prepare};
use super::source::SourceRecord;
use super::{admit, push};
use crate::catalog::{Catalog, StreamPart};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use std::collections::BTreeSet;
use trueup_core::Position;
use trueup_sql::decode::{DecodeError, Decoded};
use trueup_store::DeadLetter;

/// What a batch of records comes to.
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

/// Works a batch out. Positions are of the source with this number; `wanted` says for which groups
/// a position is new.
pub(super) fn apply(
    catalog: &Catalog,
    part: &StreamPart,
    source: u32,
    records: &[SourceRecord],
    wanted: impl Fn(usize, Position) -> bool,
) -> Result<Applying, DecodeError> {
    let payloads: Vec<&[u8]> = records.iter().map(|record| &record.payload[..]).collect();
    crate::fault::poison(&payloads);
    let decoded = part.decoder.json_rows(&payloads)?;
    let mut letters: Vec<DeadLetter> = Vec::new();
    for bad in &decoded.bad {
        let why = push::why(bad.column.as_deref(), &bad.reason);
        letters.push(push::letter(why, &records[bad.index]));
    }
    let (batch, kept) = admitted(part, &decoded.batch, &decoded.kept, records, &mut letters)?;
    let position = |record: &SourceRecord| Position {
        source,
        partition: record.partition,
        offset: record.offset + 1,
    };
    let positions: Vec<Position> = kept.iter().map(|&index| position(&records[index])).collect();
    let prepared = prepare(catalog, part, &batch, &positions, wanted);
    for (row, reason) in &prepared.refused {
        letters.push(push::letter(reason.clone(), &records[kept[*row]]));
    }
    let Decoded { unknown_fields, unknown_names, .. } = decoded;
    Ok(Applying { prepared, letters, unknown_fields, unknown_names })
}

/// The events of a decoded batch that are admitted, and where each stood among the records.
fn admitted(
    part: &StreamPart,
    batch: &RecordBatch,
    kept: &[usize],
    records: &[SourceRecord],
    letters: &mut Vec<DeadLetter>,
) -> Result<(RecordBatch, Vec<usize>), DecodeError> {
    let mut rows = Vec::with_capacity(kept.len());
    for (row, &index) in kept.iter().enumerate() {
        let record = &records[index];
        match admit::refusal(part, batch, row, record.time_us) {
            None => rows.push(row as u32),
            Some((column, reason)) => {
                letters.push(push::letter(push::why(Some(&column), &reason), record));
            }
        }
    }
    if rows.len() == kept.len() {
        return Ok((batch.clone(), kept.to_vec()));
    }
    let indices: Vec<usize> = rows.iter().map(|&row| kept[row as usize]).collect();
    let taken = take_record_batch(batch, &UInt32Array::from(rows)).map_err(DecodeError::Batch)?;
    Ok((taken, indices))
}

//! From records of a log to records of the store: decoded, admitted, evaluated; what cannot be used
//! becomes a dead letter.

use super::prepare::{Prepared, prepare};
use super::source::SourceRecord;
use super::{admit, push};
use crate::catalog::{Catalog, StreamPart};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use trueup_core::Position;
use trueup_sql::decode::DecodeError;
use trueup_store::DeadLetter;

/// What a batch of records comes to.
#[derive(Debug, Default)]
pub(super) struct Applying {
    /// For the store.
    pub(super) prepared: Prepared,
    /// For the dead letters.
    pub(super) letters: Vec<DeadLetter>,
}

impl Applying {
    /// Puts what a later batch comes to behind this.
    pub(super) fn join(&mut self, other: Applying) {
        self.prepared.join(other.prepared);
        self.letters.extend(other.letters);
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
        letters.push(push::letter(bad.to_string(), &records[bad.index]));
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
    Ok(Applying { prepared, letters })
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
            Some((_, reason)) => letters.push(push::letter(reason, record)),
        }
    }
    if rows.len() == kept.len() {
        return Ok((batch.clone(), kept.to_vec()));
    }
    let indices: Vec<usize> = rows.iter().map(|&row| kept[row as usize]).collect();
    let taken = take_record_batch(batch, &UInt32Array::from(rows)).map_err(DecodeError::Batch)?;
    Ok((taken, indices))
}

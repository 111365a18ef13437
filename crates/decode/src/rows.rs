//! Rows, good and bad, into one decoded batch.

use super::build::Builder;
use super::cell::{Cell, Scalar};
use super::fault::{BadEvent, BadValue, DecodeError, Fault};
use super::{Decoded, Decoder, MAX_BAD_ROW_BYTES, MAX_BATCH_TEXT_BYTES};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use std::collections::BTreeSet;

/// Where the rows of one input go.
pub(super) struct Sink<'d> {
    decoder: &'d Decoder,
    builders: Vec<Builder>,
    kept: Vec<usize>,
    bad: Vec<BadEvent>,
    room: TextRoom,
    /// Fields that no column takes.
    pub(super) unknown_fields: u64,
    /// Names of such fields.
    pub(super) unknown_names: BTreeSet<String>,
}

impl<'d> Sink<'d> {
    /// A sink for about `rows` rows.
    pub(super) fn new(decoder: &'d Decoder, rows: usize) -> Sink<'d> {
        let columns = &decoder.stream.columns;
        Sink {
            decoder,
            builders: columns.iter().map(|column| Builder::new(column.ty, rows)).collect(),
            kept: Vec::with_capacity(rows),
            bad: Vec::new(),
            room: TextRoom::default(),
            unknown_fields: 0,
            unknown_names: BTreeSet::new(),
        }
    }

    /// Takes a row whose `cells` stand in the order of the columns; `text` is the row as it came.
    pub(super) fn row(&mut self, index: usize, cells: &[Cell<'_>], text: &[u8]) {
        let columns = &self.decoder.stream.columns;
        self.unknown_fields += cells.len().saturating_sub(columns.len()) as u64;
        let mut scalars = Vec::with_capacity(columns.len());
        for (position, column) in columns.iter().enumerate() {
            let cell = cells.get(position).copied().unwrap_or(Cell::Null);
            match self.decoder.scalar(position, column, cell) {
                Ok(scalar) => scalars.push(scalar),
                Err(why) => return self.reject(index, Some(&column.name), why, text),
            }
        }
        if let Err(why) = self.room.take(&scalars) {
            return self.reject(index, None, why, text);
        }
        for (builder, scalar) in self.builders.iter_mut().zip(scalars) {
            builder.push(scalar);
        }
        self.kept.push(index);
    }

    /// Sets a row apart.
    pub(super) fn reject(
        &mut self,
        index: usize,
        column: Option<&str>,
        why: BadValue,
        text: &[u8],
    ) {
        self.bad.push(BadEvent {
            index,
            column: column.map(str::to_owned),
            fault: why.fault,
            reason: why.reason,
            row: text[..text.len().min(MAX_BAD_ROW_BYTES)].to_vec(),
        });
    }

    pub(super) fn finish(self) -> Result<Decoded, DecodeError> {
        let columns = self.builders.into_iter().map(Builder::finish).collect();
        let batch = batch_of(&self.decoder.schema, columns, self.kept.len())?;
        let Sink { kept, bad, unknown_fields, unknown_names, .. } = self;
        Ok(Decoded { batch, kept, bad, unknown_fields, unknown_names })
    }
}

/// A batch of `rows` rows, which `columns` cannot tell when there are none.
pub(super) fn batch_of(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, DecodeError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(DecodeError::Batch)
}

/// The text that a batch holds so far, so that its offsets stay within 32 bits.
#[derive(Default)]
pub(super) struct TextRoom(usize);

impl TextRoom {
    pub(super) fn take(&mut self, scalars: &[Scalar<'_>]) -> Result<(), BadValue> {
        let length =
            |scalar: &Scalar<'_>| if let Scalar::Text(text) = scalar { text.len() } else { 0 };
        let wanted = scalars.iter().map(length).sum::<usize>();
        if wanted > MAX_BATCH_TEXT_BYTES - self.0 {
            let reason = "the batch holds more than 2 GiB of text; send smaller batches";
            return Err(BadValue::new(Fault::Size, reason));
        }
        self.0 += wanted;
        Ok(())
    }
}

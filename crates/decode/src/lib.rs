//! Decoding: rows of JSON, CSV, Avro, Arrow or a database to a stream's typed columns, by one
//! table.
//!
//! A row is good or bad as a whole. Bad rows are set apart with a reason and never stop the input;
//! good ones become one [`RecordBatch`] with exactly the stream's schema. Nothing is guessed, cut
//! or wrapped: what a column cannot keep exactly is bad, except that a DOUBLE is rounded where it
//! becomes a DECIMAL. `docs/decoding.md` is printed from [`TABLE`].
//!
//! ```text
//! JSON row  ─▶ fields ─┐
//! CSV row   ─▶ fields ─┼─▶ Cell ─▶ rule of the column's type ─▶ value ─▶ column
//! Avro      ─▶ fields ─┤                └─▶ BadEvent
//! Arrow     ─▶ values ─┘
//! ```
//!
//! What a stream is stands here too ([`schema`]), and the way between Arrow's columns and values of
//! `trueup_core` ([`bridge`]): neither knows SQL, whose compiled parser is large.
//!
//! This crate knows no admission: an event time too far ahead of its log is judged elsewhere.

mod avro;
pub mod bridge;
mod build;
mod cell;
mod columns;
mod csv;
mod fault;
mod input;
mod json;
mod number;
pub mod print;
mod rows;
pub mod schema;
mod table;
#[cfg(test)]
mod tests;
mod time;

use crate::schema::{Column, Stream};
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use trueup_core::{Micros, Value};

pub use avro::{AvroSchema, AvroSchemas, BadSchema};
pub use cell::Cell;
pub use csv::{CsvReader, csv_names};
pub use fault::{BadEvent, BadValue, DecodeError, Fault};
pub use json::JsonReader;
pub use table::{Row, TABLE, markdown};
pub use time::{is_date, is_time};

/// Bytes of the longest value: 64 KiB. Names, agents and addresses are far shorter, and a stream
/// keeps every value of a window.
pub const MAX_TEXT_BYTES: usize = 64 << 10;

/// Bytes of the longest row of text: 1 MiB, enough for every column of a wide event.
pub const MAX_ROW_BYTES: usize = 1 << 20;

/// Bytes of a bad row that its [`BadEvent`] keeps: 64 KiB, so that a dead letter stays a letter.
pub const MAX_BAD_ROW_BYTES: usize = 64 << 10;

/// Names of unknown fields that a batch tells: a producer adds a few at a time.
pub const MAX_UNKNOWN_NAMES: usize = 16;

/// Bytes of the longest name that is told; what is longer is no name.
pub const MAX_UNKNOWN_NAME_BYTES: usize = 128;

/// Bytes of text in one batch: Arrow's 32-bit offsets reach no further.
pub const MAX_BATCH_TEXT_BYTES: usize = i32::MAX as usize;

/// Decodes the events of one stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    stream: Arc<Stream>,
    schema: SchemaRef,
    required: Vec<bool>,
    names: HashMap<Box<str>, usize>,
}

/// What an input decoded to.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The good rows, in the order of the input, with the schema of [`Decoder::schema`].
    pub batch: RecordBatch,
    /// Where each row of `batch` stood in the input, counted as [`BadEvent::index`] is.
    pub kept: Vec<usize>,
    /// The bad rows, in the order of the input.
    pub bad: Vec<BadEvent>,
    /// How many fields were ignored because the stream declares no such column, bad rows included.
    pub unknown_fields: u64,
    /// Names of some of them, where the rows are JSON: at most [`MAX_UNKNOWN_NAMES`], none longer
    /// than [`MAX_UNKNOWN_NAME_BYTES`].
    pub unknown_names: BTreeSet<String>,
}

/// The time that a text says, by the rules of a TIMESTAMP column without `epoch_unit`.
///
/// # Errors
/// The text is no time, or one outside the years 1 to 9999.
pub fn timestamp(text: &str) -> Result<Micros, BadValue> {
    time::of_text(None, text).map(Micros)
}

impl Decoder {
    /// A decoder for the events of `stream`.
    pub fn new(stream: Arc<Stream>) -> Decoder {
        let names = stream.columns.iter().enumerate();
        let names = names.map(|(index, column)| (column.name.as_str().into(), index)).collect();
        let required = stream.columns.iter().map(|column| column.not_null).collect();
        Decoder { schema: stream.schema.clone(), stream, required, names }
    }

    /// The same, but NULL in these columns is taken although they are declared NOT NULL: for
    /// request rows, whose event time may be the server's clock. Indices outside are ignored.
    pub fn allow_null(mut self, columns: impl IntoIterator<Item = usize>) -> Decoder {
        for column in columns {
            if let Some(required) = self.required.get_mut(column) {
                *required = false;
            }
        }
        let fields = self.stream.schema.fields().iter().zip(&self.required);
        let loosen = |(field, required): (&Arc<Field>, &bool)| {
            field.as_ref().clone().with_nullable(!required)
        };
        self.schema = Arc::new(Schema::new(fields.map(loosen).collect::<Vec<_>>()));
        self
    }

    /// The stream whose events these are.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The schema of decoded batches: the stream's, with NULLs where [`Decoder::allow_null`] says.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Which of these names are no columns of the stream, so that fields of that name are ignored.
    pub fn unknown<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
        names.into_iter().filter(|name| !self.names.contains_key(*name)).collect()
    }

    /// One value for the column at index `column`, such as a key of a lookup.
    ///
    /// # Errors
    /// The value does not fit the column's type, is NULL where that is not allowed, or there is no
    /// such column.
    pub fn value(&self, column: usize, cell: Cell<'_>) -> Result<Value, BadValue> {
        let missing = || BadValue::new(Fault::Type, "the stream has no such column");
        let declared = self.stream.columns.get(column).ok_or_else(missing)?;
        self.scalar(column, declared, cell).map(cell::Scalar::value)
    }

    /// Rows that a database returned: each holds a cell for every column of the stream, in its
    /// order. Cells that a row lacks are NULL, those too many are counted as unknown.
    ///
    /// # Errors
    /// None that an input causes; see [`DecodeError::Batch`].
    pub fn rows<'a, R: AsRef<[Cell<'a>]>>(&self, rows: &[R]) -> Result<Decoded, DecodeError> {
        let mut sink = rows::Sink::new(self, rows.len());
        for (index, row) in rows.iter().enumerate() {
            sink.row(index, row.as_ref(), &[]);
        }
        sink.finish()
    }

    fn scalar<'a>(
        &self,
        index: usize,
        column: &Column,
        cell: Cell<'a>,
    ) -> Result<cell::Scalar<'a>, BadValue> {
        if cell == Cell::Null && self.required[index] {
            return Err(fault::null());
        }
        cell::scalar(column.ty, self.stream.epoch_unit, cell)
    }
}

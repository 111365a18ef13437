//! Training sets as CSV that the decoding table reads back to the same values: NULL is an empty
//! field, empty text an empty field in quotes.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use std::io::{self, Write};
use trueup_core::{Kind, Value};
use trueup_sql::bridge::{kind_of, value_at};
use trueup_sql::decode::print::{Date, Decimal, Double, Timestamp};

/// Writes batches of one schema.
pub(crate) struct CsvWriter<W> {
    out: W,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header.
    pub(crate) fn new(mut out: W, schema: &SchemaRef) -> io::Result<CsvWriter<W>> {
        for (at, field) in schema.fields().iter().enumerate() {
            if matches!(field.data_type(), DataType::List(_)) {
                let reason = format!(
                    "column {} is a list, which CSV cannot hold; write .parquet or .arrow",
                    field.name()
                );
                return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
            }
            out.write_all(if at == 0 { b"" } else { b"," })?;
            text(&mut out, field.name())?;
        }
        out.write_all(b"\n")?;
        Ok(CsvWriter { out })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let kinds: Vec<Option<Kind>> =
            batch.columns().iter().map(|column| kind_of(column.data_type())).collect();
        for row in 0..batch.num_rows() {
            for (at, (column, kind)) in batch.columns().iter().zip(&kinds).enumerate() {
                self.out.write_all(if at == 0 { b"" } else { b"," })?;
                self.field(value_at(column, row), kind.as_ref())?;
            }
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> W {
        self.out
    }

    fn field(&mut self, value: Value, kind: Option<&Kind>) -> io::Result<()> {
        let out = &mut self.out;
        match value {
            Value::Null | Value::List(_) => Ok(()),
            Value::Bool(x) => write!(out, "{x}"),
            Value::Int(x) => write!(out, "{x}"),
            Value::Float(x) => write!(out, "{}", Double(x)),
            Value::Time(x) => write!(out, "{}", Timestamp(x)),
            Value::Date(x) => write!(out, "{}", Date(x)),
            Value::Text(x) => text(out, &x),
            Value::Decimal(value) => match kind {
                Some(Kind::Decimal { scale }) => {
                    write!(out, "{}", Decimal { value, scale: *scale })
                }
                _ => Ok(()),
            },
        }
    }
}

fn text(out: &mut impl Write, text: &str) -> io::Result<()> {
    if !text.is_empty() && !text.contains([',', '"', '\n', '\r']) {
        return out.write_all(text.as_bytes());
    }
    write!(out, "\"{}\"", text.replace('"', "\"\""))
}

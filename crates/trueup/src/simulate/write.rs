//! Simulated events as JSON lines, CSV or Parquet, to any output.
//!
//! All three say the same: times in UTC, amounts as decimals of two places, columns as
//! examples/fraud/fraud.sql has them. What the simulation knows beyond its streams (which are
//! frauds, and of what kind) is in none of them.

use super::{Column, Field, FieldKind, Record, SimulateError};
use arrow::array::{
    ArrayBuilder, ArrayRef, Decimal128Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use trueup_sql::decode::print::{Decimal, Timestamp};

/// Rows that are turned into Arrow columns at a time.
const BATCH_ROWS: usize = 8_192;

/// Rows of a Parquet row group, which is held in memory until it is full: some 20 MB.
const ROW_GROUP_ROWS: usize = 256 * 1024;

/// Bytes gathered before they go to the output.
const BUFFER_BYTES: usize = 256 * 1024;

/// Precision and scale of money columns: `DECIMAL(12,2)`.
const MONEY: (u8, i8) = (12, 2);

/// How a file of events is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON object a line.
    JsonLines,
    /// A header line, then one line an event (RFC 4180, but for the line ends, which are LF).
    Csv,
    /// Parquet, compressed with zstd.
    Parquet,
}

impl std::fmt::Display for FileFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FileFormat::JsonLines => "JSON lines",
            FileFormat::Csv => "CSV",
            FileFormat::Parquet => "Parquet",
        })
    }
}

/// Writes `rows` to `out` and says how many they were.
///
/// # Errors
///
/// [`SimulateError::Write`] with what `out` said; what was written before stays.
pub fn write<R: Record>(
    format: FileFormat,
    rows: impl Iterator<Item = R>,
    out: impl Write + Send,
) -> Result<u64, SimulateError> {
    let written = match format {
        FileFormat::JsonLines => write_lines(rows, out, to_json).map_err(|e| e.to_string()),
        FileFormat::Csv => write_csv(rows, out).map_err(|e| e.to_string()),
        FileFormat::Parquet => write_parquet(rows, out).map_err(|e| e.to_string()),
    };
    written.map_err(|reason| SimulateError::Write { format, reason })
}

/// Appends `row` to `out` as one JSON object, without a line end; amounts are strings, so that no
/// reader rounds them.
pub fn to_json<R: Record>(row: &R, out: &mut Vec<u8>) {
    let mut separator = b'{';
    for (column, field) in R::COLUMNS.iter().zip(row.fields()) {
        out.push(separator);
        separator = b',';
        let quote = if matches!(field, Field::Int(_)) { "" } else { "\"" };
        let text = Text(field);
        write!(out, "\"{}\":{quote}{text}{quote}", column.name).expect("memory takes every byte");
    }
    out.push(b'}');
}

fn to_csv<R: Record>(row: &R, out: &mut Vec<u8>) {
    for (index, field) in row.fields().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        write!(out, "{separator}{}", Text(field)).expect("memory takes every byte");
    }
}

/// A field as it is printed in every text format.
struct Text(Field);

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Field::Int(int) => write!(f, "{int}"),
            Field::Text(text) => f.write_str(text),
            Field::Money(cents) => Decimal { value: cents.into(), scale: MONEY.1 as u8 }.fmt(f),
            Field::Time(at) => Timestamp(at.0).fmt(f),
        }
    }
}

fn write_lines<R: Record>(
    rows: impl Iterator<Item = R>,
    out: impl Write,
    print: fn(&R, &mut Vec<u8>),
) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    let (mut line, mut count) = (Vec::new(), 0);
    for row in rows {
        line.clear();
        print(&row, &mut line);
        line.push(b'\n');
        out.write_all(&line)?;
        count += 1;
    }
    out.flush()?;
    Ok(count)
}

fn write_csv<R: Record>(rows: impl Iterator<Item = R>, mut out: impl Write) -> io::Result<u64> {
    let names: Vec<&str> = R::COLUMNS.iter().map(|column| column.name).collect();
    writeln!(out, "{}", names.join(","))?;
    write_lines(rows, out, to_csv)
}

fn write_parquet<R: Record>(
    rows: impl Iterator<Item = R>,
    out: impl Write + Send,
) -> Result<u64, ArrowError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let schema = schema_of(R::COLUMNS);
    let mut writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))?;
    let mut columns = Columns::new(schema, R::COLUMNS);
    let mut count = 0;
    for row in rows {
        columns.push(&row);
        count += 1;
        if count % BATCH_ROWS as u64 == 0 {
            writer.write(&columns.finish()?)?;
        }
    }
    writer.write(&columns.finish()?)?;
    writer.close()?;
    Ok(count)
}

fn schema_of(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| {
        let data_type = match column.kind {
            FieldKind::Int => DataType::Int64,
            FieldKind::Time => DataType::Timestamp(TimeUnit::Microsecond, None),
            FieldKind::Money => DataType::Decimal128(MONEY.0, MONEY.1),
            FieldKind::Text => DataType::Utf8,
        };
        ArrowField::new(column.name, data_type, false)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// Arrow columns being filled.
struct Columns {
    schema: SchemaRef,
    builders: Vec<Builder>,
}

enum Builder {
    Int(Int64Builder),
    Time(TimestampMicrosecondBuilder),
    Money(Decimal128Builder),
    Text(StringBuilder),
}

impl Columns {
    fn new(schema: SchemaRef, columns: &[Column]) -> Columns {
        let builder = |column: &Column| match column.kind {
            FieldKind::Int => Builder::Int(Int64Builder::new()),
            FieldKind::Time => Builder::Time(TimestampMicrosecondBuilder::new()),
            FieldKind::Money => Builder::Money(Decimal128Builder::new()),
            FieldKind::Text => Builder::Text(StringBuilder::new()),
        };
        Columns { schema, builders: columns.iter().map(builder).collect() }
    }

    fn push<R: Record>(&mut self, row: &R) {
        for (builder, field) in self.builders.iter_mut().zip(row.fields()) {
            match (builder, field) {
                (Builder::Int(ints), Field::Int(int)) => ints.append_value(int),
                (Builder::Time(times), Field::Time(at)) => times.append_value(at.0),
                (Builder::Money(sums), Field::Money(cents)) => sums.append_value(cents.into()),
                (Builder::Text(texts), Field::Text(text)) => texts.append_value(text),
                (_, field) => unreachable!("{field:?} is not of its column's kind"),
            }
        }
    }

    /// The rows so far as a batch; the builders begin anew.
    fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let finish = |builder: &mut Builder| -> Result<ArrayRef, ArrowError> {
            Ok(match builder {
                Builder::Int(ints) => ArrayBuilder::finish(ints),
                Builder::Time(times) => ArrayBuilder::finish(times),
                Builder::Text(texts) => ArrayBuilder::finish(texts),
                Builder::Money(sums) => {
                    Arc::new(sums.finish().with_precision_and_scale(MONEY.0, MONEY.1)?)
                }
            })
        };
        let arrays = self.builders.iter_mut().map(finish).collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
    }
}

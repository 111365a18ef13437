//! Values as JSON, the one way in which answers, the log and files of this crate write them: what
//! is written reads back to the same value by the decoding table.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use std::io::Write;
use trueup_core::{Id, Value};
use trueup_sql::decode::print::{Date, Decimal, Double, Hex, Timestamp};
use trueup_sql::raw_value_at;

/// Appends `text` as a JSON string.
pub fn text(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(out, text);
    }
}

/// Appends the value at `row`, as [`typed`] does.
pub fn value(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    typed(out, &raw_value_at(array, row), array.data_type());
}

/// Appends a value of the type `ty`: DOUBLE as the shortest number that reads back to the same
/// bits, DECIMAL as text with all its places, TIMESTAMP and DATE as text, lists as arrays.
pub fn typed(out: &mut Vec<u8>, value: &Value, ty: &DataType) {
    // Writing to memory does not fail.
    let _ = match (value, ty) {
        (Value::Bool(value), _) => write!(out, "{value}"),
        (Value::Int(value), _) => write!(out, "{value}"),
        (Value::Decimal(value), _) => {
            write!(out, "\"{}\"", Decimal { value: *value, scale: scale(ty) })
        }
        (Value::Float(value), _) => write!(out, "{}", Double(*value)),
        (Value::Time(micros), _) => write!(out, "\"{}\"", Timestamp(*micros)),
        (Value::Date(days), _) => write!(out, "\"{}\"", Date(*days)),
        (Value::Text(value), _) => {
            text(out, value);
            Ok(())
        }
        (Value::List(items), DataType::List(item)) => {
            list(out, items, item.data_type());
            Ok(())
        }
        // A list of another type is none.
        (Value::Null | Value::List(_), _) => write!(out, "null"),
    };
}

/// Digits after the point of a DECIMAL's type.
pub(crate) fn scale(ty: &DataType) -> u8 {
    match ty {
        DataType::Decimal128(_, scale) => u8::try_from(*scale).unwrap_or(0),
        _ => 0,
    }
}

fn list(out: &mut Vec<u8>, items: &[Value], ty: &DataType) {
    out.push(b'[');
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        typed(out, item, ty);
    }
    out.push(b']');
}

/// The id of an event; of one that is kept as a hash, its digits.
pub fn id(id: &Id) -> serde_json::Value {
    match id {
        Id::Int(id) => (*id).into(),
        Id::Text(id) => (**id).into(),
        Id::Hash(hash) => Hex(hash).to_string().into(),
    }
}

/// Appends a row of a batch as one object, without the columns that are NULL.
pub fn object(out: &mut Vec<u8>, batch: &RecordBatch, row: usize) {
    let mut separator = b'{';
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if column.is_null(row) {
            continue;
        }
        out.push(separator);
        separator = b',';
        text(out, field.name());
        out.push(b':');
        value(out, column.as_ref(), row);
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

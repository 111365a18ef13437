//! Values as JSON, the one way in which answers, the log and files of this crate write them: what
//! is written reads back to the same value by the decoding table.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use std::io::Write;
use trueup_core::Id;
use trueup_sql::decode::print::{Date, Decimal, Double, Timestamp};

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

/// Appends the value at `row`: DOUBLE as the shortest number that reads back to the same bits,
/// DECIMAL as text with all its places, TIMESTAMP and DATE as text, lists as arrays.
pub fn value(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    if array.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    // Writing to memory does not fail.
    let _ = match array.data_type() {
        DataType::Boolean => write!(out, "{}", array.as_boolean().value(row)),
        DataType::Int64 => write!(out, "{}", array.as_primitive::<Int64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            let value = array.as_primitive::<Decimal128Type>().value(row);
            write!(out, "\"{}\"", Decimal { value, scale: u8::try_from(*scale).unwrap_or(0) })
        }
        DataType::Float64 => {
            write!(out, "{}", Double(array.as_primitive::<Float64Type>().value(row)))
        }
        DataType::Timestamp(_, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            write!(out, "\"{}\"", Timestamp(micros))
        }
        DataType::Date32 => {
            write!(out, "\"{}\"", Date(array.as_primitive::<Date32Type>().value(row)))
        }
        DataType::Utf8 => {
            text(out, array.as_string::<i32>().value(row));
            Ok(())
        }
        DataType::List(_) => {
            list(out, array, row);
            Ok(())
        }
        // The compiler gives columns no other type.
        _ => write!(out, "null"),
    };
}

fn list(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    let items = array.as_list::<i32>().value(row);
    out.push(b'[');
    for item in 0..items.len() {
        if item > 0 {
            out.push(b',');
        }
        value(out, items.as_ref(), item);
    }
    out.push(b']');
}

/// The id of an event; of one that is kept as a hash, its digits.
pub fn id(id: &Id) -> serde_json::Value {
    match id {
        Id::Int(id) => (*id).into(),
        Id::Text(id) => (**id).into(),
        Id::Hash(hash) => hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
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

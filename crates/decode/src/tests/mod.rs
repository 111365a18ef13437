//! Tests of decoding, by way in; the examples of the table are among them.

mod arrow;
mod avro;
mod csv;
mod harms;
mod json;
mod properties;
mod table;

use super::{BadEvent, Decoded, Decoder, Fault, print};
use crate::bridge::value_at;
use crate::schema::{Column, ColumnType, EpochUnit, Stream};
use std::sync::Arc;
use trueup_core::Value;

/// A stream of `columns`, written `name type` with `!` behind those that are NOT NULL. The first
/// is the id and the second the event time, whatever their types.
fn stream(columns: &[(&str, ColumnType)], epoch_unit: Option<EpochUnit>) -> Arc<Stream> {
    let columns: Vec<Column> = columns
        .iter()
        .map(|(name, ty)| Column {
            name: name.trim_end_matches('!').to_owned(),
            ty: *ty,
            not_null: name.ends_with('!'),
        })
        .collect();
    Arc::new(Stream {
        name: "t".to_owned(),
        schema: Stream::schema_of(&columns),
        columns,
        id: 0,
        event_time: 1,
        known_at: None,
        lateness_us: 0,
        future_us: 0,
        reorder_us: 0,
        epoch_unit,
    })
}

/// Transactions: an id, a time, a user, an amount and a status.
fn transactions() -> Decoder {
    Decoder::new(stream(
        &[
            ("id!", ColumnType::BigInt),
            ("at!", ColumnType::Timestamp),
            ("user", ColumnType::BigInt),
            ("amount", ColumnType::Decimal { precision: 12, scale: 2 }),
            ("status", ColumnType::Varchar),
        ],
        None,
    ))
}

/// A decoder of one nullable column `x`.
fn single(ty: ColumnType, epoch_unit: Option<EpochUnit>) -> Decoder {
    Decoder::new(stream(&[("x", ty)], epoch_unit))
}

/// The column at `index`, value by value.
fn values(decoded: &Decoded, index: usize) -> Vec<Value> {
    let array = decoded.batch.column(index);
    (0..array.len()).map(|row| value_at(array.as_ref(), row)).collect()
}

/// A value of type `ty` as answers print it.
fn printed(ty: ColumnType, value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Decimal(value) => {
            let ColumnType::Decimal { scale, .. } = ty else { panic!("{ty} gave a decimal") };
            print::Decimal { value: *value, scale }.to_string()
        }
        Value::Float(value) => print::Double(*value).to_string(),
        Value::Text(text) => text.to_string(),
        Value::Time(us) => print::Timestamp(*us).to_string(),
        Value::Date(days) => print::Date(*days).to_string(),
        Value::List(_) => panic!("no column is a list"),
    }
}

/// The only bad event, its index, column and fault.
fn only_bad(decoded: &Decoded) -> (usize, Option<&str>, Fault) {
    let [BadEvent { index, column, fault, .. }] = &decoded.bad[..] else {
        panic!("one bad event wanted: {:?}", decoded.bad);
    };
    (*index, column.as_deref(), *fault)
}

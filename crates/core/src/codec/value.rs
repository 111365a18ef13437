//! Ids and single values as bytes.

use super::bytes::{Reader, put_i64, put_i128, put_text};
use crate::value::{Id, IdKind, Kind, Value};

pub(crate) fn put_id(out: &mut Vec<u8>, id: &Id) {
    match id {
        Id::Int(id) => put_i64(out, *id),
        Id::Hash(hash) => out.extend_from_slice(hash),
        Id::Text(text) => put_text(out, text),
    }
}

pub(crate) fn read_id(input: &mut Reader<'_>, kind: IdKind) -> Option<Id> {
    Some(match kind {
        IdKind::Int => Id::Int(input.i64()?),
        IdKind::Hash => Id::Hash(input.array()?),
        IdKind::Text => Id::Text(input.text()?.into()),
    })
}

/// Writes a value that is not NULL; NULL writes nothing, its place is known from a bit.
pub(crate) fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null | Value::List(_) => {}
        Value::Bool(x) => out.push(u8::from(*x)),
        Value::Int(x) | Value::Time(x) => put_i64(out, *x),
        Value::Date(x) => put_i64(out, i64::from(*x)),
        Value::Decimal(x) => put_i128(out, *x),
        Value::Float(x) => out.extend_from_slice(&x.to_bits().to_le_bytes()),
        Value::Text(x) => put_text(out, x),
    }
}

pub(crate) fn read_value(input: &mut Reader<'_>, kind: &Kind) -> Option<Value> {
    Some(match kind {
        Kind::Bool => match input.byte()? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return None,
        },
        Kind::Int => Value::Int(input.i64()?),
        Kind::Time => Value::Time(input.i64()?),
        Kind::Date => Value::Date(i32::try_from(input.i64()?).ok()?),
        Kind::Decimal { .. } => Value::Decimal(input.i128()?),
        Kind::Float => Value::Float(finite(u64::from_le_bytes(input.array()?))?),
        Kind::Text => Value::Text(input.text()?.into()),
        Kind::List(_) => return None,
    })
}

/// The float of these bits, unless it is one that no event may carry.
pub(crate) fn finite(bits: u64) -> Option<f64> {
    let x = f64::from_bits(bits);
    (x.is_finite() && bits != (-0.0f64).to_bits()).then_some(x)
}

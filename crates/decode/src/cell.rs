//! The table as code: what a value becomes in a column of each type.
//!
//! Every way in (JSON, CSV, Arrow, request rows, databases) turns its values into [`Cell`]s and
//! comes through [`scalar`], so that a value means the same however it arrived.

use super::fault::{BadValue, Fault, quote};
use super::{MAX_TEXT_BYTES, number, time};
use crate::schema::{ColumnType, EpochUnit};
use arrow::datatypes::TimeUnit;
use trueup_core::Value;

/// A value as its source has it, before any column's type is put to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// NULL, or nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number as its text, such as a JSON number.
    Number(&'a str),
    /// Text: a JSON string, a CSV field, a query parameter.
    Text(&'a str),
    /// A typed integer.
    Int(i64),
    /// A typed decimal.
    Decimal {
        /// The value in units of `10^-scale`.
        value: i128,
        /// Digits after the point; negative for zeros before it.
        scale: i8,
    },
    /// A typed double.
    Double(f64),
    /// A typed instant.
    Instant {
        /// Units since 1970, UTC.
        value: i64,
        /// What it counts.
        unit: TimeUnit,
    },
    /// A typed date, days since 1970-01-01.
    Date(i32),
    /// A typed date, milliseconds since 1970-01-01.
    DateMillis(i64),
}

/// A value that passed its column's rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Decimal(i128),
    Double(f64),
    Text(&'a str),
    Time(i64),
    Date(i32),
}

/// What `cell` becomes in a column of type `ty`. `unit` is what bare numbers mean as times.
pub(super) fn scalar<'a>(
    ty: ColumnType,
    unit: Option<EpochUnit>,
    cell: Cell<'a>,
) -> Result<Scalar<'a>, BadValue> {
    if let Cell::Number(text) | Cell::Text(text) = cell {
        bounded(text)?;
    }
    match (cell, ty) {
        (Cell::Null, _) => Ok(Scalar::Null),
        (_, ColumnType::Boolean) => boolean(cell).map(Scalar::Bool),
        (_, ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt) => {
            int(ty, cell).map(Scalar::Int)
        }
        (_, ColumnType::Decimal { precision, scale }) => {
            decimal(precision, scale, cell).map(Scalar::Decimal)
        }
        (_, ColumnType::Double) => double(cell).map(Scalar::Double),
        (Cell::Text(text), ColumnType::Varchar) => varchar(text).map(Scalar::Text),
        (_, ColumnType::Varchar) => Err(wrong(ty, cell)),
        (_, ColumnType::Timestamp) => timestamp(unit, cell).map(Scalar::Time),
        (_, ColumnType::Date) => date(cell).map(Scalar::Date),
    }
}

fn boolean(cell: Cell<'_>) -> Result<bool, BadValue> {
    let ty = ColumnType::Boolean;
    match cell {
        Cell::Bool(value) => Ok(value),
        Cell::Int(0) => Ok(false),
        Cell::Int(1) => Ok(true),
        Cell::Number(text) | Cell::Text(text) => {
            let is = |word: &str| text.eq_ignore_ascii_case(word);
            match text {
                "1" => Ok(true),
                "0" => Ok(false),
                _ if matches!(cell, Cell::Number(_)) => Err(wrong(ty, cell)),
                _ if is("true") || is("t") => Ok(true),
                _ if is("false") || is("f") => Ok(false),
                _ => Err(wrong(ty, cell)),
            }
        }
        _ => Err(wrong(ty, cell)),
    }
}

fn int(ty: ColumnType, cell: Cell<'_>) -> Result<i64, BadValue> {
    match cell {
        Cell::Number(text) | Cell::Text(text) => number::int_of_text(ty, text),
        Cell::Int(value) => number::int_in_range(ty, value),
        Cell::Decimal { value, scale } => number::int_of_decimal(ty, value, scale),
        Cell::Double(value) => number::int_of_double(ty, value),
        _ => Err(wrong(ty, cell)),
    }
}

fn decimal(precision: u8, scale: u8, cell: Cell<'_>) -> Result<i128, BadValue> {
    match cell {
        Cell::Number(text) | Cell::Text(text) => number::decimal_of_text(precision, scale, text),
        Cell::Int(value) => number::decimal_of_decimal(precision, scale, i128::from(value), 0),
        Cell::Decimal { value, scale: from } => {
            number::decimal_of_decimal(precision, scale, value, from)
        }
        Cell::Double(value) => number::decimal_of_double(precision, scale, value),
        _ => Err(wrong(ColumnType::Decimal { precision, scale }, cell)),
    }
}

fn double(cell: Cell<'_>) -> Result<f64, BadValue> {
    match cell {
        Cell::Number(text) | Cell::Text(text) => number::double_of_text(text),
        Cell::Int(value) => Ok(value as f64),
        Cell::Decimal { value, scale } => number::double_of_decimal(value, scale),
        Cell::Double(value) => number::finite(value),
        _ => Err(wrong(ColumnType::Double, cell)),
    }
}

fn varchar(text: &str) -> Result<&str, BadValue> {
    // PostgreSQL holds no U+0000 in text: a value with one could never be compared with its copy
    // in the database.
    if text.as_bytes().contains(&0) {
        let reason = "the text holds U+0000, which SQL databases do not keep; remove it";
        return Err(BadValue::new(Fault::Text, reason));
    }
    Ok(text)
}

fn timestamp(unit: Option<EpochUnit>, cell: Cell<'_>) -> Result<i64, BadValue> {
    match cell {
        Cell::Text(text) => time::of_text(unit, text),
        Cell::Number(text) => time::of_number(unit, text),
        Cell::Int(value) => time::of_decimal(unit, i128::from(value), 0),
        Cell::Decimal { value, scale } => time::of_decimal(unit, value, scale),
        Cell::Double(value) => time::of_double(unit, value),
        Cell::Instant { value, unit } => time::of_instant(value, unit),
        _ => Err(wrong(ColumnType::Timestamp, cell)),
    }
}

fn date(cell: Cell<'_>) -> Result<i32, BadValue> {
    match cell {
        Cell::Text(text) => time::date_of_text(text),
        Cell::Date(days) => time::date_in_range(days),
        Cell::DateMillis(millis) => time::date_of_millis(millis),
        _ => Err(wrong(ColumnType::Date, cell)),
    }
}

fn bounded(text: &str) -> Result<(), BadValue> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let reason = format!("the value has {} bytes; at most {MAX_TEXT_BYTES} are taken", text.len());
    Err(BadValue::new(Fault::Size, reason))
}

fn wrong(ty: ColumnType, cell: Cell<'_>) -> BadValue {
    let found = match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Bool(value) => value.to_string(),
        Cell::Number(text) => format!("the number {}", quote(text)),
        Cell::Text(text) => format!("the text {}", quote(text)),
        Cell::Int(value) => format!("the integer {value}"),
        Cell::Decimal { .. } => "a decimal".to_owned(),
        Cell::Double(value) => format!("the double {value:?}"),
        Cell::Instant { .. } => "a timestamp".to_owned(),
        Cell::Date(_) | Cell::DateMillis(_) => "a date".to_owned(),
    };
    let wanted = match ty {
        ColumnType::Boolean => "true or false",
        ColumnType::Varchar => "text in quotes",
        ColumnType::Timestamp => "a time such as 2026-11-24T10:00:00Z",
        ColumnType::Date => "a date such as 2026-11-24",
        _ => "a number",
    };
    BadValue::new(Fault::Type, format!("{ty} does not take {found}; send {wanted}"))
}

impl Scalar<'_> {
    pub(super) fn value(self) -> Value {
        match self {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => Value::Bool(value),
            Scalar::Int(value) => Value::Int(value),
            Scalar::Decimal(value) => Value::Decimal(value),
            Scalar::Double(value) => Value::Float(value),
            Scalar::Text(text) => Value::Text(text.into()),
            Scalar::Time(us) => Value::Time(us),
            Scalar::Date(days) => Value::Date(days),
        }
    }
}

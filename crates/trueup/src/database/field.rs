//! A value as a database has it, on its way to the decoder.

use arrow::datatypes::TimeUnit;
use trueup_sql::EpochUnit;
use trueup_sql::decode::Cell;

/// One column of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// A decimal number, as its text.
    Number(String),
    /// Text.
    Text(String),
    /// An instant, microseconds since 1970.
    Micros(i64),
    /// An instant in a unit that the settings say, since 1970.
    Epoch(i64, TimeUnit),
    /// Days since 1970-01-01.
    Date(i32),
}

impl Field {
    /// What the table of decoding takes.
    pub fn cell(&self) -> Cell<'_> {
        match self {
            Field::Null => Cell::Null,
            Field::Bool(value) => Cell::Bool(*value),
            Field::Int(value) => Cell::Int(*value),
            Field::Double(value) => Cell::Double(*value),
            Field::Number(text) => Cell::Number(text),
            Field::Text(text) => Cell::Text(text),
            Field::Micros(value) => Cell::Instant { value: *value, unit: TimeUnit::Microsecond },
            Field::Epoch(value, unit) => Cell::Instant { value: *value, unit: *unit },
            Field::Date(days) => Cell::Date(*days),
        }
    }
}

/// What an integer counts, as Arrow says it.
pub(super) fn time_unit(unit: EpochUnit) -> TimeUnit {
    match unit {
        EpochUnit::Seconds => TimeUnit::Second,
        EpochUnit::Millis => TimeUnit::Millisecond,
        EpochUnit::Micros => TimeUnit::Microsecond,
    }
}

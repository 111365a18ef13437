//! The one query that a database is asked: raw events of a key, newest first.

use super::{Reading, Table};
use trueup_core::{Micros, Value};
use trueup_sql::decode::print::{Date, Decimal, Double, Timestamp};
use trueup_sql::{ColumnType, EpochUnit};

/// Which events are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The stream's columns that make the key.
    pub keys: Vec<usize>,
    /// Their values.
    pub values: Vec<Value>,
    /// Event times from here on, microseconds since 1970; `i64::MIN` for all.
    pub from_us: i64,
    /// And to here, it included.
    pub to_us: i64,
    /// At most so many, the newest.
    pub limit: usize,
}

/// A value that the query compares with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Param {
    Int(i64),
    Double(f64),
    Text(String),
    /// Microseconds since 1970.
    Time(i64),
}

impl Param {
    #[cfg(feature = "postgres")]
    pub(super) fn text(self) -> String {
        match self {
            Param::Int(value) => value.to_string(),
            Param::Double(value) => Double(value).to_string(),
            Param::Text(text) => text,
            Param::Time(us) => Timestamp(us).to_string(),
        }
    }
}

/// The query's text, and its parameters with the column that each is compared with. `select`
/// writes a column of the select list, `place` the place of a parameter, from its number (counted
/// from 1) and that column.
pub(super) fn events(
    table: &Table,
    ask: &Ask,
    select: impl Fn(&super::TableColumn) -> String,
    place: impl Fn(usize, &super::TableColumn) -> String,
) -> (String, Vec<(usize, Param)>) {
    let columns: Vec<String> = table.columns.iter().map(select).collect();
    let mut params = Vec::new();
    let mut conditions = Vec::new();
    let mut compare = |column: usize, operator: &str, value: Param| {
        params.push((column, value));
        let column = &table.columns[column];
        conditions.push(format!("{} {operator} {}", column.name, place(params.len(), column)));
    };
    let mut nulls = Vec::new();
    for (&key, value) in ask.keys.iter().zip(&ask.values) {
        match param(value, table, key) {
            Some(value) => compare(key, "=", value),
            // An equality with NULL finds nothing, and IS NOT DISTINCT FROM no index.
            None => nulls.push(format!("{} IS NULL", table.columns[key].name)),
        }
    }
    let bound = |us: i64, up: bool| match table.columns[table.event_time].reading {
        Reading::Instant => Param::Time(us),
        _ => Param::Int(in_units(us, table.time_unit, up)),
    };
    if ask.from_us > Micros::EARLIEST.0 {
        compare(table.event_time, ">=", bound(ask.from_us, false));
    }
    compare(table.event_time, "<=", bound(ask.to_us.min(Micros::LATEST.0), true));
    conditions.extend(nulls);
    let text = format!(
        "SELECT {} FROM {} WHERE {} ORDER BY {} DESC LIMIT {}",
        columns.join(", "),
        table.name,
        conditions.join(" AND "),
        table.columns[table.event_time].name,
        ask.limit
    );
    (text, params)
}

fn param(value: &Value, table: &Table, key: usize) -> Option<Param> {
    let is_instant = table.columns[key].reading == Reading::Instant;
    Some(match value {
        Value::Null | Value::List(_) => return None,
        Value::Bool(value) => Param::Int(i64::from(*value)),
        Value::Int(value) => Param::Int(*value),
        Value::Float(value) => Param::Double(*value),
        Value::Decimal(value) => {
            let scale = match table.types[key] {
                ColumnType::Decimal { scale, .. } => scale,
                _ => 0,
            };
            Param::Text(Decimal { value: *value, scale }.to_string())
        }
        Value::Text(text) => Param::Text(text.to_string()),
        Value::Time(us) if !is_instant => Param::Int(in_units(*us, table.time_unit, false)),
        Value::Time(us) => Param::Time(*us),
        Value::Date(days) => Param::Text(Date(*days).to_string()),
    })
}

/// Microseconds in a unit; what lies between two goes `up` or down.
fn in_units(us: i64, unit: Option<EpochUnit>, up: bool) -> i64 {
    let width = match unit {
        Some(EpochUnit::Seconds) => 1_000_000,
        Some(EpochUnit::Millis) => 1_000,
        Some(EpochUnit::Micros) | None => 1,
    };
    us.div_euclid(width) + i64::from(up && us.rem_euclid(width) != 0)
}

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

/// What rows must be to be selected. `place` writes the place of a parameter, from its number
/// (counted from 1) and the column that it is compared with.
struct Conditions<'t, P> {
    table: &'t Table,
    place: P,
    texts: Vec<String>,
    params: Vec<(usize, Param)>,
    /// The columns that must be NULL.
    nulls: Vec<String>,
}

impl<P: Fn(usize, &super::TableColumn) -> String> Conditions<'_, P> {
    /// Those of the key.
    fn of_key<'t>(table: &'t Table, ask: &Ask, place: P) -> Conditions<'t, P> {
        let (texts, params, nulls) = Default::default();
        let mut all = Conditions { table, place, texts, params, nulls };
        for (&key, value) in ask.keys.iter().zip(&ask.values) {
            match param(value, table, key) {
                Some(value) => all.compare(key, "=", value),
                // An equality with NULL finds nothing, and IS NOT DISTINCT FROM no index.
                None => all.nulls.push(format!("{} IS NULL", table.columns[key].name)),
            }
        }
        all
    }

    fn compare(&mut self, column: usize, operator: &str, value: Param) {
        self.params.push((column, value));
        let column = &self.table.columns[column];
        let place = (self.place)(self.params.len(), column);
        self.texts.push(format!("{} {operator} {place}", column.name));
    }

    fn text(&self) -> String {
        let all: Vec<&str> = self.texts.iter().chain(&self.nulls).map(String::as_str).collect();
        all.join(" AND ")
    }
}

/// The query for all rows of a table, in any order; `select` writes a column of the select list.
pub(super) fn all(table: &Table, select: impl Fn(&super::TableColumn) -> String) -> String {
    let columns: Vec<String> = table.columns.iter().map(select).collect();
    format!("SELECT {} FROM {}", columns.join(", "), table.name)
}

/// The query's text, and its parameters with the column that each is compared with. `select`
/// writes a column of the select list, `place` the place of a parameter.
pub(super) fn events(
    table: &Table,
    ask: &Ask,
    select: impl Fn(&super::TableColumn) -> String,
    place: impl Fn(usize, &super::TableColumn) -> String,
) -> (String, Vec<(usize, Param)>) {
    let mut conditions = Conditions::of_key(table, ask, place);
    let bound = |us: i64, up: bool| match table.columns[table.event_time].reading {
        Reading::Instant => Param::Time(us),
        _ => Param::Int(in_units(us, table.time_unit, up)),
    };
    if ask.from_us > Micros::EARLIEST.0 {
        conditions.compare(table.event_time, ">=", bound(ask.from_us, false));
    }
    let to_us = ask.to_us.min(Micros::LATEST.0);
    conditions.compare(table.event_time, "<=", bound(to_us, true));
    let text = format!(
        "{} WHERE {} ORDER BY {} DESC LIMIT {}",
        all(table, select),
        conditions.text(),
        table.columns[table.event_time].name,
        ask.limit
    );
    (text, conditions.params)
}

/// The query for one event of the key whose time is a text, for databases whose columns may hold
/// anything: every text is behind the empty one, and all integers before it.
pub(super) fn a_text_time(
    table: &Table,
    ask: &Ask,
    place: impl Fn(usize, &super::TableColumn) -> String,
) -> (String, Vec<(usize, Param)>) {
    let mut conditions = Conditions::of_key(table, ask, place);
    conditions.compare(table.event_time, ">=", Param::Text(String::new()));
    let text = format!("SELECT 1 FROM {} WHERE {} LIMIT 1", table.name, conditions.text());
    (text, conditions.params)
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

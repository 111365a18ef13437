//! An empty store that vouches for nothing, and a database that holds the events: every answer
//! comes from there.

use crate::KEPT_NO_MORE;
use crate::ask::ask_with;
use crate::case::Case;
use crate::report::{Findings, each_case};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use trueup::clock::Clock;
use trueup::database::{DatabasePlace, TableSettings, open};
use trueup::serve::{Bounds, Fallback, Tables};
use trueup_core::{Micros, Value};
use trueup_sql::decode::print::{Date, Decimal};
use trueup_sql::{ColumnType, EpochUnit, value_at};
use trueup_store::MemoryStore;

/// The case of one id with two contents: a table's primary key lets one of them in.
const TWO_CONTENTS: &str = "of-two-contents-of-an-id-the-later-counts";

/// Bounds that no case comes near.
const BOUNDS: Bounds = Bounds {
    connections: 1,
    per_second: 1_000_000,
    timeout: Duration::from_secs(60),
    max_rows: 10_000,
    max_failures: 1,
    pause: Duration::from_secs(1),
};

#[test]
fn every_case_is_answered_alike_from_a_database_when_the_store_is_empty() {
    each_case(|case, found| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        fill(case, &path);
        ask_database(case, &DatabasePlace::Sqlite(path), Some(EpochUnit::Micros), found);
    });
}

/// Asks every request of a case of a database that was filled with its events, in which integers
/// count such units as times.
pub(crate) fn ask_database(
    case: &Case,
    place: &DatabasePlace,
    time_unit: Option<EpochUnit>,
    found: &mut Findings,
) {
    if KEPT_NO_MORE.contains(&case.name.as_str()) || case.name == TWO_CONTENTS {
        found.left_out += case.requests.len();
        return;
    }
    let database = open(place, BOUNDS.connections, BOUNDS.timeout);
    let table = TableSettings { time_unit, ..TableSettings::default() };
    let streams = case.catalog.streams().iter().map(|part| part.stream.name.clone());
    let settings: BTreeMap<_, _> = streams.map(|name| (name, table.clone())).collect();
    let clock = Clock::of(|| Micros(0));
    let fallback = Fallback::new(database.unwrap(), settings, BOUNDS, clock);
    let tables = Tables::new(Arc::new(fallback), &case.catalog);
    ask_with(case, Arc::new(MemoryStore::new()), Some(tables), "", found);
}

/// The events that a case's streams take, in the order of the log: each with its stream's number.
pub(crate) fn taken(case: &Case) -> impl Iterator<Item = (usize, Vec<Value>)> {
    case.events.iter().filter_map(|event| {
        let part = &case.catalog.streams()[event.stream];
        let batch = part.decoder.json_rows(&[&event.bytes]).unwrap().batch;
        let time = part.stream.event_time;
        let latest = event.log_us.saturating_add(part.stream.future_us);
        if batch.num_rows() == 0 || is_after(&value_at(batch.column(time), 0), latest) {
            return None;
        }
        let values = (0..part.stream.columns.len()).map(|place| value_at(batch.column(place), 0));
        Some((event.stream, values.collect()))
    })
}

/// A table for each stream, with the events that the stream takes, in the order of the log.
fn fill(case: &Case, path: &Path) {
    let database = Connection::open(path).unwrap();
    for part in case.catalog.streams() {
        let columns: Vec<String> =
            part.stream.columns.iter().map(|column| format!("{:?}", column.name)).collect();
        let create = format!("CREATE TABLE {:?} ({})", part.stream.name, columns.join(", "));
        database.execute(&create, []).unwrap();
    }
    for (number, values) in taken(case) {
        let stream = &case.catalog.streams()[number].stream;
        let values =
            values.iter().zip(&stream.columns).map(|(value, column)| sql(value, column.ty));
        let places = vec!["?"; stream.columns.len()].join(", ");
        let insert = format!("INSERT INTO {:?} VALUES ({places})", stream.name);
        database.execute(&insert, params_from_iter(values)).unwrap();
    }
}

fn sql(value: &Value, ty: ColumnType) -> Sql {
    match (value, ty) {
        (Value::Bool(value), _) => Sql::Integer(i64::from(*value)),
        (Value::Int(value) | Value::Time(value), _) => Sql::Integer(*value),
        (Value::Float(value), _) => Sql::Real(*value),
        (Value::Text(text), _) => Sql::Text(text.to_string()),
        (Value::Date(days), _) => Sql::Text(Date(*days).to_string()),
        (Value::Decimal(value), ColumnType::Decimal { scale, .. }) => {
            Sql::Text(Decimal { value: *value, scale }.to_string())
        }
        _ => Sql::Null,
    }
}

fn is_after(time: &Value, latest_us: i64) -> bool {
    matches!(time, Value::Time(us) if *us > latest_us)
}

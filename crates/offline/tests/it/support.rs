//! What the tests share: definitions and histories from text, tables as text.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;
use trueup_core::Value;
use trueup_offline::{Batch, History, Options, RequestRows, train};
use trueup_sql::decode::{Cell, Decoder};
use trueup_sql::{Definitions, SourceFile, Stream, compile};

/// Payments whose history says when each became known.
pub(crate) const KNOWN: &str = "CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, known TIMESTAMP, card BIGINT, amount DECIMAL(12,2)
) WITH (event_time = 'at', known_at = 'known', future = '5 minutes');";

/// The same payments without.
pub(crate) const PLAIN: &str = "CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, known TIMESTAMP, card BIGINT, amount DECIMAL(12,2)
) WITH (event_time = 'at', future = '5 minutes');";

/// Count and sum of an hour, by card.
pub(crate) const HOUR: &str = "CREATE VIEW hour AS
SELECT id, count(*) OVER w AS n, sum(amount) OVER w AS s FROM payments
WINDOW w AS (PARTITION BY card ORDER BY at
             RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);";

pub(crate) fn definitions(parts: &[&str]) -> Definitions {
    let file = SourceFile { name: "test.sql".into(), text: parts.join("\n") };
    compile(&[file]).unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn stream(definitions: &Definitions, name: &str) -> Arc<Stream> {
    definitions.stream(name).unwrap().clone()
}

/// A history of JSON rows, `known_us` beside them if given.
pub(crate) fn history(stream: &Arc<Stream>, rows: &[&str], known_us: Option<&[i64]>) -> History {
    let decoded = Decoder::new(stream.clone()).json_rows(rows).unwrap();
    let mut history = History::new(stream.clone());
    history.push("rows", 0, decoded, known_us).unwrap();
    history
}

/// A payment of the two streams above; times are minutes and seconds of one hour.
pub(crate) fn payment(id: i64, at: &str, known: &str, card: &str, amount: &str) -> String {
    format!(
        r#"{{"id":{id},"at":"2026-03-02T10:{at}Z","known":"2026-03-02T10:{known}Z",
             "card":{card},"amount":"{amount}"}}"#
    )
    .replace('\n', " ")
}

/// Cells as text, NULL as `-`.
pub(crate) fn text(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("-");
    let columns: Vec<_> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(" ");
    (0..batch.num_rows()).map(row).collect()
}

/// The rows of a view over the events of its own stream.
pub(crate) fn rows(definitions: &Definitions, view: &str, histories: &[History]) -> Vec<String> {
    text(&table(definitions, view, histories, None).columns)
}

/// The same for request rows.
pub(crate) fn asked(
    definitions: &Definitions,
    view: &str,
    histories: &[History],
    rows: &RequestRows,
) -> Vec<String> {
    text(&table(definitions, view, histories, Some(rows)).columns)
}

pub(crate) fn table(
    definitions: &Definitions,
    view: &str,
    histories: &[History],
    rows: Option<&RequestRows>,
) -> Batch {
    let options = Options { rows, ..Options::default() };
    train(definitions, view, histories, &options).unwrap().table().unwrap()
}

/// Microseconds of a time that is written out.
pub(crate) fn us(text: &str) -> i64 {
    let decoder = Decoder::new(stream(&definitions(&[PLAIN, HOUR]), "payments"));
    match decoder.value(1, Cell::Text(text)).unwrap() {
        Value::Time(us) => us,
        other => panic!("{other:?}"),
    }
}

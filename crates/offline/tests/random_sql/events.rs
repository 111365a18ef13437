//! The two streams that definitions are over, and random events of them: few users, times on a
//! coarse grid with ties and neighbours a microsecond off, NULLs wherever they may be.

use crate::text::{Column, Gen, Ty};
use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use std::sync::Arc;
use trueup_sql::Stream;

/// Transactions for each definition.
pub(crate) const TRANSACTIONS: usize = 200;
/// Logins for each definition.
pub(crate) const LOGINS: usize = 120;
/// 2024-03-01T00:00:00Z, the day after a leap day, in microseconds.
const START_US: i64 = 1_709_251_200_000_000;
/// A column with values near the ends of integer types. Most expressions of it have no value, so
/// only those that are judged for that name it.
pub(crate) const EDGE: &str = "edge";
/// Steps of the grid of times that events are spread over.
const STEPS: u64 = 60;

/// A stream's table: its name, and its columns with their SQL types. Which column identifies an
/// event is the definition's choice.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) time: &'static str,
    /// Both identify an event; texts do not sort as the integers do.
    pub(crate) ids: [&'static str; 2],
    columns: &'static [(&'static str, &'static str, Ty)],
}

pub(crate) const TRANSACTIONS_TABLE: Table = Table {
    name: "transactions",
    time: "event_time",
    ids: ["transaction_id", "reference"],
    columns: &[
        ("transaction_id", "BIGINT NOT NULL", Ty::Int),
        ("reference", "VARCHAR NOT NULL", Ty::Text),
        ("event_time", "TIMESTAMP NOT NULL", Ty::Time),
        ("seen_at", "TIMESTAMP", Ty::Time),
        ("user_id", "BIGINT", Ty::Int),
        ("merchant_id", "INTEGER", Ty::Int),
        ("country", "VARCHAR", Ty::Text),
        ("status", "VARCHAR", Ty::Text),
        ("amount", "DECIMAL(12,2)", Ty::Dec),
        ("rate", "DECIMAL(9,4)", Ty::Dec),
        ("fee", "DOUBLE", Ty::Dbl),
        ("score", "DOUBLE", Ty::Dbl),
        ("points", "SMALLINT", Ty::Int),
        ("quantity", "BIGINT", Ty::Int),
        ("online", "BOOLEAN", Ty::Bool),
        ("opened", "DATE", Ty::Date),
        (EDGE, "BIGINT", Ty::Int),
    ],
};

pub(crate) const LOGINS_TABLE: Table = Table {
    name: "logins",
    time: "logged_in",
    ids: ["login_id", "token"],
    columns: &[
        ("login_id", "BIGINT NOT NULL", Ty::Int),
        ("token", "VARCHAR NOT NULL", Ty::Text),
        ("logged_in", "TIMESTAMP NOT NULL", Ty::Time),
        ("user_id", "BIGINT", Ty::Int),
        ("country", "VARCHAR", Ty::Text),
        ("failed", "BOOLEAN", Ty::Bool),
        ("risk", "DOUBLE", Ty::Dbl),
        ("risk_score", "DOUBLE", Ty::Dbl),
        ("cost", "DECIMAL(10,3)", Ty::Dec),
        ("tries", "INTEGER", Ty::Int),
        ("born", "DATE", Ty::Date),
    ],
};

impl Table {
    /// The declaration, with the column `id` as the identity.
    pub(crate) fn create(&self, id: &str) -> String {
        let column = |(name, ty, _): &(&str, &str, Ty)| match *name == id {
            true => format!("  {name} {ty} PRIMARY KEY"),
            false => format!("  {name} {ty}"),
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        let (name, time) = (self.name, self.time);
        format!("CREATE TABLE {name} (\n{}\n) WITH (event_time = '{time}');\n", columns.join(",\n"))
    }

    /// The columns that expressions may name, each after `prefix`.
    pub(crate) fn columns(&self, prefix: &str) -> Vec<Column> {
        let mut columns = self.every_column(prefix);
        columns.retain(|column| !column.name.ends_with(EDGE));
        columns
    }

    /// All columns, each after `prefix`.
    pub(crate) fn every_column(&self, prefix: &str) -> Vec<Column> {
        let column =
            |(name, _, ty): &(&str, &str, Ty)| Column { name: format!("{prefix}{name}"), ty: *ty };
        self.columns.iter().map(column).collect()
    }

    /// Random events; `step_us` is the width of the grid of their times.
    pub(crate) fn events(
        &self,
        g: &mut Gen,
        rows: usize,
        step_us: i64,
        stream: &Stream,
    ) -> RecordBatch {
        let mut numbers: Vec<i64> = (1..=rows as i64).collect();
        g.dice.shuffle(&mut numbers);
        let columns = self.columns.iter().map(|(name, _, _)| match *name {
            id if id == self.ids[0] => Arc::new(Int64Array::from(numbers.clone())) as ArrayRef,
            id if id == self.ids[1] => {
                let text = |number: &i64| format!("t{:x}", number * 2_654_435_761 % 65_536_001);
                Arc::new(StringArray::from_iter_values(numbers.iter().map(text)))
            }
            time if time == self.time => {
                let times = numbers.iter().map(|_| grid(g, step_us));
                Arc::new(TimestampMicrosecondArray::from_iter_values(times))
            }
            name => values(g, name, rows, step_us),
        });
        RecordBatch::try_new(stream.schema.clone(), columns.collect())
            .expect("the columns are those that the stream declares")
    }
}

fn grid(g: &mut Gen, step_us: i64) -> i64 {
    let near = if g.one_in(6) { g.below(3) as i64 - 1 } else { 0 };
    START_US + g.below(STEPS) as i64 * step_us + near
}

/// A column of `rows` values, one in eight NULL.
fn values(g: &mut Gen, name: &str, rows: usize, step_us: i64) -> ArrayRef {
    fn some<T>(g: &mut Gen, rows: usize, mut one: impl FnMut(&mut Gen) -> T) -> Vec<Option<T>> {
        (0..rows).map(|_| if g.one_in(8) { None } else { Some(one(g)) }).collect()
    }
    let decimals = |values: Vec<Option<i128>>, precision, scale| -> ArrayRef {
        let array = Decimal128Array::from(values).with_precision_and_scale(precision, scale);
        Arc::new(array.expect("a handful of digits fit"))
    };
    let few = 1 + g.below(6);
    let int = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values));
    match name {
        "seen_at" => {
            let seen = some(g, rows, |g| grid(g, step_us) + g.below(4_000_000_000) as i64);
            Arc::new(TimestampMicrosecondArray::from(seen))
        }
        "user_id" | "merchant_id" => int(some(g, rows, |g| g.below(few) as i64)),
        "points" => int(some(g, rows, |g| g.below(80) as i64 - 30)),
        "tries" => int(some(g, rows, |g| g.below(9) as i64)),
        EDGE => int(some(g, rows, near_an_end)),
        "quantity" => int(some(g, rows, |g| g.below(2_000_000_000_000) as i64 - 900_000_000_000)),
        "country" => Arc::new(StringArray::from(some(g, rows, |g| g.pick(&["de", "fr", "us"])))),
        "status" => {
            let texts = ["ok", "ok", "declined", "Declined", " review ", "", "é", "O'Brien"];
            Arc::new(StringArray::from(some(g, rows, |g| g.pick(&texts))))
        }
        "amount" => decimals(some(g, rows, |g| i128::from(g.below(900_000)) - 200_000), 12, 2),
        "rate" => decimals(some(g, rows, |g| i128::from(g.below(40_000)) - 5_000), 9, 4),
        "cost" => decimals(some(g, rows, |g| i128::from(g.below(40_000))), 10, 3),
        "fee" | "risk" => {
            Arc::new(Float64Array::from(some(g, rows, |g| (g.below(800) as f64 - 300.0) / 8.0)))
        }
        "score" | "risk_score" => Arc::new(Float64Array::from(some(g, rows, wild))),
        "online" | "failed" => Arc::new(BooleanArray::from(some(g, rows, |g| g.one_in(2)))),
        "opened" | "born" => {
            Arc::new(Date32Array::from(some(g, rows, |g| 19_700 + g.below(12) as i32)))
        }
        other => panic!("nothing says what a column {other} holds"),
    }
}

/// An integer within 2 of an end of a type, of the root of one, or of 0.
fn near_an_end(g: &mut Gen) -> i64 {
    let off = g.below(5) as i64 - 2;
    let end = g.pick(&[i64::MAX - 2, i64::MIN + 2, 1 << 31, 1 << 15, 3_037_000_500, 1 << 62, 0]);
    let end = if g.one_in(2) && end != i64::MIN + 2 { -end } else { end };
    end + off
}

/// A double whose sums round: 17 digits, of any size from 1e-6 to 1e9.
fn wild(g: &mut Gen) -> f64 {
    let fraction = g.below(1 << 53) as f64 / (1u64 << 53) as f64 - 0.4;
    fraction * 10f64.powi(g.below(16) as i32 - 6)
}

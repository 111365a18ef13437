//! The query, and how its row becomes the features of a reply.

use crate::serve::Request;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Int64Type};
use rusqlite::{Row, Statement, named_params};
use serde_json::{Map, Value, json};
use trueup_sql::Stream;
use trueup_sql::decode::print::Decimal;

/// The features of view `fraud` for one transaction: over the stored ones, and the transaction
/// itself, which is not stored yet. A merchant's hour begins with a whole minute, as in the view.
pub(super) const FEATURES: &str = "
WITH month AS (
  SELECT event_time, merchant_id, country, amount, status FROM transactions
  WHERE user_id = :user AND event_time BETWEEN :at - 2592000000000 AND :at
  UNION ALL
  SELECT :at, :merchant, :country, :amount, :status
)
SELECT
  count(*) FILTER (WHERE event_time >= :at - 3600000000),
  sum(amount) FILTER (WHERE event_time >= :at - 86400000000),
  count(*) FILTER (WHERE event_time >= :at - 86400000000 AND status = 'declined'),
  count(DISTINCT merchant_id) FILTER (WHERE event_time >= :at - 86400000000),
  count(DISTINCT country) FILTER (WHERE event_time >= :at - 86400000000),
  max(amount),
  :amount / nullif(avg(amount), 0),
  (SELECT 1 + count(*) FROM transactions
   WHERE card_id = :card AND event_time BETWEEN :at - 600000000 AND :at),
  (SELECT count(DISTINCT user_id) FROM (
     SELECT user_id FROM transactions
     WHERE device_id = :device AND event_time BETWEEN :at - 86400000000 AND :at
     UNION ALL
     SELECT :user)),
  (SELECT 1 + count(*) FROM transactions
   WHERE merchant_id = :merchant
     AND event_time BETWEEN :at / 60000000 * 60000000 - 3600000000 AND :at)
FROM month
";

/// What a column of the query is.
enum Kind {
    Count,
    /// Cents.
    Money,
    Ratio,
}

/// The query's columns, by the view's names.
const COLUMNS: [(&str, Kind); 10] = [
    ("user_transaction_count_last_hour", Kind::Count),
    ("user_amount_last_day", Kind::Money),
    ("user_declines_last_day", Kind::Count),
    ("user_merchants_last_day", Kind::Count),
    ("user_countries_last_day", Kind::Count),
    ("user_max_amount_last_month", Kind::Money),
    ("amount_vs_usual", Kind::Ratio),
    ("card_transactions_last_10_minutes", Kind::Count),
    ("device_users_last_day", Kind::Count),
    ("merchant_transactions_last_hour", Kind::Count),
];

/// Digits behind the point of amounts.
const CENTS: u8 = 2;

/// One transaction whose features are asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    transaction: i64,
    at_us: i64,
    user: i64,
    card: i64,
    device: Option<i64>,
    merchant: i64,
    country: Option<String>,
    cents: i64,
    status: Option<String>,
}

impl Asked {
    /// The first row of a decoded request of the simulated stream; `None` if a column is missing.
    pub(super) fn of(stream: &Stream, request: &Request) -> Option<Asked> {
        let at_us = *request.at.first()?;
        let column = |name: &str| Some(request.rows.column(stream.column(name)?));
        let int = |name| Some(column(name)?.as_primitive_opt::<Int64Type>()?.value(0));
        let text = |name| {
            let column = column(name)?;
            let texts = column.as_string_opt::<i32>()?;
            Some(texts.is_valid(0).then(|| texts.value(0).to_string()))
        };
        let device = column("device_id")?.is_valid(0);
        let amount = column("amount")?.as_primitive_opt::<Decimal128Type>()?.value(0);
        Some(Asked {
            transaction: int("transaction_id")?,
            at_us,
            user: int("user_id")?,
            card: int("card_id")?,
            device: if device { int("device_id") } else { None },
            merchant: int("merchant_id")?,
            country: text("country")?,
            cents: i64::try_from(amount).ok()?,
            status: text("status")?,
        })
    }

    /// Runs the query for this transaction and gives its features as a reply has them.
    pub(super) fn run(&self, statement: &mut Statement<'_>) -> rusqlite::Result<Value> {
        let parameters = named_params! {
            ":at": self.at_us,
            ":user": self.user,
            ":card": self.card,
            ":device": self.device,
            ":merchant": self.merchant,
            ":country": self.country,
            ":amount": self.cents,
            ":status": self.status,
        };
        statement.query_row(parameters, |row| self.features(row))
    }

    fn features(&self, row: &Row<'_>) -> rusqlite::Result<Value> {
        let mut features = Map::new();
        features.insert("transaction_id".into(), json!(self.transaction));
        features.insert("amount".into(), json!(money(self.cents)));
        for (column, (name, kind)) in COLUMNS.iter().enumerate() {
            let value = match kind {
                Kind::Count => json!(row.get::<_, i64>(column)?),
                Kind::Money => json!(money(row.get(column)?)),
                Kind::Ratio => json!(row.get::<_, Option<f64>>(column)?),
            };
            features.insert((*name).into(), value);
        }
        Ok(Value::Object(features))
    }
}

fn money(cents: i64) -> String {
    Decimal { value: cents.into(), scale: CENTS }.to_string()
}

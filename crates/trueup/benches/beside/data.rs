//! The payments, by arithmetic that SQL can do as well.
//!
//! Of the last hour: 50 of each of 2,000 light cards and 10,000 of each of ten heavy ones. Before
//! that, for as many rows as a table is asked to have, payments of the light cards over thirty
//! days, which no window of an hour holds.

use serde_json::{Value, json};
use std::time::SystemTime;
use trueup_sql::decode::print::Timestamp;

pub(crate) const LIGHT: u64 = 2_000;
pub(crate) const HEAVY: u64 = 10;
/// The first heavy card.
pub(crate) const FIRST_HEAVY: u64 = 1_000_000;
/// Payments of the last hour, of light cards and as many of heavy ones.
pub(crate) const RECENT: u64 = 100_000;
const HOUR_US: i64 = 3_600_000_000;
/// Between payments of the last hour.
pub(crate) const STEP_US: i64 = HOUR_US / RECENT as i64;

/// The instant that is asked for: the minute that began last.
pub(crate) fn asked_us() -> i64 {
    const MINUTE_US: i64 = 60_000_000;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap() / MINUTE_US * MINUTE_US
}

/// The recent payments of a range of numbers below [`RECENT`], light and heavy.
pub(crate) fn recent(numbers: std::ops::Range<u64>, asked_us: i64) -> Vec<Value> {
    let both = |number: u64| {
        let at = Timestamp(asked_us - HOUR_US + number as i64 * STEP_US).to_string();
        let amount = format!("{}.{:02}", number % 50_000 / 100, number % 100);
        let one = |id, card| json!({ "id": id, "at": at, "card": card, "amount": amount });
        [one(number, number % LIGHT), one(RECENT + number, FIRST_HEAVY + number % HEAVY)]
    };
    numbers.flat_map(both).collect()
}

/// Statements that make the same payments, and older ones up to `rows`, in a table of PostgreSQL.
pub(crate) fn statements(rows: u64, asked_us: i64) -> Vec<String> {
    let at = |from_us: i64, step: String| {
        format!("to_timestamp({}::numeric / 1000000) + {step}", from_us)
    };
    let recent = at(asked_us - HOUR_US, format!("i * interval '{STEP_US} microseconds'"));
    let amount = "(i % 50000)::numeric(12,2) / 100";
    let older = rows.saturating_sub(2 * RECENT);
    let before =
        at(asked_us - HOUR_US, format!("-(i + 1) * interval '30 days' / {}", older.max(1)));
    vec![
        "CREATE TABLE payments (id bigint NOT NULL, at timestamptz NOT NULL, card bigint NOT NULL,
         amount numeric(12,2))"
            .into(),
        format!(
            "INSERT INTO payments SELECT {} + i, {before}, i % {LIGHT}, {amount}
             FROM generate_series(0, {older}::bigint - 1) i",
            2 * RECENT
        ),
        format!(
            "INSERT INTO payments SELECT i, {recent}, i % {LIGHT}, {amount}
             FROM generate_series(0, {RECENT}::bigint - 1) i"
        ),
        format!(
            "INSERT INTO payments SELECT {RECENT} + i, {recent}, {FIRST_HEAVY} + i % {HEAVY},
             {amount} FROM generate_series(0, {RECENT}::bigint - 1) i"
        ),
        "VACUUM ANALYZE payments".into(),
    ]
}

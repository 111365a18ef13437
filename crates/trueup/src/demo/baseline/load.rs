//! The baseline's databases: one without an index, and a copy of it with the right ones.

use crate::simulate::Transaction;
use rusqlite::{Connection, params};
use std::path::Path;

/// No journal and no waiting for the disk: the files live as long as the demo. The cache stays
/// small and temporary data goes to files, for so SQLite sorts an index in pieces that fit a
/// processor's cache, which takes half the time.
const FAST: &str = "
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA threads = 2;
";

/// Times are microseconds since 1970, amounts cents: what SQLite compares and sums fastest.
const TABLE: &str = "
CREATE TABLE transactions (
  transaction_id INTEGER PRIMARY KEY,
  event_time INTEGER NOT NULL,
  user_id INTEGER NOT NULL,
  card_id INTEGER NOT NULL,
  device_id INTEGER,
  merchant_id INTEGER NOT NULL,
  country TEXT,
  amount INTEGER NOT NULL,
  status TEXT
);
";

/// Each begins with the key and the time, and holds what the query reads behind them, so that it
/// never goes to the table.
const INDEXES: [&str; 4] = [
    "CREATE INDEX by_user ON transactions
       (user_id, event_time, merchant_id, country, amount, status)",
    "CREATE INDEX by_card ON transactions (card_id, event_time)",
    "CREATE INDEX by_device ON transactions (device_id, event_time, user_id)",
    "CREATE INDEX by_merchant ON transactions (merchant_id, event_time)",
];

/// Rows between two calls of `told`.
const TELL_EVERY: usize = 4_096;

/// Makes a database without an index at `path`; `told` hears how many rows are in.
pub(in crate::demo) fn load(
    path: &Path,
    rows: &[Transaction],
    told: impl Fn(u64),
) -> rusqlite::Result<()> {
    let mut database = Connection::open(path)?;
    database.execute_batch(FAST)?;
    database.execute_batch(TABLE)?;
    let all = database.transaction()?;
    {
        let values = "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let mut insert = all.prepare(values)?;
        for (number, row) in rows.iter().enumerate() {
            insert.execute(params![
                row.transaction_id,
                row.event_time.0,
                row.user_id,
                row.card_id,
                row.device_id,
                row.merchant_id,
                row.country,
                row.amount_cents,
                row.status.as_str(),
            ])?;
            if number % TELL_EVERY == 0 {
                told(number as u64);
            }
        }
    }
    all.commit()
}

/// Gives the database at `path` the indexes.
pub(in crate::demo) fn index(path: &Path) -> rusqlite::Result<()> {
    let database = Connection::open(path)?;
    database.execute_batch(FAST)?;
    INDEXES.iter().try_for_each(|index| database.execute_batch(index))?;
    database.execute_batch("ANALYZE")
}

//! The compiler as its users see it: what it accepts, what it refuses, and that no text breaks it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accepted;
mod any_text;
mod corpus;
mod digests;
mod expressions;
mod refused;

use trueup_sql::{Definitions, SourceFile, SqlErrors, compile};

/// Streams that the cases use.
const STREAMS: &str = include_str!("streams.sql");

/// Compiles a text beside [`STREAMS`].
fn compile_view(text: &str) -> Result<Definitions, SqlErrors> {
    compile(&[file("streams.sql", STREAMS), file("view.sql", text)])
}

/// Compiles a view with this select list over `transactions`, with the windows `hour`, `bins` and
/// `ever` by user.
fn compile_select(list: &str) -> Result<Definitions, SqlErrors> {
    compile_view(&format!(
        "CREATE VIEW v AS SELECT {list} FROM transactions WINDOW
           hour AS (PARTITION BY user_id ORDER BY event_time
                    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
           bins AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
                    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
           ever AS (PARTITION BY user_id ORDER BY event_time RANGE UNBOUNDED PRECEDING),
           last5 AS (PARTITION BY user_id ORDER BY event_time
                     ROWS BETWEEN 4 PRECEDING AND CURRENT ROW)"
    ))
}

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.into(), text: text.into() }
}

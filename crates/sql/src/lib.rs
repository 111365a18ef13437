//! From the text of feature definitions to their compiled form: streams, groups, views, row
//! expressions and digests.
//!
//! A definition is standard SQL: `CREATE TABLE` declares an event stream, `CREATE VIEW` a feature
//! set. This crate reads that text, checks that every feature can be kept up to date from the
//! stream, and refuses what cannot be with the place and the remedy. Scalar expressions are typed
//! and compiled by DataFusion's planner.
//!
//! It computes no aggregate (that is `trueup_core`'s), does no I/O, and knows neither stores nor
//! servers.
//!
//! ```
//! let sql = "
//!     CREATE TABLE payments (
//!       id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT, amount DECIMAL(12,2)
//!     ) WITH (event_time = 'at');
//!     CREATE VIEW risk AS
//!     SELECT id, amount, count(*) OVER hour AS payments_last_hour
//!     FROM payments
//!     WINDOW hour AS (PARTITION BY card ORDER BY at
//!                     RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)";
//! let file = trueup_sql::SourceFile { name: "risk.sql".into(), text: sql.into() };
//! let definitions = trueup_sql::compile(&[file])?;
//! assert_eq!(definitions.groups[0].name, "payments/card");
//! assert_eq!(definitions.views[0].outputs[2].name, "payments_last_hour");
//! # Ok::<(), trueup_sql::SqlErrors>(())
//! ```

mod aggregate;
mod checked;
mod collect;
mod compile;
mod definition;
mod digest;
mod enter;
mod error;
mod evaluate;
mod frame;
mod functions;
mod group;
mod mend;
mod names;
mod parse;
mod plan;
mod scope;
mod stream;
mod subquery;
mod time;
mod view;
mod walk;

pub use trueup_decode::{self as decode, bridge, schema};

pub use bridge::{array_of, arrow_of, id_at, kind_of, raw_value_at, sql_type, value_at};
pub use compile::compile;
pub use definition::{Definitions, GroupDef, Lookup, Output, View};
pub use digest::{ARITHMETIC_VERSION, Digest};
pub use enter::Entering;
pub use error::{SourceFile, SqlError, SqlErrors};
pub use evaluate::{EvalError, RowExpr};
pub use names::suggest;
pub use schema::{Column, ColumnType, EpochUnit, Stream};

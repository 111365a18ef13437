//! The library behind the `trueup` command: the only place that sees all the crates.

#[cfg(any(feature = "mysql", feature = "postgres", feature = "s3"))]
mod authorities;
pub mod catalog;
pub mod cause;
pub mod cli;
pub mod client;
pub mod clock;
pub mod database;
pub mod demo;
pub mod doctor;
pub mod fault;
pub mod http;
pub mod ingest;
pub mod json;
pub mod load;
pub mod node;
pub mod outgrown;
pub mod place;
pub mod release;
pub mod score;
pub mod serve;
pub mod settings;
pub mod simulate;
pub mod spool;
pub mod status;

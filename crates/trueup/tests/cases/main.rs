//! The golden cases of `cases/` (its README has the format), each answered in every way that Trueup
//! has, all held against one expected answer that Trueup has no part in.
//!
//! | way | module |
//! |---|---|
//! | records in the tail, all folded at once, each folded alone, cut and restored, shuffled,
//! repeated | `folding` |
//! | the worker's own pipeline over each store, and stores that fail on cue | `stores` |
//! | the same over Redis: one server, Sentinel, Cluster | `redis` |
//! | pushed and asked over HTTP | `http` |
//! | an empty store, and a database with the events: SQLite, MariaDB | `database`, `mysql` |
//! | the training set, by `slide` | `training` |
//! | the naive oracle | `naive` |
//!
//! A way differs from the expected answer by nature in these points only:
//!
//! - Lookups have no training row, and a training set has no statuses.
//! - Training, the oracle and the database keep everything. Where a server says `UNKNOWN` because
//!   it keeps only what its frames need, they give SQL's value. [`KEPT_NO_MORE`] names the cases;
//!   there, training is held against the oracle.
//! - Repeats come within the bound up to which bins and lifetimes recognise ids; beyond it they
//!   count again (`tests/it/repeats.rs` holds both sides of it).
//! - Orders are any for exact groups, and for the others those that keep each partition's.
//! - Sketches estimate, and the oracle is exact. [`SKETCHED`] names the cases that it leaves out.
//!
//! `TRUEUP_CASE=name` in the environment runs one case.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ask;
mod case;
mod database;
mod folding;
mod http;
#[cfg(all(feature = "mysql", feature = "postgres"))]
#[path = "../it/mariadb_server.rs"]
#[allow(dead_code, reason = "the tests of misses do more with it")]
mod mariadb_server;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod mysql;
mod naive;
#[cfg(all(feature = "mysql", feature = "postgres"))]
#[path = "../it/postgres_server.rs"]
#[allow(dead_code, reason = "only what starts a server as another user")]
mod postgres_server;
mod records;
mod redis;
mod report;
mod stores;
mod training;

/// Cases in which a server keeps too little to answer some requests. See the module.
const KEPT_NO_MORE: [&str; 5] = [
    "a-sealed-bin-that-holds-later-events-is-unknown",
    "bins-behind-the-horizon-are-gone",
    "lifetime-before-what-is-sealed-is-unknown",
    "rows-behind-what-is-kept-are-unknown",
    "what-is-later-than-the-horizon-is-nobodys",
];

/// Cases whose sketches are near the exact answer and not equal to it. See the module.
const SKETCHED: [&str; 1] = ["percentiles-of-a-binned-window"];

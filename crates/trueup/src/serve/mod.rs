//! The way of a request: rows or keys to features, from the store and the request alone.
//!
//! ```text
//! rows ─▶ keys ─▶ store.get (all keys at one moment) ─▶ core::read ─▶ select list ─▶ answer
//!                        └─ not vouched for ─▶ database (raw events) ─▶ core::read ─┘
//!                                                        └─▶ exact groups: core::fill ─▶ store
//! ```
//!
//! Where rows are recorded, `store.record` puts their early copies behind the values that it reads.
//!
//! One instance serves all connections; it holds no state of its own. Every value has a status, and
//! what cannot be vouched for is UNKNOWN, never a number. What comes of the log is `ingest`'s to
//! write; HTTP is `http`'s.

mod answer;
mod fallback;
mod features;
mod misses;
mod policy;
mod request;
mod rest;
mod status;
mod touch;
mod verify;
mod vouch;
mod write_back;

pub use answer::{Answered, KeyAnswer, LookupAnswer, RowAnswer, Serving};
pub use fallback::{Bounds, Counts, Fallback, MissingIndex, Tables};
pub use policy::{Policies, Policy, Refused, Rules, ViewPolicy};
pub use request::{BadRequest, Mode, Request};
#[cfg(test)]
pub(crate) use rest::Rests;
pub(crate) use rest::rested;
pub use status::{Source, Status};
pub use touch::EARLY_BYTES;
pub use verify::{Difference, MILLION, Mismatch, Verify};
pub use write_back::WriteBack;

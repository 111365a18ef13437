//! What a person runs, on real parts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod child;
mod kill;
mod parity;
mod pay;
mod repeats;

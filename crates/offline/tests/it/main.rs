//! Training sets against the path that serves, against somebody else's published numbers, and what
//! they do with files, with what was known when, and with what is bad.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod files;
mod handbook;
mod known;
mod parity;
mod support;

//! What a person runs, on real parts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod demo;

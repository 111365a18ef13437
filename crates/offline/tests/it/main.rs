//! Training sets against somebody else's published numbers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod handbook;
